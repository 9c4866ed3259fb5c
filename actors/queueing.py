"""The jobs that nobody can take now, and their next try. Their order is waiting.py's."""

from __future__ import annotations

import time

from actors.in_flight import InFlight
from actors.messages import Abandoned, Job
from opengateway.errors import AllBusy, DeadlinePassed


class Queueing:
    def __init__(self, flight: InFlight) -> None:
        self._flight = flight

    def queue(self, job: Job, busy: AllBusy) -> None:
        if job.why is not None and not isinstance(job.why, AllBusy):
            # Everyone who is left to try has failed it for another reason than being busy.
            self._flight.turns.refuse(job, job.why)
            return
        job.why, job.tried = busy, set()
        job.note("queued", why=busy.message)
        self.wait(job)
        self._flight.turns.seek(job)

    def wait(self, job: Job) -> None:
        if full := self._flight.waiting.join(job):
            self._flight.turns.refuse(job, full)
        else:
            self._flight.io.call(self._watch, job)

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
        stuck: set[tuple[str, str, bool, frozenset[str]]] = set()
        for job in tuple(waiting):
            kind = (job.request.model, job.scope, job.origin is None, frozenset(job.request.needs))
            if kind not in stuck and waiting.leave(job):
                self._flight.turns.place(job)
                if job in waiting:
                    stuck.add(kind)

    def expire(self) -> None:
        now = time.monotonic()
        for job in self._flight.waiting.expired(now):
            waited = f"nobody had a free slot within {now - job.created:.0f} s"
            self._flight.turns.refuse(job, job.why or DeadlinePassed(waited, retry_after=10.0))
