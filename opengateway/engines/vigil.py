"""Is who is answering us still there? A worker that was killed is mostly noticed by its connection; one whose
machine lost power, whose cable was pulled or whose relay died says nothing at all.

Silence is measured against this answer's own pace: when nothing has come for four times its longest recent
pause, the peer is pinged. No answer to that: the wire will call the session dead seconds later, but who reads
the answer is helped now. An answer to it: the engine behind has its time, since it may be reading a long
prompt of somebody else.

Runs on the I/O loop, and only while answers are coming.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opengateway.engines.asking import Asker
from opengateway.engines.ticket import Ticket
from opengateway.errors import WorkerLost
from opengateway.identity import short
from opengateway.units import NodeId

TICK = 0.1
"""Seconds."""
SOON = 0.3
"""Seconds of silence from which an answer that was flowing is asked after: 3 pauses of 10 tokens/s."""
FIRST = 1.0
"""The same before its first token: a prompt takes its time to be read."""
PAUSES = 4
PONG = 1.2
"""Seconds for the ping to be answered, round trip apart: a busy home computer took 0.4."""
STALLED = 90.0
"""Seconds of silence after which also the answer of a peer that does answer pings is given up. A processor
that reads somebody else's prompt in between takes a minute for 2,048 tokens."""
AGAIN = 5.0
"""Seconds between two pings to a peer that is alive and silent, at most; doubled from the first one on."""
FADE = 0.9
"""What is left of the longest pause with every new token: some 20 tokens are remembered."""


@dataclass(slots=True)
class _Pace:
    """Of one answer."""

    chunks: int = 0
    silent: float = 0.0
    pause: float = 0.0
    due: float = 0.0
    """Seconds of silence at which it is asked after next; 0: not yet reckoned."""


@dataclass(slots=True)
class _Probe:
    """A peer that was pinged, and when it had been heard last before."""

    heard: float
    waited: float = 0.0


class Vigil:
    def __init__(
        self,
        asker: Asker,
        *,
        probe: Callable[[NodeId], object],
        heard: Callable[[NodeId], float],
        round_trip: Callable[[NodeId], float],
        later: Callable[[float, Callable[[], None]], object],
        now: Callable[[], float],
    ) -> None:
        """`probe` pings a peer; `heard` says when it was heard last, in seconds of `now`."""
        self._asker = asker
        self._ping, self._heard, self._round_trip = probe, heard, round_trip
        self._later, self._now = later, now
        self._paces: dict[Ticket, _Pace] = {}
        self._probes: dict[NodeId, _Probe] = {}
        self._last: float | None = None
        """Of the tick before; None: not watching."""
        self.counters = {"probes": 0, "silent": 0, "stalled": 0}

    def watch(self) -> None:
        """An answer was asked for."""
        if self._last is None:
            self._last = self._now()
            self._later(TICK, self._tick)

    def _tick(self) -> None:
        tickets = self._asker.tickets()
        self._paces = {one: self._paces.get(one) or _Pace() for one in tickets}
        if not tickets:
            self._probes.clear()
            self._last = None
            return
        now = self._now()
        # Where the ticks come late it is this node that was away, and nobody else's silence is meant.
        passed, self._last = min(now - (self._last or now), 2 * TICK), now
        for peer, probe in list(self._probes.items()):
            probe.waited += passed
            if self._heard(peer) > probe.heard:
                del self._probes[peer]
        for ticket, pace in self._paces.items():
            self._look(ticket, pace, passed)
        self._later(TICK, self._tick)

    def _look(self, ticket: Ticket, pace: _Pace, passed: float) -> None:
        if ticket.chunks != pace.chunks:
            if pace.chunks:
                pace.pause = max(pace.silent, FADE * pace.pause)
            pace.chunks, pace.silent, pace.due = ticket.chunks, 0.0, 0.0
            return
        if ticket.window <= 0:  # it is our own reader who is behind
            pace.silent = pace.due = 0.0
            return
        pace.silent += passed
        pace.due = pace.due or (max(SOON, PAUSES * pace.pause) if pace.chunks else FIRST)
        peer = ticket.peer
        probe = self._probes.get(peer)
        if probe is not None and probe.waited > PONG + 2 * self._round_trip(peer):
            self.counters["silent"] += 1
            self._asker.give_up(ticket, WorkerLost(f"{short(peer)}, who was answering, has fallen silent"))
        elif pace.chunks and pace.silent > STALLED:
            self.counters["stalled"] += 1
            stalled = f"{short(peer)} is there, but has said nothing for {pace.silent:.0f} s"
            self._asker.give_up(ticket, WorkerLost(stalled))
        elif probe is None and pace.silent >= pace.due:
            self.counters["probes"] += 1
            pace.due = pace.silent + min(AGAIN, pace.silent)
            self._probes[peer] = _Probe(self._heard(peer))
            self._ping(peer)
