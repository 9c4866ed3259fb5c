"""A caller of /v1 that sees what travels: status, headers, and every server-sent event."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from harness import Node

QUESTION = "What is 2+2?"


def chat(text: str = QUESTION, **more: Any) -> dict[str, Any]:
    """Greedy: the same text on every run."""
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **more}


class Streamed:
    """One streamed request; leaving the block hangs up."""

    def __init__(
        self,
        node: Node,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        *,
        path: str = "/v1/chat/completions",
        timeout_s: float = 30.0,
    ) -> None:
        host, _, port = node.http.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=timeout_s)
        self._connection.request(
            "POST",
            path,
            json.dumps({"stream": True, **body}),
            {"Content-Type": "application/json", **(headers or {})},
        )

    def __enter__(self) -> Self:
        self.answer = self._connection.getresponse()
        self.status, self.headers = self.answer.status, self.answer.headers
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answer.close()
        self._connection.close()

    def lines(self) -> Iterator[str]:
        """Every line that is not empty, comments too."""
        for raw in self.answer:
            if line := raw.decode().rstrip("\n"):
                yield line

    def events(self) -> Iterator[Any]:
        """The events, parsed; "[DONE]" as it is."""
        for line in self.lines():
            if not line.startswith(":"):
                data = line.removeprefix("data: ")
                assert data != line, f"not an event: {line!r}"
                yield data if data == "[DONE]" else json.loads(data)

    def text(self) -> str:
        """The whole answer's text; raises AssertionError with the error that the stream carried."""
        parts = []
        for event in self.events():
            if event == "[DONE]":
                break
            assert "error" not in event, event["error"]
            parts += [choice["delta"].get("content") or "" for choice in event["choices"]]
        return "".join(parts)
