"""doctor: what could be wrong here, in a report that is safe to paste."""

from __future__ import annotations

import getpass
import re
import socket
import sys
from pathlib import Path
from typing import Any, Final

import typer

from opengateway import __version__
from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import clean, emit_json, is_terminal, say, wrapped

PLAIN: Final = "\x1b[0m"
MARKS: Final = {"ok": ("ok  ", "\x1b[32m"), "warn": ("warn", "\x1b[33m"), "fail": ("FAIL", "\x1b[1;31m")}

COMMON_NAMES: Final = frozenset({"root", "user", "admin", "node", "localhost", "opengateway", "ubuntu"})
"""Names that give nobody away; taking them out would maul ordinary sentences."""


def doctor(*, as_json: Json = False) -> None:
    """Check this machine and node, and say what to do. Exit code 1 if something fails."""
    from opengateway.app.cli.checks import examine

    home = session.home()
    found = examine(home)
    hide = _Discretion(home.config)
    checks: list[dict[str, Any]] = [
        {"name": check.name, "state": check.state, "text": hide(check.text), "hint": hide(check.hint)}
        for check in found
    ]
    failed = any(check["state"] == "fail" for check in checks)
    if as_json:
        emit_json({"version": __version__, "ok": not failed, "checks": checks})
    else:
        _print(checks)
    if failed:
        raise typer.Exit(1)


def _print(checks: list[dict[str, Any]]) -> None:
    width = max(len(check["name"]) for check in checks)
    indent = " " * (width + 8)
    for check in checks:
        mark, colour = MARKS[check["state"]]
        line = f"{mark}  {check['name']:<{width}}  {clean(check['text'])}"
        shown = wrapped(line, sys.stdout, indent=indent)
        print(shown.replace(mark, f"{colour}{mark}{PLAIN}", 1) if is_terminal() else shown)
        if check["hint"] and check["state"] != "ok":
            print(wrapped(f"{indent}{clean(check['hint'])}", sys.stdout, indent=indent))
    counts = {state: sum(check["state"] == state for check in checks) for state in MARKS}
    say(f"{counts['ok']} fine, {counts['warn']} to look at, {counts['fail']} broken")


class _Discretion:
    """Takes out of a text what its writer would not want to paste: secrets, folder, user and host name."""

    def __init__(self, config: Path) -> None:
        self._swaps: list[tuple[str, str]] = [(str(Path.home()), "~")]
        for word, stand_in in ((_user(), "USER"), (socket.gethostname().partition(".")[0], "HOST")):
            if len(word) > 2 and word.lower() not in COMMON_NAMES:
                self._swaps.append((word, stand_in))
        self._secrets = [text for text in _secrets(config) if text]

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "(secret)")
        home, stand_in = self._swaps[0]
        if len(home) > 1:
            text = text.replace(home, stand_in)
        for word, name in self._swaps[1:]:
            text = re.sub(rf"\b{re.escape(word)}\b", name, text)
        return text


def _secrets(config: Path) -> list[str]:
    from opengateway.config import KEYS, read
    from opengateway.errors import OpenGatewayError

    try:
        written = read(config)
    except OpenGatewayError:  # unreadable: then nothing of it is in the report either
        return []
    found: list[str] = []
    for name in (key.name for key in KEYS.values() if key.secret):
        section, _, last = name.rpartition(".")
        inner = written.get(section)
        value = inner.get(last) if isinstance(inner, dict) else None
        found += [value] if isinstance(value, str) else []
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
