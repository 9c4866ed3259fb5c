"""A job finds a place: a worker of this node, or a peer for whom the price is held first."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from actors import holds
from actors.in_flight import InFlight
from actors.messages import Dispatch, Job, JobEnded
from actors.runner import Runner
from opengateway.errors import AllBusy, OpenGatewayError
from opengateway.routing.market import Choice

SETTLING = 4.0
"""Seconds after the start in which "nobody serves this" may only mean that peers are still being met."""


class Placing:
    def __init__(
        self,
        flight: InFlight,
        *,
        runners: Mapping[str, Runner],
        dispatch: Callable[[Dispatch], None],
        lend: int,
    ) -> None:
        """`lend`: slots that peers may have at once; 0: all."""
        self._flight = flight
        self._runners = runners
        self._dispatch = dispatch
        self._lend = lend or sys.maxsize
        self._born = time.monotonic()

    def place(self, job: Job) -> None:
        flight = self._flight
        before, flight.in_hand = flight.in_hand, (*flight.in_hand, job)
        self._find_place(job)
        flight.in_hand = before

    def _find_place(self, job: Job) -> None:
        turns = self._flight.turns
        if job.stream.done:  # the caller went away
            turns.unserved(job)
            return
        now, here = time.monotonic(), job.origin is not None
        if here and self._flight.of_peers() >= self._lend:
            turns.queue(job, AllBusy("all slots that are for others are busy", retry_after=1.0))
            return
        choice = self._flight.market.choose(
            job.request.model,
            job.scope,
            now=now,
            tried=frozenset(job.tried),
            here=here,
            patient=isinstance(job.why, AllBusy),
            needs=job.request.needs,
        )
        if isinstance(choice, AllBusy):
            turns.queue(job, choice)
        elif isinstance(choice, OpenGatewayError):
            if now - self._born < SETTLING and not here and job.why is None:
                turns.wait(job)
            else:
                turns.refuse(job, choice if isinstance(job.why, AllBusy) else job.why or choice)
        else:
            self._send(job, choice)

    def _send(self, job: Job, choice: Choice) -> None:
        flight = self._flight
        if choice.model.name != job.request.model:
            job.request = replace(job.request, model=choice.model.name)
        flight.running[job], job.begun = choice.place, time.monotonic()
        flight.market.took(choice.place)
        if isinstance(choice.place, str):
            runner = self._runners.get(choice.place)
            if runner is None:  # its WorkerChanged is on the way
                gone = AllBusy("the engine is being restarted", retry_after=1.0)
                flight.turns.ended(JobEnded(job, choice.place, None, gone))
            else:
                flight.io.call(runner.begin, job)
            return
        order = holds.order_for(job, choice.place, choice.model, flight.market.peer(choice.place))
        holds.hold(flight.ledger, flight.address, order, choice.model, dispatch=self._dispatch)
