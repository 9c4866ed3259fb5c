"""Which sessions are dead, though nobody said so, and which are due a ping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opengateway.wire.limits import (
    LISTEN_S,
    MEASURE_EVERY_S,
    PING_EVERY_S,
    SILENT_AFTER_S,
    UNANSWERED_AFTER_S,
)
from opengateway.wire.peer import Session

_OWN_STALL_S: Final = 3.0
"""Ticks come four times a second. If none came for this long, it was we who were away (a laptop's lid, a
debugger): everybody gets that time on top before being called silent."""


class Watch:
    """`look` is called with every tick."""

    def __init__(self, now: float, count: dict[str, int]) -> None:
        self._last = now
        self._count = count
        count["own_stalls"] = 0

    def look(
        self, sessions: Iterable[Session], now: float
    ) -> tuple[list[tuple[Session, str]], list[Session]]:
        """The dead, each with the reason; and those to be pinged."""
        away, self._last = now - self._last, now
        dead: list[tuple[Session, str]] = []
        due: list[Session] = []
        if away > _OWN_STALL_S:
            self._count["own_stalls"] += 1
        for session in sessions:
            if away > _OWN_STALL_S:
                session.last_heard += away
                session.last_answer += away
            if now - session.last_heard > SILENT_AFTER_S:
                dead.append((session, f"silent for {SILENT_AFTER_S:.0f} s"))
            elif now - session.last_answer > UNANSWERED_AFTER_S:
                dead.append((session, f"it has not answered for {UNANSWERED_AFTER_S:.0f} s"))
            elif _due(session, now):
                due.append(session)
        return dead, due


def _due(session: Session, now: float) -> bool:
    """One end's Pings show both ends both directions: a Ping arrives only if one of them works, its Pong only
    if the other does, and who misses either says so while it still can."""
    since = now - session.last_ping
    if session.endpoint is not None:
        return since >= PING_EVERY_S
    return since >= MEASURE_EVERY_S or (now - session.last_heard >= LISTEN_S and since >= PING_EVERY_S)
