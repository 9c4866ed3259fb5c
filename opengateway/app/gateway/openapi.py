"""Our OpenAPI document, made of the tables that requests are read by: it cannot promise what is refused.

Served at /openapi.json. All that other programs use is in it: OpenAI's and Ollama's routes, health and
metrics; tests/app/gateway/test_openapi.py holds it beside the router. What belongs to this node's own command
line and page, /node/* and /dashboard/*, is not. `tools/compat/schemathesis.sh` runs schemathesis against it.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from opengateway import __version__
from opengateway.app.gateway.fields import TABLES, Field
from opengateway.app.gateway.forms import Json
from opengateway.app.gateway.openapi_files import FILES
from opengateway.app.gateway.openapi_ollama import OLLAMA
from opengateway.app.gateway.openapi_parts import (
    NUMBER,
    OPEN_TO_ALL,
    TEXT,
    object_of,
    operation,
    parameter,
    plain_text,
    refused,
)
from opengateway.app.gateway.responses_body import RESPONSES

_USAGE = object_of(prompt_tokens=NUMBER, completion_tokens=NUMBER, total_tokens=NUMBER)
_REASON: Json = {"enum": ["stop", "length", "tool_calls", "content_filter"]}


def _answer(kind: str, **choice: Json) -> Json:
    inner = object_of(index=NUMBER, finish_reason=_REASON, **choice)
    choices: Json = {"type": "array", "minItems": 1, "items": inner}
    return object_of(
        id=TEXT, object={"const": kind}, created=NUMBER, model=TEXT, choices=choices, usage=_USAGE
    )


_MODEL = object_of(
    id=TEXT, object={"const": "model"}, created=NUMBER, owned_by=TEXT, opengateway={"type": "object"}
)
_MODELS = object_of(object={"const": "list"}, data={"type": "array", "items": _MODEL})
_MESSAGE: Json = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"const": "assistant"}, "content": {"type": ["string", "null"]}},
}
_CHAT = _answer("chat.completion", message=_MESSAGE)
_COMPLETION = _answer("text_completion", text=TEXT)
_VECTORS = object_of(object={"const": "list"}, data={"type": "array"}, model=TEXT, usage={"type": "object"})
_READY = object_of(ready={"type": "boolean"}, why={"type": "array", "items": TEXT})
_NODE: Json = {
    "/healthz": {"get": plain_text("The port is open", security=OPEN_TO_ALL)},
    "/readyz": {
        "get": operation("The engines are up; 503 if not", _READY, error=_READY, security=OPEN_TO_ALL)
    },
    "/metrics": {"get": plain_text("What Prometheus reads")},
    "/openapi.json": {"get": operation("This document", {"type": "object"})},
}
"""What is asked of the node itself."""
_RESPONSE = object_of(
    id=TEXT,
    object={"const": "response"},
    created_at={"type": "number"},
    status={"enum": ["completed", "incomplete"]},
    model=TEXT,
    output={"type": "array", "items": {"type": "object", "required": ["id", "type"]}},
    usage=object_of(input_tokens=NUMBER, output_tokens=NUMBER, total_tokens=NUMBER),
)


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


def _paths() -> Json:
    sse = "text/event-stream"
    chat, completion, embedding = (
        request_schema(TABLES[kind]) for kind in ("chat", "completion", "embedding")
    )
    named = [parameter("model", "path", {"type": "string", "minLength": 1})]
    stored = [parameter("rest", "path", {"type": "string", "minLength": 1})]
    return {
        "/v1/models": {"get": operation("What the network can serve now", _MODELS)},
        "/v1/models/{model}": {"get": operation("One model", _MODEL, parameters=named)},
        "/v1/chat/completions": {"post": operation("Answer a chat", _CHAT, asked=chat, streamed=sse)},
        "/v1/completions": {
            "post": operation("Go on with a text", _COMPLETION, asked=completion, streamed=sse)
        },
        "/v1/embeddings": {"post": operation("Vectors of texts", _VECTORS, asked=embedding)},
        "/v1/responses": {
            "post": operation("Answer, in items", _RESPONSE, asked=request_schema(RESPONSES), streamed=sse)
        },
        "/v1/responses/{rest}": {
            "get": refused("No response is stored, so none is found", parameters=stored),
            "post": refused("No response is stored, so none is cancelled", parameters=stored),
            "delete": refused("No response is stored, so none is deleted", parameters=stored),
        },
        **FILES,
        **OLLAMA,
        **_NODE,
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
