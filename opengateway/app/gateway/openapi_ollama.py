"""Ollama's routes in our OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from opengateway.app.gateway.forms import Json
from opengateway.app.gateway.openapi_parts import (
    NAMED_MODEL,
    NUMBER,
    OLLAMA_ERROR,
    TEXT,
    closed,
    object_of,
    operation,
    refused,
)

_LINES = "application/x-ndjson"
_MODEL = object_of(name=TEXT, model=TEXT, size=NUMBER, digest=TEXT, details={"type": "object"})
_MODELS = object_of(models={"type": "array", "items": _MODEL})
_FLAG: Json = {"type": "boolean"}
_MESSAGE = closed(["role", "content"], role={"enum": ["system", "user", "assistant"]}, content=TEXT)
_KEEP: Json = {"anyOf": [{"type": "integer"}, {"enum": ["5m", "1h", "0s", "-1m"]}]}
_OPTIONS = closed(
    [],
    temperature={"type": "number", "minimum": 0, "maximum": 2},
    num_predict={"type": "integer", "minimum": -2, "maximum": 4096},
)
_CHAT = closed(
    ["model"],
    model=NAMED_MODEL,
    messages={"type": "array", "items": _MESSAGE},
    stream=_FLAG,
    options=_OPTIONS,
    keep_alive=_KEEP,
)
_PROMPT = closed(
    ["model"],
    model=NAMED_MODEL,
    prompt=TEXT,
    system=TEXT,
    stream=_FLAG,
    options=_OPTIONS,
    keep_alive=_KEEP,
)
_ONE_MODEL = closed(["model"], model=NAMED_MODEL)
_TEXTS: Json = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 2048},
    ]
}
_EMBED = closed(["model", "input"], model=NAMED_MODEL, input=_TEXTS, truncate=_FLAG)
_EMBEDDINGS = closed(["model", "prompt"], model=NAMED_MODEL, prompt=TEXT)
_VECTOR: Json = {"type": "array", "items": {"type": "number"}}
_COPY = closed(["source", "destination"], source=NAMED_MODEL, destination=NAMED_MODEL)


def _ollama(summary: str, answer: Json, **more: Any) -> Json:
    return operation(summary, answer, error=OLLAMA_ERROR, **more)


def _owners(summary: str, asked: Json = _ONE_MODEL) -> Json:
    return refused(
        f"{summary}: refused, the owner uses `opengateway models`", error=OLLAMA_ERROR, asked=asked
    )


OLLAMA: Final[Json] = {
    "/api/version": {"get": _ollama("The version of Ollama whose API this is", object_of(version=TEXT))},
    "/api/tags": {"get": _ollama("What the network can serve now", _MODELS)},
    "/api/ps": {"get": _ollama("What this node's engines have loaded", _MODELS)},
    "/api/show": {"post": _ollama("One model", object_of(details={"type": "object"}), asked=_ONE_MODEL)},
    "/api/chat": {"post": _ollama("Answer a chat", {"type": "object"}, asked=_CHAT, streamed=_LINES)},
    "/api/generate": {"post": _ollama("Answer a prompt", {"type": "object"}, asked=_PROMPT, streamed=_LINES)},
    "/api/embed": {
        "post": _ollama(
            "Vectors of texts", object_of(embeddings={"type": "array", "items": _VECTOR}), asked=_EMBED
        )
    },
    "/api/embeddings": {
        "post": _ollama("The vector of a text", object_of(embedding=_VECTOR), asked=_EMBEDDINGS)
    },
    "/api/pull": {
        "post": _ollama(
            "Fetch a model into this node's engine", object_of(status=TEXT), asked=_ONE_MODEL, streamed=_LINES
        )
    },
    "/api/delete": {"delete": _owners("Delete a model")},
    "/api/copy": {"post": _owners("Copy a model", _COPY)},
    "/api/create": {"post": _owners("Make a model")},
    "/api/push": {"post": _owners("Publish a model")},
}
