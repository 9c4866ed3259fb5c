"""A first token is late, or the request stands in a queue there: another place is asked, too, and whoever
speaks first gives the answer.

The Scheduler's part in it; how the two streams become one is engines/contender.py, what "late" means
routing/first_tokens.py. The second request is a job of its own (`twin_of`), with an OPEN of its own: what the
loser has not said is not paid for. At most one request in twenty is asked twice, and none a third time. Who
stands in a queue loses nothing by asking elsewhere, and nobody works twice: that is not counted, but the
second place is to begin at once or to refuse.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from actors.failover import Failover
from actors.in_flight import STOOD, InFlight
from actors.messages import Job, JobEnded
from opengateway.engines.contender import Contender
from opengateway.errors import AllBusy, Cancelled, DeadlinePassed, OpenGatewayError
from opengateway.identity import short
from opengateway.routing.demand import demand_of
from opengateway.routing.first_tokens import FirstTokens
from opengateway.routing.market import Choice, Place
from opengateway.units import NodeId

logger = logging.getLogger(__name__)


class Hedging:
    def __init__(
        self,
        flight: InFlight,
        *,
        elsewhere: Callable[[Job, Place, float], Choice | OpenGatewayError],
        send: Callable[[Job, Choice, float], None],
        failover: Failover,
    ) -> None:
        """`elsewhere`: the search, without the place that is late."""
        self._flight = flight
        self._elsewhere, self._send = elsewhere, send
        self._failover = failover
        self.first_tokens = FirstTokens()
        self.counters = {"hedged": 0, "hedges_won": 0, "left_queues": 0}

    def tick(self, now: float) -> None:
        for job, place in list(self._flight.running.items()):
            if job.stream.waits is not None:
                job.stood = now
            if isinstance(place, bytes) and self._late(job, place, now):
                self._hedge(job, place, now)
        for job in self._flight.standing(now):
            if now - job.looked > STOOD:
                job.looked = now
                self._leave_queue(job, self._flight.running[job], now)

    def _late(self, job: Job, place: NodeId, now: float) -> bool:
        if job.origin is not None or job.twin is not None or job.twin_of is not None:
            return False
        stream, request = job.stream, job.request
        if stream.first_at is not None or stream.done or not request.stream or request.kind == "embedding":
            return False  # who does not watch gets it whole: no first token is due
        if job.broke is not None or job.unbegun is not None or stream.waits is not None:
            return False
        if not self.first_tokens.may_hedge():
            return False
        peer = self._flight.market.peer(place)
        rtt = (peer.rtt_ms or 0.0) / 1000 if peer is not None else 0.0
        prompt = demand_of(request.kind, request.body).prompt
        return now - max(job.begun, job.stood) > self.first_tokens.late_after(place, job.served, prompt, rtt)

    def _hedge(self, job: Job, place: Place, now: float) -> None:
        choice = self._elsewhere(job, place, now)
        if isinstance(choice, Choice):
            self.first_tokens.hedged += 1
            self.counters["hedged"] += 1
            self._ask_too(job, _twin(job), choice, now)

    def _leave_queue(self, job: Job, place: Place, now: float) -> None:
        twin = _twin(job)
        twin.queued_too, twin.tried = True, set(job.lasting)
        # How often `job` has found places full is nothing to the twin: it risks no more than a refusal.
        choice = self._elsewhere(twin, place, now)
        if isinstance(choice, Choice) and not self._flight.market.standing.full_for(choice.place, now):
            self._ask_too(job, twin, choice, now)

    def _ask_too(self, job: Job, twin: Job, choice: Choice, now: float) -> None:
        at, waits = job.at, job.stream.waits
        node = short(at) if isinstance(at, bytes) else at
        stands = {"position": waits.position} if waits is not None else {}
        job.note("late", node=node, ms_running=round((now - job.begun) * 1000), **stands)
        job.twin = twin
        assert isinstance(twin.stream, Contender)
        self._flight.io.call(twin.stream.enter)
        self._send(twin, choice, now)

    def ended(self, end: JobEnded) -> bool:
        """Whether this was one of two, and is done with; False: as any other job."""
        job = end.job
        if job.twin_of is not None:
            self._twin_ended(job.twin_of, job, end)
            return True
        if job.twin is not None and self._main_ended(job, job.twin, end):
            return True
        first_at = job.stream.first_at
        fresh = end.error is None and job.origin is None and job.broke is None and not job.stood
        if fresh and first_at is not None and isinstance(end.place, bytes):
            self.first_tokens.came(end.place, max(0.0, first_at - job.begun))
        return False

    def _main_ended(self, job: Job, twin: Job, end: JobEnded) -> bool:
        won = _won(twin)
        if not won:
            error, stream = end.error, job.stream
            alone = twin in self._flight.running and stream.first_at is None and not stream.done
            if error is None or error.status < 500 or not alone:
                return False
            self._flight.market.failed(end.place, error, time.monotonic())
            job.tried.add(end.place)
            job.alone_since = end
        # The other has won, or is the only one left: it is for him to end the job.
        if self._flight.running.pop(job, None) is not None:
            self._flight.market.gave_back(end.place)
        return True

    def _twin_ended(self, job: Job, twin: Job, end: JobEnded) -> None:
        flight = self._flight
        if flight.running.pop(twin, None) is not None:
            flight.market.gave_back(end.place)
        job.twin = None
        if end.error is None or twin.stream.finished is not None:
            self._won(job, twin, end)
            return
        error = end.error
        if twin.brief and isinstance(error, DeadlinePassed):  # it would have had to wait there, too
            error = AllBusy(error.message, retry_after=error.retry_after)
        if not isinstance(error, Cancelled):
            flight.market.failed(end.place, error, time.monotonic())
        if _won(twin):
            # It spoke first and broke off: what any answer does that has begun.
            if self._failover.broke(replace(end, job=job)):
                flight.turns.place(job)
            else:
                flight.failed += 1
                flight.io.call(job.stream.fail, end.error)
        elif job.alone_since is not None and not job.stream.done:
            job.tried.add(end.place)
            job.why, job.alone_since = job.alone_since.error, None
            flight.turns.place(job)

    def _won(self, job: Job, twin: Job, end: JobEnded) -> None:
        flight = self._flight
        self.counters["left_queues" if twin.queued_too else "hedges_won"] += 1
        flight.market.succeeded(end.place)
        flight.turns.answered(twin)
        flight.done += 1
        if end.finished is not None:
            tokens, cost = end.finished.completion_tokens, job.stream.cost or 0
            job.note("answered", prompt=end.finished.prompt_tokens, tokens=tokens, cost=cost)


def _won(twin: Job) -> bool:
    return isinstance(twin.stream, Contender) and twin.stream.won


def _twin(job: Job) -> Job:
    """The same request, for a second place."""
    twin = Job(replace(job.request), Contender(job.stream), id=job.id, scope=job.scope, deadline=job.deadline)
    twin.trace, twin.part, twin.twin_of = job.trace, job.part, job
    twin.avoid, twin.least = job.avoid, job.least
    return twin
