"""Answers that have stopped moving: they hold a slot and a caller for nothing.

A peer that only pings, an engine that is stopped in a debugger, a caller who never reads: none of them ever
ends an answer, and no connection breaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from actors.io_loop import IoLoop
from actors.messages import Job
from opengateway.errors import DeadlinePassed
from opengateway.routing.market import Place

FIRST_TOKEN = 900.0
"""Seconds until something must have come: a 70B model reads 8,000 tokens on a processor in ten minutes, and a
caller who does not stream sees nothing until the whole answer is there."""
NEXT_TOKEN = 120.0
"""Seconds between two chunks: 100 times what the slowest model that anyone bears with takes."""


def end_the_stalled(running: Mapping[Job, Place], io: IoLoop, now: float) -> None:
    """Give up those that stand still; whoever makes them is told, and reports the job as ended."""
    for job in _stalled(running, now):
        moved = job.stream.moved_at
        what = "no first token" if job.stream.first_at is None else "no further token"
        error = DeadlinePassed(
            f"{what} within {now - moved:.0f} s", hint="`opengateway status` shows how the engine does"
        )
        io.call(job.stream.give_up, error)


def _stalled(running: Iterable[Job], now: float) -> list[Job]:
    found = []
    for job in running:
        stream = job.stream
        limit = FIRST_TOKEN if stream.first_at is None else NEXT_TOKEN
        if not stream.done and now - max(stream.moved_at, job.begun) > limit:
            found.append(job)
    return found
