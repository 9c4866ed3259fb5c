"""From relayed to direct: who is dialled directly although there is a session with him."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from actors.messages import Dial
from actors.roster import Session
from opengateway.units import NodeId

FIRST: Final = 5.0
LAST: Final = 600.0
"""Seconds between tries: doubled each time, since most who are behind NAT stay there."""
ENDPOINTS: Final = 4


@dataclass(slots=True)
class _Plan:
    seq: int
    at: float
    pause: float = FIRST


@dataclass(slots=True)
class Upgrades:
    """A record that changes is a reason to try at once: a port may have been opened. The wire moves the
    session over as soon as a direct connection is up, and nobody notices."""

    _plans: dict[NodeId, _Plan] = field(default_factory=dict)

    def due(self, sessions: Iterable[Session]) -> list[Dial]:
        now = time.monotonic()
        relayed = {session.peer: session for session in sessions if session.relay is not None}
        self._plans = {peer: plan for peer, plan in self._plans.items() if peer in relayed}
        found = []
        for peer, session in relayed.items():
            plan = self._plans.setdefault(peer, _Plan(session.record.seq, now + FIRST))
            if session.record.seq != plan.seq:
                plan.seq, plan.pause, plan.at = session.record.seq, FIRST, min(plan.at, now + 1.0)
            if now >= plan.at:
                plan.at, plan.pause = now + plan.pause, min(2 * plan.pause, LAST)
                found += [Dial(endpoint, peer) for endpoint in session.record.endpoints[:ENDPOINTS]]
        return found
