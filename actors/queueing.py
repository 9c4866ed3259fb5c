"""The jobs that nobody can take now, and their next try. Their order is waiting.py's."""

from __future__ import annotations

import time

from actors.forecast import Forecast, serving
from actors.in_flight import InFlight
from actors.messages import Abandoned, Job
from opengateway.errors import AllBusy, DeadlinePassed, OpenGatewayError
from opengateway.routing.priority import Service
from opengateway.routing.queue import STRANGER_AT_ONCE, room, stranger_slots

OVERDUE = 2.0
"""Seconds beyond the deadline after which a job is taken back from a peer where it still waits: a peer that
keeps its word has refused it by then, over any distance."""
SOONEST, LATEST = 1.0, 60.0
"""Seconds after which whoever was refused is told to come back."""


class Queueing:
    def __init__(self, flight: InFlight, *, lend: int) -> None:
        """`lend`: slots that peers may have at once; 0: all."""
        self._flight, self._lend = flight, lend
        self.forecast = Forecast(flight)

    def queue(self, job: Job, busy: AllBusy) -> None:
        if job.origin is not None and (told := self._too_long(job)) is not None:
            self._flight.turns.refuse(job, told)
            return
        why = job.why
        if why is None or isinstance(why, AllBusy):
            job.why, job.tried = busy, set(job.lasting)
        elif not self._untried(job):
            # Everyone who is left to try has failed it for another reason than being busy.
            self._flight.turns.refuse(job, why)
            return
        # Else it waits for those who have not failed it: who has is not asked again while they are there.
        if job.noted != busy.message:  # tried four times a second, it would fill its trace with the same
            job.noted = busy.message
            job.note("queued", why=busy.message)
        self.wait(job)
        self._flight.turns.seek(job)

    def _too_long(self, job: Job) -> AllBusy | None:
        """A peer's job that could not begin in its time is told so at once: it can go elsewhere."""
        eta = self.forecast.next_in(job.request.model)
        if eta is None or time.monotonic() + eta <= job.deadline:
            return None
        busy = f"all slots are busy; this could begin in about {max(1, round(eta))} s"
        return AllBusy(busy, hint="ask another node, or allow more time", retry_after=_bounded(eta))

    def _untried(self, job: Job) -> bool:
        """Somebody who is busy now has not said no to it."""
        if job.origin is not None:
            return False
        return bool(serving(self._flight.market, job.request.model, job.scope).keys() - job.tried - job.avoid)

    def wait(self, job: Job) -> None:
        leaves = self._flight.waiting.join(job, self._flight.running, self.places())
        if leaves is not job:
            self._flight.io.call(self._watch, job)
        if leaves is not None:
            leaves.let_in = False
            self._flight.turns.refuse(leaves, self.full(leaves))

    def places(self) -> int:
        """How many jobs of peers may wait here."""
        slots = self._flight.market.slots()
        return room(min(slots, self._lend) if self._lend else slots)

    def turned_away(self, job: Job) -> AllBusy | None:
        """Why a peer's job need not even be looked at: the queue is full of those that go before it."""
        waiting, running, places = self._flight.waiting, self._flight.running, self.places()
        known = job.service
        if waiting.would_leave(job, running, places) is not job:
            return None
        if known is Service.SECURED:  # whether its credit covers it is not known yet
            job.service = Service.STRANGER
            leaves = waiting.would_leave(job, running, places)
            job.service = known
            if leaves is not job:
                return None
        return self.full(job)

    def full(self, job: Job) -> AllBusy:
        eta = self.forecast.next_in(job.request.model)
        when = "" if eta is None else f"; the next could begin in about {max(1, round(eta))} s"
        return AllBusy(
            f"the queue of this node is full: {len(self._flight.waiting)} wait{when}",
            hint="ask another node, or this one later",
            retry_after=_bounded(eta),
        )

    def held_back(self, job: Job) -> AllBusy | None:
        """Why a peer's job may not have a slot even if one is free."""
        if job.origin is None:
            return None
        running = [other for other in self._flight.running if other.origin is not None]
        if self._lend and len(running) >= self._lend:
            return AllBusy("all slots that are for others are busy", retry_after=SOONEST)
        if job.service is not Service.STRANGER:
            return None
        strangers = [other for other in running if other.service is Service.STRANGER]
        if len(strangers) >= stranger_slots(self._flight.market.slots()):
            return AllBusy("all slots that are for strangers are busy", retry_after=SOONEST)
        if sum(1 for other in strangers if other.origin == job.origin) >= STRANGER_AT_ONCE:
            return AllBusy(
                f"{STRANGER_AT_ONCE} requests at once for whom this node does not know", retry_after=SOONEST
            )
        return None

    def _watch(self, job: Job) -> None:
        """On the loop: hear of a caller who leaves the queue."""
        job.stream.on_cancel = lambda: self._flight.address.tell(Abandoned(job))
        if job.stream.done:
            self._flight.address.tell(Abandoned(job))

    def abandoned(self, job: Job) -> None:
        if self._flight.waiting.leave(job):
            self._flight.turns.unserved(job)

    def drain(self) -> None:
        """Give every waiting job another try, in order. Once one has found everyone busy, the others
        that want the same model would, too."""
        waiting = self._flight.waiting
        if not len(waiting):
            return
        stuck: set[tuple[str, str, bool, bool, frozenset[str]]] = set()
        for job in waiting.in_order(self._flight.running):
            ours, needs = job.origin is None, frozenset(job.request.needs)
            kind = (job.request.model, job.scope, ours, job.broke is not None, needs)
            if kind not in stuck and not self.held_back(job) and waiting.leave(job):
                self._flight.turns.place(job)
                if job in waiting:
                    stuck.add(kind)
                elif job in self._flight.running:
                    self.forecast.begun(job)

    def expire(self) -> None:
        now = time.monotonic()
        for job in self._flight.waiting.expired(now):
            self._flight.turns.refuse(job, self._too_late(job, now))
        for job in self._flight.running:
            if job.stream.waits is not None and job.deadline and now > job.deadline + OVERDUE:
                self._flight.io.call(job.stream.give_up, self._too_late(job, now))
        self.forecast.tell()

    def _too_late(self, job: Job, now: float) -> OpenGatewayError:
        stood = job.told or job.stream.waits
        where = f"; it was {stood.words()}" if stood is not None else ""
        soon = _bounded(stood.eta_s if stood is not None else None)
        waited = f"nobody had a free slot within {now - job.created:.0f} s{where}"
        if job.within or job.origin is not None:
            hint = "allow more time, or ask again when it is quieter"
            return DeadlinePassed(waited, hint=hint, retry_after=soon)
        if job.why is not None and not isinstance(job.why, AllBusy):
            return job.why
        return AllBusy(
            waited, hint="ask again later, or `opengateway peers` for more nodes", retry_after=soon
        )

    def closed(self, why: OpenGatewayError) -> None:
        """This node serves peers no longer: those that wait go elsewhere."""
        for job in tuple(self._flight.waiting):
            if job.origin is not None and self._flight.waiting.leave(job):
                self._flight.turns.refuse(job, why)


def _bounded(seconds: float | None) -> float:
    return SOONEST if seconds is None else min(LATEST, max(SOONEST, seconds))
