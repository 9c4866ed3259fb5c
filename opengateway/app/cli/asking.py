"""One request to the network from the command line: how to ask, the answer as it comes, its figures."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from opengateway.app.cli.output import clean, is_terminal, number
from opengateway.app.client import NodeClient


class Scope(enum.StrEnum):
    LOCAL = "local"
    FRIENDS = "friends"
    ANYWHERE = "anywhere"


@dataclass(slots=True)
class Asking:
    """How to ask: what `/model`, `/route` and the options change."""

    model: str = ""
    system: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    scope: Scope | None = None
    stats: bool = False
    messages: list[dict[str, str]] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """The OpenAI request body."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        body: dict[str, Any] = {"messages": [*system, *self.messages], "stream": True}
        chosen = {"model": self.model or None, "max_tokens": self.max_tokens, "temperature": self.temperature}
        return body | {name: value for name, value in chosen.items() if value is not None}

    def headers(self) -> dict[str, str]:
        return {"x-opengateway-stats": "1", "x-opengateway-waiting": "1"} | (
            {"x-opengateway-scope": self.scope.value} if self.scope else {}
        )


@dataclass(slots=True)
class Answer:
    text: str = ""
    stats: dict[str, Any] = field(default_factory=dict)
    finish: str = ""


def ask(client: NodeClient, asking: Asking, *, quiet: bool = False) -> Answer:
    """Ask and print the answer as it comes (nothing of it if `quiet`); a Ctrl-C closes the connection."""
    answer, printer = Answer(), _Printer(quiet=quiet)
    with closing(client.events("/v1/chat/completions", asking.body(), asking.headers())) as events:
        try:
            for piece in _pieces(events, answer, printer):
                answer.text += piece
                printer.put(piece)
        finally:
            printer.end()
    return answer


def in_words(stats: dict[str, Any]) -> str:
    """`--stats` in one line."""
    if not stats:
        return "no figures: the node sent none"
    route = stats.get("route") or {}
    places = stats.get("places") or [route]
    told = [
        f"route: {', then '.join(place.get('ring') or '?' for place in places)}",
        f"node: {', then '.join(map(_who, places))}",
        f"model: {route.get('model') or '?'}" + (f" on {route['engine']}" if route.get("engine") else ""),
        f"first token: {number(stats.get('ttft_ms'))} ms",
        f"{number(stats.get('tokens_per_second'))} tokens/s",
        f"tokens: {stats.get('prompt_tokens', '?')} in, {stats.get('completion_tokens', '?')} out",
        f"credits: {stats.get('credits', '?')}",
    ]
    return " | ".join(told)


def _who(place: dict[str, Any]) -> str:
    node = f"({place['node']})" if place.get("node") else ""
    return " ".join(part for part in (str(place.get("name") or ""), node) if part) or "?"


def _pieces(events: Iterator[dict[str, Any]], answer: Answer, printer: _Printer) -> Iterator[str]:
    for event in events:
        if "waiting" in event:
            printer.wait(str(event["waiting"]))
            continue
        if isinstance(event.get("opengateway"), dict):
            answer.stats = event["opengateway"]
        for choice in event.get("choices") or []:
            answer.finish = choice.get("finish_reason") or answer.finish
            if piece := (choice.get("delta") or {}).get("content"):
                yield str(piece)


class _Printer:
    """Writes an answer token by token, and what is waited for until it begins."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = is_terminal()
        self._notes = is_terminal(sys.stderr) and not quiet
        self._waiting = False
        self._last = "\n"

    def wait(self, text: str) -> None:
        if self._notes and text and self._last == "\n":
            print(f"\r\x1b[K\x1b[2m{clean(text)}\x1b[0m", end="", file=sys.stderr, flush=True)
            self._waiting = True

    def put(self, piece: str) -> None:
        self._unwait()
        if self._quiet or not piece:
            return
        # To a terminal without control characters: the answer is a stranger's. To a file or pipe as it is.
        sys.stdout.write(clean(piece) if self._terminal else piece)
        sys.stdout.flush()
        self._last = piece[-1]

    def end(self) -> None:
        self._unwait()
        if not self._quiet and self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _unwait(self) -> None:
        if self._waiting:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._waiting = False
