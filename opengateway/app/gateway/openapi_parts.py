"""What the pieces of our OpenAPI document are made of."""

from __future__ import annotations

from typing import Any

from opengateway.app.gateway.forms import Json

NUMBER: Json = {"type": "integer", "minimum": 0}
TEXT: Json = {"type": "string"}


def object_of(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


ERROR = object_of(
    error=object_of(
        message=TEXT,
        type=TEXT,
        code=TEXT,
        param={"type": ["string", "null"]},
        hint=TEXT,
        retry_after={"type": ["number", "null"]},
    )
)
OLLAMA_ERROR = object_of(error=TEXT)
NAMED_MODEL: Json = {"type": "string", "minLength": 1, "maxLength": 200}
OPEN_TO_ALL: list[Json] = [{}]
"""The security of what needs no key, whoever asks."""


def parameter(name: str, where: str, schema: Json) -> Json:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def closed(required: list[str], **properties: Json) -> Json:
    """An object of a request: no other field is taken."""
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def operation(
    summary: str,
    answer: Json,
    *,
    asked: Json | None = None,
    streamed: str = "",
    error: Json = ERROR,
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


def refused(summary: str, *, error: Json = ERROR, **more: Any) -> Json:
    """An operation that programs know, and that is answered with an error whatever is sent."""
    made = operation(summary, {}, error=error, **more)
    del made["responses"]["200"]
    return made


def plain_text(summary: str, **more: Any) -> Json:
    made = operation(summary, {}, **more)
    made["responses"]["200"]["content"] = {"text/plain": {"schema": TEXT}}
    return made
