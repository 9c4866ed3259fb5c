"""What everyone is doing, read without asking them: a stuck actor cannot answer."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from typing import Any

from actors.kernel.address import Address, State

# An error is one cell of a table; whoever wants all of it reads the log.
ERROR_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the supervision tree. Counters are since the address was made."""

    name: str
    depth: int  # 0 for the root
    state: State
    life: int  # 1 for the first, 0 before that
    uptime_s: float  # of this life; 0 if nobody lives there
    handled: int  # messages
    mailbox: int  # messages that wait
    peak: int  # most that ever waited
    lost: int  # messages refused or discarded
    doing: str  # type of the message being handled, or the hook (on_start, on_idle, on_exit)
    busy_s: float  # seconds in that
    error: str  # the latest failure, in one line


def describe(root: Address[Any]) -> list[Row]:
    """The tree below `root`, parents first, in start order."""
    return [_row(depth, address) for depth, address in root.walk()]


def find(root: Address[Any], name: str) -> Address[Any]:
    """Raises KeyError with the names that there are."""
    for _, address in root.walk():
        if address.name == name:
            return address
    raise KeyError(f"no actor is called {name!r}; there are {', '.join(a.name for _, a in root.walk())}")


def stack(address: Address[Any]) -> str:
    """The Python stack of the actor's thread, or of the threads that were abandoned there."""
    actor = address.actor
    threads = [] if actor is None or actor.thread is None else [actor.thread]
    frames = sys._current_frames()  # noqa: SLF001  documented, in spite of its name
    parts = []
    for thread in [*threads, *address.left_behind]:
        frame = frames.get(thread.ident) if thread.ident is not None else None
        if frame is not None and thread.is_alive():
            kind = "" if thread in threads else " (abandoned)"
            parts.append(f"{thread.name}{kind}:\n{''.join(traceback.format_stack(frame))}")
    return "\n".join(parts) or f"{address.name} is {address.state}: no thread runs there\n"


def _row(depth: int, address: Address[Any]) -> Row:
    actor, now = address.actor, address.clock.now()
    alive = address.state in ("starting", "running")
    doing = actor.doing if actor is not None and alive else ""
    return Row(
        name=address.name,
        depth=depth,
        state=address.state,
        life=address.life,
        uptime_s=now - address.since if alive else 0.0,
        handled=address.mailbox.read - (1 if doing and not doing.startswith("on_") else 0),
        mailbox=len(address.mailbox),
        peak=address.mailbox.peak,
        lost=address.lost,
        doing=doing,
        busy_s=max(0.0, now - actor.busy_since) if actor is not None and doing else 0.0,
        error=_one_line(address),
    )


def _one_line(address: Address[Any]) -> str:
    if address.error is None:
        return ""
    text = f"{type(address.error).__name__}: {address.error}".rstrip(": ")
    return " ".join(text.split())[:ERROR_WIDTH]
