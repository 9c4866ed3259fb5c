"""Imported by every Python that has this folder in PYTHONPATH: tools/chaos breaks a node from within.

The product has no switch for such things. A node that chaos starts gets orders on its standard input, a line
each: `crash ACTOR`, `clock SECONDS`. No other process of the node listens (its engine inherits the path).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

_time, _time_ns = time.time, time.time_ns


def _live() -> None:
    said = b""
    while data := os.read(0, 4096):
        *lines, said = (said + data).split(b"\n")
        for line in lines:
            what, _, of_what = line.decode().partition(" ")
            try:
                {"crash": _crash, "clock": _clock}[what](of_what)
            except Exception as error:  # told in the node's output; the run goes on without this fault
                print(f"chaos: {line!r}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _clock(off_s: str) -> None:
    seconds, nanoseconds = float(off_s), int(float(off_s) * 1e9)
    time.time = lambda: _time() + seconds
    time.time_ns = lambda: _time_ns() + nanoseconds


def _crash(name: str) -> None:
    """Also where no message is ever looked at: the gateway only lives and dies."""
    from pykka import ActorRegistry

    def breaks(message: object) -> object:
        raise RuntimeError(f"chaos on {type(message).__name__}")

    anybody: Any = next(iter(ActorRegistry.get_all()))
    root = anybody._actor_weakref().address  # noqa: SLF001 - pykka keeps no other way
    while root.parent is not None:
        root = root.parent
    address = next(one for _, one in root.walk() if one.name == name or one.name.startswith(f"{name}-"))
    address.actor.on_receive = breaks
    address.tell(object(), express=True)


if "--foreground" in sys.orig_argv and os.environ.get("OPENGATEWAY_CHAOS") == "1":
    threading.Thread(target=_live, name="chaos", daemon=True).start()
