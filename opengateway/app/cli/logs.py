"""logs: what the background node wrote."""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer

from opengateway.app.cli import session
from opengateway.app.cli.output import clean
from opengateway.errors import OpenGatewayError

LOOK_S: Final = 0.2


def logs(
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines to show first.")] = 50,
) -> None:
    """Show the node's log."""
    path = session.home().node_log
    file = _open(path)
    if file is None and not follow:
        raise OpenGatewayError(
            f"there is no log yet: {path}",
            hint="a node that was started with `opengateway start` writes it",
        )
    with contextlib.ExitStack() as open_file:
        if file:
            open_file.push(file)
            for line in collections.deque(file, maxlen=lines):
                print(clean(line), end="")
            sys.stdout.flush()
        if follow:
            open_file.pop_all()  # the file changes hands at every rotation, and ends with this process
            _follow(path, file)


def _follow(path: Path, file: TextIO | None) -> None:
    """Print what is appended, across rotation, until Ctrl-C: the way this command is meant to end."""
    try:
        while True:
            if file and (text := file.read()):
                print(clean(text), end="", flush=True)
                continue
            time.sleep(LOOK_S)
            if file is None or _replaced(path, file):
                if file and (text := file.read()):  # written after our last look, before the rotation
                    print(clean(text), end="", flush=True)
                file = _open(path) or file
    except KeyboardInterrupt:
        return


def _open(path: Path) -> TextIO | None:
    try:
        return path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _replaced(path: Path, file: TextIO) -> bool:
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
