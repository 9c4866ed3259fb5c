"""What the parts of the Scheduler share: the jobs in its hands, and whom it may talk to.

Its parts are placing.py (where does a job go), ending.py (what became of it, and may another place try)
and queueing.py (the jobs that nobody can take now). They call each other through this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.messages import Job, JobEnded, LedgerMessage, SchedulerMessage
from actors.waiting import WaitingRoom
from opengateway.errors import AllBusy, OpenGatewayError
from opengateway.routing.market import Market, Place

STOOD = 1.0
"""Seconds in a peer's queue before a request looks around for another place, and between two looks."""
WORTH = 2.0
"""Seconds of expected waiting from which asking elsewhere is worth an OPEN, a round trip and a refusal."""


@dataclass(slots=True)
class Turns:
    """What may become of a job next."""

    place: Callable[[Job], None]
    """Find it a place now."""
    queue: Callable[[Job, AllBusy], None]
    """It waits: everybody is busy."""
    wait: Callable[[Job], None]
    """It waits, whatever for."""
    seek: Callable[[Job], None]
    """It waits for a slot: others may have one."""
    drain: Callable[[], None]
    """Something is free: give the waiting another try."""
    held_back: Callable[[Job], AllBusy | None]
    """Why a peer's job may not have a slot even if one is free."""
    ended: Callable[[JobEnded], None]
    answered: Callable[[Job], None]
    """It ended well: how long it took is learnt."""
    refuse: Callable[[Job, OpenGatewayError], None]
    unserved: Callable[[Job], None]


@dataclass(slots=True)
class InFlight:
    io: IoLoop
    address: Address[SchedulerMessage]
    ledger: Address[LedgerMessage]
    market: Market
    turns: Turns = field(init=False)
    waiting: WaitingRoom = field(default_factory=WaitingRoom)
    in_hand: tuple[Job, ...] = ()
    """Jobs that are being placed just now: lost with the actor's life unless somebody says so."""
    running: dict[Job, Place] = field(default_factory=dict)
    done: int = 0
    failed: int = 0

    def standing(self, now: float) -> list[Job]:
        """Our own that have stood in a peer's queue for a moment, and would stand there for some more."""
        return [job for job in self.running if _stands(job, now)]

    def of_peers(self) -> int:
        """Jobs of peers that run here."""
        return sum(1 for job in self.running if job.origin is not None)

    def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = {"running": len(self.running), "queued": len(self.waiting)}
        counts["queued_by_class"] = self.waiting.by_class()
        return counts | {"done": self.done, "failed": self.failed} | self.market.counts()


def _stands(job: Job, now: float) -> bool:
    stream = job.stream
    if job.origin is not None or stream.waits is None or stream.first_at is not None or stream.done:
        return False
    if job.broke is not None or job.twin is not None or job.twin_of is not None:
        return False
    eta = stream.waits.eta_s
    return now - job.begun > STOOD and (eta is None or eta > WORTH)
