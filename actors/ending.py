"""A job leaves its place: it is answered, another place may try it, or its caller gets the error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from actors import holds
from actors.failover import Failover
from actors.hedging import Hedging
from actors.in_flight import InFlight
from actors.messages import Job, JobEnded, Submit, Unserved
from opengateway.errors import AllBusy, ContextTooLong, DeadlinePassed, OpenGatewayError, Unsupported
from opengateway.identity import short

LASTING = (402, 404)
"""Statuses of refusals that another try would meet again: credit, or a model that is not there."""


class Ending:
    def __init__(
        self,
        flight: InFlight,
        *,
        cover: Callable[[Job], None] | None,
        failover: Failover,
        hedging: Hedging,
    ) -> None:
        self._flight = flight
        self._hedging = hedging
        self._cover = cover
        self._failover = failover

    def ended(self, end: JobEnded) -> None:
        flight, job = self._flight, end.job
        if self._hedging.ended(end):
            flight.turns.drain()
            return
        if flight.running.pop(job, None) is None:
            if self._failover.broke(end):  # placed by a former life of the scheduler
                flight.turns.place(job)
            elif end.error is not None:
                flight.io.call(job.stream.fail, end.error)
            return
        flight.market.gave_back(end.place)
        if job.brief and isinstance(end.error, DeadlinePassed):  # it would have had to wait there
            end = replace(end, error=AllBusy(end.error.message, retry_after=end.error.retry_after))
        if end.error is None or job.stream.finished is not None:
            self._answered(end)
        elif isinstance(end.error, ContextTooLong) and self._has_room(job, end):
            flight.turns.place(job)
        elif self._may_retry(job, end.error) and holds.outdated(end):
            flight.address.tell_later(holds.REQUOTE, Submit(job))
        elif self._may_retry(job, end.error):
            flight.market.failed(end.place, end.error, time.monotonic())
            job.tried.add(end.place)
            if job.broke is None:
                job.why = end.error
            elif self._failover.stumbled(job, end.place, end.error):
                self.refuse(job, end.error)
                return
            job.full += isinstance(end.error, AllBusy)
            if end.error.status in LASTING:
                job.lasting.add(end.place)
            self._note(end, "failed")
            holds.note_shortage(end)
            flight.turns.place(job)
        elif self._failover.broke(end):
            flight.turns.place(job)
        else:
            flight.failed += 1
            self._note(end, "broken")
            flight.io.call(job.stream.fail, end.error)
        flight.turns.drain()

    def _answered(self, end: JobEnded) -> None:
        flight, job, now = self._flight, end.job, time.monotonic()
        flight.market.succeeded(end.place)
        flight.turns.answered(job)
        flight.done += 1
        if job.origin is not None or end.finished is None:
            return
        tokens, stream = end.finished.completion_tokens, job.stream
        flight.market.affinity.remember(job.request.model, job.request.body, end.place, now)
        # What is paid comes in pieces, whoever watches; other answers that nobody watches come at once.
        paced = job.broke is None and (job.request.stream or bool(stream.cost))
        if paced and stream.first_at is not None and not isinstance(end.place, str):
            flight.market.answered(end.place, job.request.model, tokens, stream.moved_at - stream.first_at)
        job.note("answered", prompt=end.finished.prompt_tokens, tokens=tokens, cost=stream.cost or 0)

    @staticmethod
    def _note(end: JobEnded, what: str) -> None:
        node = end.place if isinstance(end.place, str) else short(end.place)
        error = end.error
        end.job.note(what, node=node, code=error.code if error else "", why=error.message if error else "")

    def _has_room(self, job: Job, end: JobEnded) -> bool:
        """Somebody else serves the model with a larger context than this place, by whose engine the prompt
        was counted; nothing is owed for that."""
        market, model = self._flight.market, job.request.model
        here = market.served_here(model) if isinstance(end.place, str) else None
        context = market.context(end.place, model) if isinstance(end.place, bytes) else 0
        context = context or (here.context if here is not None else 0)
        if job.origin is not None or job.stream.first_at is not None or job.stream.done or not context:
            return False
        job.least, job.why = max(job.least, context), end.error
        self._note(end, "failed")
        return True

    def _may_retry(self, job: Job, error: OpenGatewayError) -> bool:
        """Somebody else may still answer: this place has shown nothing, and it is not the request's fault."""
        return (
            (job.stream.first_at is None or self._failover.fresh(job))
            and not job.stream.done
            and job.origin is None
            # Who cannot honour a field was asked by an old record of what it can: the next one may.
            and (error.status >= 500 or error.status in (402, 404) or isinstance(error, Unsupported))
        )

    def refuse(self, job: Job, error: OpenGatewayError) -> None:
        if self._cover is not None and holds.may_cover(job):
            self._cover(job)  # what others owe us may become credit there; then it is submitted again
            return
        if job.broke is not None:
            error = self._failover.lost(job, job.broke)
        self._flight.failed += 1
        job.note("refused", code=error.code, why=error.message)
        self.unserved(job)
        self._flight.io.call(job.stream.fail, error)

    def unserved(self, job: Job) -> None:
        if job.origin is not None and job.rid and not job.tabbed:
            self._flight.ledger.tell(Unserved(job.rid, job.origin))
