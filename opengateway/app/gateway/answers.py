"""Answers in OpenAI's words: the whole object, or the pieces of a stream.

A streamed chunk is assembled from a prefix and a suffix that are made once per answer: encoding the
whole object for each token cost 4 us of the 17 us that a token takes.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import orjson

from opengateway.app.gateway.logprobs import LegacyLogprobs
from opengateway.engines.protocol import Kind
from opengateway.engines.stream import Chunk, Finished, Route, Stream
from opengateway.units import show_credits

DONE = b"data: [DONE]\n\n"


class Answer:
    """One answer being written down."""

    def __init__(self, request_id: str, kind: Kind, model: str, *, index: int = 0) -> None:
        """`index`: which choice, of a request for several."""
        self._index = index
        self._kind = kind
        self._id = ("chatcmpl-" if kind == "chat" else "cmpl-") + request_id.removeprefix("req-")
        self._request_id = request_id
        self._model = model
        self._created = int(time.time())
        self._prefix, self._suffix = b"", b""
        self._first = True
        self._legacy = LegacyLogprobs()

    # -- streamed ----------------------------------------------------------------------------

    def open(self, model: str) -> None:
        """The model that really answers is known now."""
        self._model = model
        head = orjson.dumps(self._head(streamed=True))[:-1]
        if self._kind == "chat":
            self._prefix = b"data: " + head + b',"choices":[{"index":%d,"delta":{"content":' % self._index
            self._suffix = b'},"finish_reason":null}]}\n\n'
        else:
            self._prefix = b"data: " + head + b',"choices":[{"index":%d,"text":' % self._index
            self._suffix = b',"finish_reason":null}]}\n\n'

    def pieces(self, chunks: list[Chunk]) -> bytes:
        """Server-sent events, one per chunk."""
        prefix, suffix, dumps = self._prefix, self._suffix, orjson.dumps
        parts = [self._role()] if self._first and self._kind == "chat" else []
        self._first = False
        for chunk in chunks:
            if isinstance(chunk, str):
                parts.append(prefix + dumps(chunk) + suffix)
            else:
                parts.append(self._event([self._choice(chunk)]))
        return b"".join(parts)

    def ending(self, finished: Finished) -> bytes:
        """Why this choice ended."""
        end: dict[str, Any] = {"index": self._index, "finish_reason": finished.reason}
        end["delta" if self._kind == "chat" else "text"] = {} if self._kind == "chat" else ""
        return self._event([end])

    def closing(self, finished: Finished, *, usage: bool, stats: dict[str, Any] | None) -> bytes:
        """What stands behind all choices."""
        parts = []
        if usage:
            parts.append(self._event([], usage=_usage(finished)))
        if stats is not None:
            parts.append(self._event([], opengateway=stats))
        return b"".join(parts) + DONE

    def _choice(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Engines hand logprobs over with the text; OpenAI has them beside it."""
        delta = {name: value for name, value in chunk.items() if name != "logprobs"}
        choice: dict[str, Any] = {
            "index": self._index,
            "finish_reason": None,
            "logprobs": chunk.get("logprobs"),
        }
        if self._kind == "chat":
            return choice | {"delta": delta}
        choice["logprobs"] = self._legacy.add(choice["logprobs"])
        return choice | {"text": delta.get("content") or ""}

    def _role(self) -> bytes:
        first = {"index": self._index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        return self._event([first])

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + orjson.dumps({**self._head(streamed=True), "choices": choices, **more}) + b"\n\n"

    # -- in one piece ------------------------------------------------------------------------

    def choice(self, chunks: list[Chunk], finished: Finished) -> dict[str, Any]:
        logprobs: Any = _logprobs(chunks)
        if self._kind == "completion":
            logprobs = self._legacy.add(logprobs)
        choice: dict[str, Any] = {"index": self._index, "finish_reason": finished.reason}
        choice["logprobs"] = logprobs
        message = _message(chunks)
        if self._kind == "chat":
            choice["message"] = message
        else:
            choice["text"] = message["content"] or ""
        return choice

    def whole(self, choices: list[dict[str, Any]], finished: Finished, stats: dict[str, Any] | None) -> bytes:
        body = {**self._head(streamed=False), "choices": choices, "usage": _usage(finished)}
        if stats is not None:
            body["opengateway"] = stats
        return orjson.dumps(body)

    def _head(self, *, streamed: bool) -> dict[str, Any]:
        kind = "text_completion"
        if self._kind == "chat":
            kind = "chat.completion.chunk" if streamed else "chat.completion"
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}


