"""prompt: ask the network, once or in a conversation."""

from __future__ import annotations

import enum
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import clean, emit_json, is_terminal, note, number
from opengateway.app.client import NodeClient
from opengateway.errors import BadRequest

STDIN_PATIENCE_S: Final = 2.0
"""A pipe that stays silent this long gets a word of explanation: it may never end."""


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
        return {"x-opengateway-stats": "1"} | (
            {"x-opengateway-scope": self.scope.value} if self.scope else {}
        )


@dataclass(slots=True)
class Answer:
    text: str = ""
    stats: dict[str, Any] = field(default_factory=dict)
    finish: str = ""


def prompt(
    words: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]", help="What to ask.")] = None,
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Which model; the best that can be reached.")
    ] = "",
    system: Annotated[str, typer.Option("--system", "-s", help="What the model is told first.")] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, max=2.0, help="0 is always the likeliest word.")
    ] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Show route, node, speed and credits after the answer.")
    ] = False,
    local: Annotated[bool, typer.Option("--local", help="Only this node's own engine.")] = False,
    friends: Annotated[
        bool, typer.Option("--friends", help="Only this node, its link and its friends.")
    ] = False,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="Whoever answers best.")] = False,
    as_json: Json = False,
) -> None:
    """Ask, and print the answer as it comes. Without TEXT on a terminal: a conversation.

    What is piped in is the prompt, or is put after TEXT: `git diff | opengateway prompt "Review this"`.
    Ctrl-C cancels, on the answering node too.
    """
    asked = [scope for scope, on in zip(Scope, (local, friends, anywhere), strict=True) if on]
    if len(asked) > 1:
        raise session.WrongUsage(
            "choose one of --local, --friends and --anywhere", hint="see `opengateway prompt -h`"
        )
    asking = Asking(model, system, max_tokens, temperature, asked[0] if asked else None, stats)
    client = session.node()  # before stdin is read: nobody should type a page for a node that is not there
    text = " ".join(words or [])
    if not text and sys.stdin.isatty() and not as_json:
        from opengateway.app.cli.chat import chat

        chat(client, asking, session.home())
        return
    text = "\n\n".join(part for part in (text, _piped()) if part)
    if not text:
        raise BadRequest("there is nothing to ask", hint='opengateway prompt "What is 2+2?"')
    asking.messages.append({"role": "user", "content": text})
    answer = ask(client, asking, quiet=as_json)
    if as_json:
        emit_json({"text": answer.text, "finish_reason": answer.finish, **answer.stats})
    elif stats:
        note(in_words(answer.stats))


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
    who = " ".join(
        str(part) for part in (route.get("name"), f"({route['node']})" if route.get("node") else "") if part
    )
    told = [
        f"route: {route.get('ring') or '?'}",
        f"node: {who or '?'}",
        f"model: {route.get('model') or '?'}" + (f" on {route['engine']}" if route.get("engine") else ""),
        f"first token: {number(stats.get('ttft_ms'))} ms",
        f"{number(stats.get('tokens_per_second'))} tokens/s",
        f"tokens: {stats.get('prompt_tokens', '?')} in, {stats.get('completion_tokens', '?')} out",
        f"credits: {stats.get('credits', '?')}",
    ]
    return " | ".join(told)


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


def _piped() -> str:
    """What is piped or redirected into stdin; "" where nothing is."""
    try:
        descriptor = sys.stdin.fileno()
        if sys.stdin.isatty() or stat.S_ISCHR(os.fstat(descriptor).st_mode):  # a terminal, or /dev/null
            return ""
        if not select.select([descriptor], [], [], STDIN_PATIENCE_S)[0]:
            note("waiting for the rest of the prompt on stdin; if there is none, add < /dev/null")
    except (OSError, ValueError, AttributeError):  # closed, or replaced by something that is no file
        return ""
    return sys.stdin.read().strip()
