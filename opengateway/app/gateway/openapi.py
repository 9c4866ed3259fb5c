"""Our OpenAPI document, made of the tables that requests are read by: it cannot promise what is refused.

Served at /openapi.json. Only what other programs use is in it: OpenAI's and Ollama's routes, health and
metrics. `tools/compat/schemathesis.sh` runs schemathesis against it.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from opengateway import __version__
from opengateway.app.gateway.fields import TABLES, Field
from opengateway.app.gateway.forms import Json
from opengateway.app.gateway.responses_body import RESPONSES

_NUMBER: Json = {"type": "integer", "minimum": 0}
_TEXT: Json = {"type": "string"}


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


_ERROR = _object(
    error=_object(
        message=_TEXT,
        type=_TEXT,
        code=_TEXT,
        param={"type": ["string", "null"]},
        hint=_TEXT,
        retry_after={"type": ["number", "null"]},
    )
)
_OLLAMA_ERROR = _object(error=_TEXT)
_USAGE = _object(prompt_tokens=_NUMBER, completion_tokens=_NUMBER, total_tokens=_NUMBER)
_REASON: Json = {"enum": ["stop", "length", "tool_calls", "content_filter"]}


def _answer(kind: str, **choice: Json) -> Json:
    inner = _object(index=_NUMBER, finish_reason=_REASON, **choice)
    choices: Json = {"type": "array", "minItems": 1, "items": inner}
    return _object(
        id=_TEXT, object={"const": kind}, created=_NUMBER, model=_TEXT, choices=choices, usage=_USAGE
    )


_MODEL = _object(
    id=_TEXT, object={"const": "model"}, created=_NUMBER, owned_by=_TEXT, opengateway={"type": "object"}
)
_MODELS = _object(object={"const": "list"}, data={"type": "array", "items": _MODEL})
_MESSAGE: Json = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"const": "assistant"}, "content": {"type": ["string", "null"]}},
}
_CHAT = _answer("chat.completion", message=_MESSAGE)
_COMPLETION = _answer("text_completion", text=_TEXT)
_VECTORS = _object(object={"const": "list"}, data={"type": "array"}, model=_TEXT, usage={"type": "object"})
_RESPONSE = _object(
    id=_TEXT,
    object={"const": "response"},
    created_at={"type": "number"},
    status={"enum": ["completed", "incomplete"]},
    model=_TEXT,
    output={"type": "array", "items": {"type": "object", "required": ["id", "type"]}},
    usage=_object(input_tokens=_NUMBER, output_tokens=_NUMBER, total_tokens=_NUMBER),
)
_OLLAMA_MODELS = _object(
    models={"type": "array", "items": _object(name=_TEXT, model=_TEXT, details={"type": "object"})}
)
_ASKED_CHAT: Json = {
    "type": "object",
    "required": ["model"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 200},
        "messages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {
                    "role": {"enum": ["system", "user", "assistant"]},
                    "content": _TEXT,
                },
                "additionalProperties": False,
            },
        },
        "stream": {"type": "boolean"},
        "options": {
            "type": "object",
            "properties": {
                "temperature": {"type": "number", "minimum": 0, "maximum": 2},
                "num_predict": {"type": "integer", "minimum": -2, "maximum": 4096},
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
_ASKED_TEXT: Json = {
    "type": "object",
    "required": ["model"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 200},
        "prompt": _TEXT,
        "system": _TEXT,
        "stream": {"type": "boolean"},
    },
    "additionalProperties": False,
}
_ASKED_MODEL: Json = {
    "type": "object",
    "required": ["model"],
    "properties": {"model": {"type": "string", "minLength": 1, "maxLength": 200}},
    "additionalProperties": False,
}


def request_schema(table: dict[str, Field]) -> Json:
    """What a request may be. A field that is refused is not in it, and no other is allowed."""
    properties: dict[str, Json] = {}
    for field in table.values():
        if field.treatment == "refused":
            continue
        schema = {"enum": list(field.only)} if field.treatment == "default" else dict(field.form.schema)
        described = {"description": field.note} if field.note else {}
        properties[field.name] = schema | described
    required = [field.name for field in table.values() if field.required]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _operation(
    summary: str,
    answer: Json,
    *,
    asked: Json | None = None,
    streamed: str = "",
    error: Json = _ERROR,
    **more: Any,
) -> Json:
    content: Json = {"application/json": {"schema": answer}}
    if streamed:
        content[streamed] = {}
    failed: Json = {"description": "an error", "content": {"application/json": {"schema": error}}}
    body: Json = {}
    if asked is not None:
        inner = {"application/json": {"schema": asked}}
        body = {"requestBody": {"required": True, "content": inner}}
    answers = {"200": {"description": "the answer", "content": content}, "default": failed}
    return {"summary": summary, "responses": answers, **body, **more}


def _paths() -> Json:
    sse, lines = "text/event-stream", "application/x-ndjson"
    chat, completion, embedding = (
        request_schema(TABLES[kind]) for kind in ("chat", "completion", "embedding")
    )
    named = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]

    def ollama(summary: str, answer: Json, **more: Any) -> Json:
        return _operation(summary, answer, error=_OLLAMA_ERROR, **more)

    any_object: Json = {"type": "object"}
    return {
        "/v1/models": {"get": _operation("What the network can serve now", _MODELS)},
        "/v1/models/{model}": {"get": _operation("One model", _MODEL, parameters=named)},
        "/v1/chat/completions": {"post": _operation("Answer a chat", _CHAT, asked=chat, streamed=sse)},
        "/v1/completions": {
            "post": _operation("Go on with a text", _COMPLETION, asked=completion, streamed=sse)
        },
        "/v1/embeddings": {"post": _operation("Vectors of texts", _VECTORS, asked=embedding)},
        "/v1/responses": {
            "post": _operation("Answer, in items", _RESPONSE, asked=request_schema(RESPONSES), streamed=sse)
        },
        "/api/version": {"get": ollama("The version of Ollama whose API this is", _object(version=_TEXT))},
        "/api/tags": {"get": ollama("What the network can serve now", _OLLAMA_MODELS)},
        "/api/ps": {"get": ollama("What this node's engines have loaded", _OLLAMA_MODELS)},
        "/api/show": {"post": ollama("One model", _object(details=any_object), asked=_ASKED_MODEL)},
        "/api/chat": {"post": ollama("Answer a chat", any_object, asked=_ASKED_CHAT, streamed=lines)},
        "/api/generate": {"post": ollama("Answer a prompt", any_object, asked=_ASKED_TEXT, streamed=lines)},
    }


def document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenGateway", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": _paths(),
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


class OpenApi:
    def __init__(self) -> None:
        self._body = orjson.dumps(document())

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/openapi.json", self.show)]

    async def show(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._body, content_type="application/json")