def stats(request_id: str, stream: Stream) -> dict[str, Any]:
    """Where the answer came from and what it took, for `prompt --stats`."""
    route, finished = stream.route, stream.finished
    places = stream.routes or ([route] if route else [])
    now = stream.ended_at or time.monotonic()
    first = stream.first_at or now
    tokens = finished.completion_tokens if finished else 0
    seconds = (finished.generate_seconds if finished else 0.0) or now - first
    return {
        "request_id": request_id,
        "route": asdict(route or Route("", "", "", "")),
        "places": [asdict(place) for place in places],
        "ttft_ms": round((first - stream.created) * 1000, 3),
        "tokens_per_second": round(tokens / seconds, 1) if seconds > 0 else 0.0,
        "prompt_tokens": finished.prompt_tokens if finished else 0,
        "completion_tokens": tokens,
        "credits": show_credits(stream.cost or 0),
    }


def _usage(finished: Finished) -> dict[str, int]:
    return {
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "total_tokens": finished.prompt_tokens + finished.completion_tokens,
    }


def _message(chunks: list[Chunk]) -> dict[str, Any]:
    """The deltas of a stream put together: texts joined, tool calls merged by their index."""
    texts: dict[str, list[str]] = {"content": []}
    calls = CallMerger()
    other: dict[str, Any] = {}
    for chunk in chunks:
        if isinstance(chunk, str):
            texts["content"].append(chunk)
            continue
        for name, value in chunk.items():
            if name == "tool_calls":
                calls.add(value)
            elif isinstance(value, str) and name != "role":
                texts.setdefault(name, []).append(value)
            elif value is not None and name not in ("role", "logprobs"):
                other[name] = value
    message: dict[str, Any] = {"role": "assistant"} | other
    message |= {name: "".join(parts) for name, parts in texts.items() if parts or name == "content"}
    if merged := calls.whole():
        message["tool_calls"] = merged
        message["content"] = message["content"] or None
    return message


def _logprobs(chunks: list[Chunk]) -> dict[str, list[Any]] | None:
    """The lists of all chunks, joined name by name; None if the engine gave none."""
    joined: dict[str, list[Any]] = {}
    for chunk in chunks:
        given = chunk.get("logprobs") if isinstance(chunk, dict) else None
        for name, values in given.items() if isinstance(given, dict) else ():
            if isinstance(values, list):
                joined.setdefault(name, []).extend(values)
    return joined or None


class CallMerger:
    """The pieces of tool calls, put together by their index. A peer's delta is some JSON: what is not a piece
    of a call is left out."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, Any]] = {}

    def add(self, parts: Any) -> None:
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and isinstance(index := part.get("index", 0), int):
                self._merge(index, part)

    def whole(self) -> list[dict[str, Any]]:
        return [call for _, call in sorted(self._calls.items())]

    def _merge(self, index: int, part: dict[str, Any]) -> None:
        call = self._calls.setdefault(index, {"type": "function", "function": {"name": "", "arguments": ""}})
        if part.get("id"):
            call["id"] = part["id"]
        function = part.get("function")
        for name in ("name", "arguments"):
            piece = function.get(name) if isinstance(function, dict) else None
            call["function"][name] += piece if isinstance(piece, str) else ""
