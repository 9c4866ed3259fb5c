"""Answers in the words of OpenAI's Responses: items that open, grow and close, or one object.

Order of a stream, as the reference has it: `response.created`, `response.in_progress`; for every item
`output_item.added`, its parts and deltas, their `done` events, `output_item.done`; then `response.completed`,
`response.incomplete` or `response.failed`. Every event carries the next sequence number.
"""

from __future__ import annotations

import time
from typing import Any, Literal, TypeAlias

import orjson

from opengateway.app.gateway.responses_body import ResponseAsked
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import OpenGatewayError

Kind: TypeAlias = Literal["message", "reasoning", "function_call"]
PARTS: dict[Kind, str] = {"message": "output_text", "reasoning": "reasoning_text"}


class Item:
    """One item of the output, growing."""

    def __init__(self, kind: Kind, item_id: str, index: int) -> None:
        self.kind, self.id, self.index = kind, item_id, index
        self.texts: list[str] = []
        self.logprobs: list[Any] = []
        self.name, self.call_id = "", ""

    def part(self) -> dict[str, Any]:
        part: dict[str, Any] = {"type": PARTS[self.kind], "text": "".join(self.texts)}
        if self.kind == "message":
            part |= {"annotations": [], "logprobs": self.logprobs}
        return part

    def described(self, status: str) -> dict[str, Any]:
        done = status != "in_progress"
        item: dict[str, Any] = {"id": self.id, "type": self.kind, "status": status}
        if self.kind == "function_call":
            return item | {"call_id": self.call_id, "name": self.name, "arguments": "".join(self.texts)}
        content = [self.part()] if done else []
        if self.kind == "message":
            return item | {"role": "assistant", "content": content}
        return item | {"summary": [], "content": content}


