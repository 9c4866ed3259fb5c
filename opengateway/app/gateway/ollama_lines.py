"""Answers in Ollama's words: lines of JSON, or one object; and its way to say an error."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from aiohttp import web

from opengateway.app.gateway.answers import CallMerger
from opengateway.engines.stream import Chunk, Stream
from opengateway.errors import OpenGatewayError, UnknownModel


def now() -> str:
    """As Ollama writes a time: RFC 3339 with nanoseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def error_text(error: OpenGatewayError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def ollama_refusal(error: OpenGatewayError, headers: dict[str, str] | None = None) -> web.Response:
    more = dict(headers or {})
    if error.retry_after is not None:
        more["Retry-After"] = str(max(1, round(error.retry_after)))
    body = orjson.dumps({"error": error_text(error)})
    return web.Response(body=body, status=error.status, headers=more, content_type="application/json")


def not_found(name: str, hint: str = "") -> UnknownModel:
    """In the very words that Ollama's clients look for."""
    return UnknownModel(f"model '{name[:80]}' not found", hint=hint if hint.startswith("did you") else "")


class Lines:
    """See delivery.Writer."""

    streamed_as = "application/x-ndjson"

    def __init__(self, model: str, route: Literal["chat", "generate"]) -> None:
        self._model = model
        self._chat = route == "chat"
        self._calls = CallMerger()

    def begin(self, model: str) -> bytes:
        del model  # Ollama answers with the name that was asked for
        return b""

    def waiting(self, words: str) -> bytes:
        """A line without text: this format has no comments, and its clients parse every line."""
        del words
        return self._line({"content": ""})

    def pieces(self, chunks: list[Chunk]) -> bytes:
        return b"".join([self._piece(chunk) for chunk in chunks])

    def closing(self, stream: Stream) -> bytes:
        calls = self._calls.whole()
        before = self._line({"content": "", "tool_calls": _calls(calls)}) if calls else b""
        return before + self._line({"content": ""}, **end(stream))

    def failed(self, error: OpenGatewayError) -> bytes:
        return orjson.dumps({"error": error_text(error)}) + b"\n"

    def whole(self, chunks: list[Chunk], stream: Stream) -> bytes:
        message: dict[str, Any] = {"content": ""}
        logprobs: list[Any] = []
        for chunk in chunks:
            piece = {"content": chunk} if isinstance(chunk, str) else self._read(chunk)
            for name in ("content", "thinking"):
                if piece.get(name):
                    message[name] = message.get(name, "") + piece[name]
            logprobs += piece.get("logprobs") or []
        if calls := self._calls.whole():
            message["tool_calls"] = _calls(calls)
        return self._line(message, **end(stream), **({"logprobs": logprobs} if logprobs else {})).rstrip()

    def _piece(self, chunk: Chunk) -> bytes:
        if isinstance(chunk, str):
            return self._line({"content": chunk})
        piece = self._read(chunk)
        logprobs = piece.pop("logprobs", None)
        return self._line(piece, **({"logprobs": logprobs} if logprobs else {})) if piece or logprobs else b""

    def _read(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Text, thinking and logprobs of a delta. Its calls are kept until they are whole."""
        self._calls.add(chunk.get("tool_calls"))
        piece: dict[str, Any] = {}
        for theirs, ours in (
            ("content", "content"),
            ("reasoning_content", "thinking"),
            ("reasoning", "thinking"),
        ):
            if isinstance(text := chunk.get(theirs), str) and text:
                piece[ours] = text
        given = chunk.get("logprobs")
        content = given.get("content") if isinstance(given, dict) else None
        if isinstance(content, list) and content:
            piece["logprobs"] = [_logprob(token) for token in content if isinstance(token, dict)]
        return piece

    def _line(self, piece: dict[str, Any], **more: Any) -> bytes:
        line: dict[str, Any] = {"model": self._model, "created_at": now()}
        if self._chat:
            line["message"] = {"role": "assistant", "content": "", **piece}
        else:
            line["response"] = piece.get("content", "")
            line |= {name: value for name, value in piece.items() if name != "content"}
        return orjson.dumps({**line, "done": False, **more}) + b"\n"


def idle_line(model: str, route: Literal["chat", "generate"], reason: str) -> bytes:
    """What Ollama says to a request without a prompt, which only loads or unloads a model."""
    return Lines(model, route)._line({"content": ""}, done=True, done_reason=reason).rstrip()  # noqa: SLF001


def end(stream: Stream) -> dict[str, Any]:
    """The final statistics, durations in nanoseconds. What an engine does not measure, the clock here has."""
    finished = stream.finished
    assert finished is not None
    ended = stream.ended_at or time.monotonic()
    first = stream.first_at or ended
    prompt = finished.prompt_seconds or first - stream.created
    generate = finished.generate_seconds or ended - first
    return {
        "done": True,
        "done_reason": "length" if finished.reason == "length" else "stop",
        "total_duration": _ns(ended - stream.created),
        "load_duration": _ns(first - stream.created - prompt),
        "prompt_eval_count": finished.prompt_tokens,
        "prompt_eval_duration": _ns(prompt),
        "eval_count": finished.completion_tokens,
        "eval_duration": _ns(generate),
    }


def _ns(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def _calls(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = []
    for index, call in enumerate(calls):
        function = call["function"]
        try:
            arguments = orjson.loads(function["arguments"] or "{}")
        except orjson.JSONDecodeError:
            arguments = None
        shaped = arguments if isinstance(arguments, dict) else {"arguments": function["arguments"]}
        made.append(
            {
                "id": call.get("id", ""),
                "function": {"index": index, "name": function["name"], "arguments": shaped},
            }
        )
    return made


def _logprob(token: dict[str, Any]) -> dict[str, Any]:
    kept = {name: token.get(name) for name in ("token", "logprob", "bytes")}
    top = token.get("top_logprobs")
    if isinstance(top, list) and top:
        kept["top_logprobs"] = [
            _logprob({**one, "top_logprobs": None}) for one in top if isinstance(one, dict)
        ]
    return kept
