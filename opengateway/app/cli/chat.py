"""The conversation that `opengateway prompt` opens on a terminal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from opengateway.app.cli.asking import Asking, Scope, ask, in_words
from opengateway.app.cli.output import complain, note, say
from opengateway.app.client import NodeClient
from opengateway.errors import NotRunning, OpenGatewayError
from opengateway.home import Home

HELP: Final = '''/model [NAME]   ask this model; without NAME, which there are
/route [SCOPE]  local, friends or anywhere
/system [TEXT]  what the model is told first
/stats          show or hide route, speed and credits
/clear          forget the conversation so far
/exit           leave; Ctrl-D does too
"""             begins and ends a text of several lines
Ctrl-C stops an answer.'''

HISTORY_LINES: Final = 1000


def chat(client: NodeClient, asking: Asking, home: Home) -> None:
    """Talk until /exit, Ctrl-D, or a second Ctrl-C."""
    note(f"{_who(asking)}. /help shows what else there is; Ctrl-D leaves.")
    with _history(home):
        while (text := _read()) is not None:
            if text.startswith("/"):
                if not _command(text, client, asking):
                    return
            elif text.strip():
                _say(text, client, asking)


def _say(text: str, client: NodeClient, asking: Asking) -> None:
    asking.messages.append({"role": "user", "content": text})
    try:
        answer = ask(client, asking)
    except KeyboardInterrupt:
        note("stopped")
        asking.messages.pop()
        return
    except OpenGatewayError as error:
        complain(error, as_json=False)
        asking.messages.pop()
        if isinstance(error, NotRunning):
            raise
        return
    asking.messages.append({"role": "assistant", "content": answer.text})
    if asking.stats:
        note(in_words(answer.stats))


def _command(line: str, client: NodeClient, asking: Asking) -> bool:
    """Do a /command. False to leave."""
    name, _, rest = line[1:].strip().partition(" ")
    rest = rest.strip()
    match name:
        case "exit" | "quit" | "bye":
            return False
        case "model":
            _choose_model(rest, client, asking)
        case "route":
            _choose_route(rest, asking)
        case "system":
            asking.system = rest
            note(f"system: {rest or '(none)'}")
        case "stats":
            asking.stats = not asking.stats
            note(f"stats: {'shown' if asking.stats else 'hidden'}")
        case "clear":
            asking.messages.clear()
            note("the conversation begins anew")
        case "help" | "?":
            say(HELP)
        case _:
            note(f"there is no /{name}; /help shows what there is")
    return True


def _choose_model(name: str, client: NodeClient, asking: Asking) -> None:
    if name:
        asking.model = name
        note(f"model: {name}")
        return
    try:
        known = [str(model["id"]) for model in client.get("/v1/models")["data"]]
    except OpenGatewayError as error:
        complain(error, as_json=False)
        return
    say(
        "\n".join(f"{'*' if name == asking.model else ' '} {name}" for name in known)
        or "no models can be reached"
    )


def _choose_route(scope: str, asking: Asking) -> None:
    if scope in set(Scope):
        asking.scope = Scope(scope)
    elif scope:
        note(f"there is no route {scope}: it is local, friends or anywhere")
        return
    note(f"route: {asking.scope.value if asking.scope else 'anywhere'}")


def _who(asking: Asking) -> str:
    return f"Talking to {asking.model}" if asking.model else "Talking to the best model that can be reached"


def _read() -> str | None:
    """One prompt; None at the end. The first Ctrl-C only clears the line, as in a shell."""
    try:
        return _lines()
    except KeyboardInterrupt:
        note("\n(Ctrl-C again, Ctrl-D or /exit leaves)")
    return _lines()


def _lines() -> str | None:
    '''What is typed, several lines of it between """ and """; None at the end.'''
    try:
        line = input(">>> ")
        if not line.lstrip().startswith('"""'):
            return line
        lines = [line.lstrip().removeprefix('"""')]
        while '"""' not in lines[-1]:
            lines.append(input("... "))
        lines[-1] = lines[-1].partition('"""')[0]
        return "\n".join(lines).strip()
    except EOFError:
        print()
        return None


@contextlib.contextmanager
def _history(home: Home) -> Iterator[None]:
    """Arrow keys recall earlier prompts, also of earlier conversations; the file is the owner's alone."""
    try:
        import readline
    except ImportError:  # a Python built without it: input() still works
        yield
        return
    path = home.path / "chat_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY_LINES)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            readline.write_history_file(path)
