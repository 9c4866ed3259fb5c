"""prompt: ask the network, once or in a conversation."""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import Annotated, Final

import typer

from opengateway.app.cli import session
from opengateway.app.cli.asking import Asking, Scope, ask, in_words
from opengateway.app.cli.chat import chat
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, note
from opengateway.app.cli.quote import show_quote
from opengateway.errors import BadRequest

STDIN_PATIENCE_S: Final = 2.0
"""A pipe that stays silent this long gets a word of explanation: it may never end."""


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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Who would answer, for how much; ask nobody for work.")
    ] = False,
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
    if not text and sys.stdin.isatty() and not as_json and not dry_run:
        chat(client, asking, session.home())
        return
    text = "\n\n".join(part for part in (text, _piped()) if part)
    if not text:
        raise BadRequest("there is nothing to ask", hint='opengateway prompt "What is 2+2?"')
    asking.messages.append({"role": "user", "content": text})
    if dry_run:
        show_quote(client, asking, as_json=as_json)
        return
    answer = ask(client, asking, quiet=as_json)
    if as_json:
        emit_json({"text": answer.text, "finish_reason": answer.finish, **answer.stats})
    elif stats:
        note(in_words(answer.stats))


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