class ResponseEvents:
    """See delivery.Writer."""

    streamed_as = "text/event-stream"

    def __init__(self, job_id: str, wanted: ResponseAsked) -> None:
        self._number = job_id.removeprefix("req-")
        self._given = wanted.given
        self._created = time.time()
        self._model = wanted.asked.request.model
        self._items: list[Item] = []
        self._open: Item | None = None
        self._calls: dict[int, Item] = {}
        self._sequence = 0
        self._prefix = b""
        """Of a delta of the open message: all but its text and its number."""

    def begin(self, model: str) -> bytes:
        self._model = model
        response = self._response("in_progress", None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def waiting(self, words: str) -> bytes:
        return f": {words}\n\n".encode()

    def pieces(self, chunks: list[Chunk]) -> bytes:
        return b"".join([piece for chunk in chunks for piece in self._piece(chunk)])

    def closing(self, stream: Stream) -> bytes:
        assert stream.finished is not None
        cut = stream.finished.reason == "length"
        end = self._close("incomplete" if cut else "completed")
        status = "incomplete" if cut else "completed"
        return end + self._event(f"response.{status}", response=self._response(status, stream.finished))

    def failed(self, error: OpenGatewayError) -> bytes:
        end = self._close("incomplete")
        response = self._response("failed", None)
        response["error"] = {"code": "server_error", "message": error.message}
        return end + self._event("response.failed", response=response)

    def whole(self, chunks: list[Chunk], stream: Stream) -> bytes:
        assert stream.finished is not None
        self.pieces(chunks)
        status = "incomplete" if stream.finished.reason == "length" else "completed"
        self._close(status)
        return orjson.dumps(self._response(status, stream.finished))

    # -- deltas --------------------------------------------------------------------------------

    def _piece(self, chunk: Chunk) -> list[bytes]:
        if isinstance(chunk, str):
            return self._text("message", chunk, [])
        parts: list[bytes] = []
        for name in ("reasoning_content", "reasoning"):
            if isinstance(thought := chunk.get(name), str) and thought:
                parts += self._text("reasoning", thought, [])
        content, given = chunk.get("content"), chunk.get("logprobs")
        logprobs = given.get("content") if isinstance(given, dict) else None
        if isinstance(content, str) and content:
            parts += self._text("message", content, logprobs if isinstance(logprobs, list) else [])
        calls = chunk.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(index := call.get("index", 0), int):
                parts += self._call(index, call)
        return parts

    def _text(self, kind: Kind, text: str, logprobs: list[Any]) -> list[bytes]:
        parts: list[bytes] = []
        if self._open is None or self._open.kind != kind:
            parts.append(self._close("completed"))
            parts.append(self._begin(kind))
        item = self._open
        assert item is not None
        item.texts.append(text)
        shown = [_logprob(token) for token in logprobs if isinstance(token, dict)]
        item.logprobs += shown
        if shown or kind != "message":
            where = {"item_id": item.id, "output_index": item.index, "content_index": 0, "delta": text}
            more = {"logprobs": shown} if kind == "message" else {}
            parts.append(self._event(f"response.{PARTS[kind]}.delta", **where, **more))
        else:
            parts.append(
                b'%b%b,"sequence_number":%d}\n\n' % (self._prefix, orjson.dumps(text), self._sequence)
            )
            self._sequence += 1
        return parts

    def _begin(self, kind: Kind) -> bytes:
        item = Item(
            kind,
            f"{'msg' if kind == 'message' else 'rs'}_{self._number}_{len(self._items)}",
            len(self._items),
        )
        self._items.append(item)
        self._open = item
        where = {"item_id": item.id, "output_index": item.index, "content_index": 0}
        head = {"type": "response.output_text.delta", **where, "logprobs": []}
        self._prefix = b"event: response.output_text.delta\ndata: " + orjson.dumps(head)[:-1] + b',"delta":'
        added = self._event(
            "response.output_item.added", output_index=item.index, item=item.described("in_progress")
        )
        return added + self._event("response.content_part.added", **where, part=item.part())

    def _call(self, index: int, call: dict[str, Any]) -> list[bytes]:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        parts: list[bytes] = []
        item = self._calls.get(index)
        if item is None:
            parts.append(self._close("completed"))
            place = len(self._items)
            item = self._open = self._calls[index] = Item(
                "function_call", f"fc_{self._number}_{place}", place
            )
            self._items.append(item)
            item.call_id = str(call.get("id") or f"call_{self._number}_{index}")
            item.name = str(function.get("name") or "")
            shown = item.described("in_progress")
            parts.append(self._event("response.output_item.added", output_index=place, item=shown))
        if isinstance(piece := function.get("arguments"), str) and piece and item is self._open:
            item.texts.append(piece)
            where = {"item_id": item.id, "output_index": item.index, "delta": piece}
            parts.append(self._event("response.function_call_arguments.delta", **where))
        return parts

    def _close(self, status: str) -> bytes:
        item, self._open = self._open, None
        if item is None:
            return b""
        where: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
        if item.kind == "function_call":
            arguments = "".join(item.texts)
            end = self._event(
                "response.function_call_arguments.done", **where, name=item.name, arguments=arguments
            )
        else:
            where["content_index"] = 0
            part = item.part()
            more = {"logprobs": item.logprobs} if item.kind == "message" else {}
            end = self._event(f"response.{PARTS[item.kind]}.done", **where, text=part["text"], **more)
            end += self._event("response.content_part.done", **where, part=part)
        shown = item.described(status)
        return end + self._event("response.output_item.done", output_index=item.index, item=shown)

    def _event(self, kind: str, **more: Any) -> bytes:
        body = orjson.dumps({"type": kind, "sequence_number": self._sequence, **more})
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"

    # -- the object ----------------------------------------------------------------------------

    def _response(self, status: str, finished: Finished | None) -> dict[str, Any]:
        given = self._given
        text = given.get("text") or {}
        shown = "in_progress" if status == "in_progress" else "completed"
        return {
            "id": f"resp_{self._number}",
            "object": "response",
            "created_at": self._created,
            "completed_at": time.time() if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": given.get("instructions"),
            "max_output_tokens": given.get("max_output_tokens"),
            "model": self._model,
            "output": [item.described(shown) for item in self._items],
            "parallel_tool_calls": given.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "reasoning": {"effort": (given.get("reasoning") or {}).get("effort"), "summary": None},
            "service_tier": "default",
            "store": False,
            "temperature": given.get("temperature", 1.0),
            "text": {"format": text.get("format") or {"type": "text"}, "verbosity": "medium"},
            "tool_choice": given.get("tool_choice", "auto"),
            "tools": given.get("tools", []),
            "top_logprobs": given.get("top_logprobs", 0),
            "top_p": given.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": _usage(finished) if finished is not None else None,
            "user": given.get("user"),
            "metadata": given.get("metadata", {}),
        }


def _usage(finished: Finished) -> dict[str, Any]:
    return {
        "input_tokens": finished.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": finished.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": finished.prompt_tokens + finished.completion_tokens,
    }


def _logprob(token: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: token.get(name) for name in ("token", "logprob")}
    kept["bytes"] = token.get("bytes") or []
    top = token.get("top_logprobs")
    kept["top_logprobs"] = [
        {"token": one.get("token"), "logprob": one.get("logprob"), "bytes": one.get("bytes") or []}
        for one in (top if isinstance(top, list) else ())
        if isinstance(one, dict)
    ]
    return kept
