"""The OpenAI request body: what is honoured, what is refused by name, and nothing silently ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import orjson

from opengateway.engines.protocol import GenerateRequest, Kind
from opengateway.errors import BadRequest
from opengateway.routing.placement import Scope

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
NAME_LIMIT = 200
_RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request, and how its caller wants the answer."""

    request: GenerateRequest
    streaming: bool
    include_usage: bool


def read_body(raw: bytes, kind: Kind) -> Asked:
    """Raises `BadRequest` that names the field."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    model = _given(body, "model", "")
    if not isinstance(model, str) or len(model) > NAME_LIMIT:
        raise BadRequest("`model` must be a name")
    streaming = _given(body, "stream", default=False)
    if not isinstance(streaming, bool):
        raise BadRequest("`stream` must be true or false")
    options = _given(body, "stream_options", {})
    if not isinstance(options, dict):
        raise BadRequest("`stream_options` must be an object")
    _CHECKS[kind](body)
    return Asked(GenerateRequest(kind, model, body, streaming), streaming, bool(options.get("include_usage")))


def _given(body: dict[str, Any], name: str, default: Any) -> Any:
    """Taken out of the body; null is the same as leaving it out, as OpenAI's clients send it."""
    value = body.pop(name, None)
    return default if value is None else value


def read_scope(value: str | None) -> str:
    scope = value or "anywhere"
    if scope not in get_args(Scope):
        raise BadRequest(f"x-opengateway-scope must be one of {', '.join(get_args(Scope))}")
    return scope


def _chat(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be a list with at least one message")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise BadRequest(f"messages[{index}] must be an object with a role of {', '.join(ROLES)}")
        content = message.get("content")
        if content is not None and not isinstance(content, (str, list)):
            raise BadRequest(f"messages[{index}].content must be text or a list of parts")
        if isinstance(content, list) and any(not isinstance(part, dict) for part in content):
            raise BadRequest(f"messages[{index}].content must be a list of objects")
    _sampling(body)


def _completion(body: dict[str, Any]) -> None:
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise BadRequest("`prompt` must be a text; lists of prompts cannot be answered yet")
    _sampling(body)


def _embedding(body: dict[str, Any]) -> None:
    given = body.get("input")
    texts = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise BadRequest("`input` must be a text or a list of texts")


def _sampling(body: dict[str, Any]) -> None:
    if body.get("n") not in (None, 1):
        raise BadRequest("`n` other than 1 cannot be answered yet", hint="send the request n times")
    for name in ("max_tokens", "max_completion_tokens"):
        limit = body.get(name)
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise BadRequest(f"`{name}` must be a whole number of at least 1")
    for name, (low, high) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise BadRequest(f"`{name}` must be a number from {low} to {high}")
    stop = body.get("stop")
    stops = [] if stop is None else stop if isinstance(stop, list) else [stop]
    if len(stops) > 4 or any(not isinstance(text, str) for text in stops):
        raise BadRequest("`stop` must be a text or a list of up to 4 texts")
    seed = body.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise BadRequest("`seed` must be a whole number")


_CHECKS = {"chat": _chat, "completion": _completion, "embedding": _embedding}
