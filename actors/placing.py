"""A job finds a place: a worker of this node, or a peer for whom the price is held first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from actors import holds
from actors.failover import Failover
from actors.in_flight import InFlight
from actors.messages import Dispatch, Job, JobEnded
from actors.runner import Runner
from actors.tabs import Tabs
from opengateway.errors import AllBusy, OpenGatewayError
from opengateway.identity import short
from opengateway.routing.demand import demand_of
from opengateway.routing.market import Choice, Place

SETTLING = 4.0
"""Seconds after the start in which "nobody serves this" may only mean that peers are still being met."""
SURE_AFTER = 2
"""Full places that a job is sent to on the mere hope that they are not. Then it asks before it goes."""


class Placing:
    def __init__(
        self,
        flight: InFlight,
        *,
        runners: Mapping[str, Runner],
        dispatch: Callable[[Dispatch], None],
        failover: Failover,
        searching: bool = False,
        tabs: Tabs | None = None,
    ) -> None:
        """`searching`: peers can be asked for quotes."""
        self._flight = flight
        self._runners = runners
        self._dispatch = dispatch
        self._failover = failover
        self._searching = searching
        self._tabs = tabs
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
        now = time.monotonic()
        choice = self._for_peer(job, now) if job.origin is not None else self._for_us(job, now)
        if isinstance(choice, AllBusy):
            turns.queue(job, choice)
        elif isinstance(choice, OpenGatewayError):
            if now - self._born < SETTLING and job.origin is None and job.why is None:
                turns.wait(job)
            else:
                turns.refuse(job, choice if isinstance(job.why, AllBusy) else job.why or choice)
        else:
            self.send(job, choice, now)

    def elsewhere(self, job: Job, place: Place, now: float) -> Choice | OpenGatewayError:
        """Who else has a free slot for it just now."""
        return self._for_us(job, now, also=frozenset((place,)))

    def _for_us(
        self, job: Job, now: float, also: frozenset[Place] = frozenset()
    ) -> Choice | OpenGatewayError:
        market, request = self._flight.market, job.request
        choose = partial(
            market.choose,
            request.model,
            job.scope,
            now=now,
            tried=job.avoid.union(job.tried, also),
            patient=isinstance(job.why, AllBusy),
            sure=self._searching and job.full >= SURE_AFTER,
            settle=job.settle,
            demand=demand_of(request.kind, request.body),
            home=market.affinity.home(request.model, request.body, now),
            parts=job.unbegun() if job.unbegun is not None else 0,
            needs=request.needs,
            least=job.least,
        )
        return choose() if job.broke is None else self._failover.choose(job, lambda fits: choose(fits=fits))

    def _for_peer(self, job: Job, now: float) -> Choice | OpenGatewayError:
        """Here, or not at all."""
        flight, model = self._flight, job.request.model
        if held := flight.turns.held_back(job):
            return held
        choice = flight.market.choose(
            model,
            "local",
            now=now,
            tried=frozenset(job.tried),
            here=True,
            patient=isinstance(job.why, AllBusy),
            needs=job.request.needs,
            least=job.least,
        )
        if isinstance(choice, Choice) and not flight.market.free_here(model, job.origin, now):
            return AllBusy("the free slots are held for others", retry_after=1.0)
        return choice

    def send(self, job: Job, choice: Choice, now: float) -> None:
        flight, place = self._flight, choice.place
        if choice.model.name != job.request.model:
            job.request = replace(job.request, model=choice.model.name)
        if job.broke is not None:
            self._failover.rejoin(job, choice.model)
        else:
            job.served = choice.model
        flight.running[job], job.begun, job.at = place, now, place
        job.brief = job.queued_too or (self._searching and choice.others)
        job.settle, job.stood = False, 0.0
        flight.market.took(place, choice.model.name, now)
        if isinstance(place, str):
            job.note("sent", ring="local", node=place)
            if job.origin is not None:
                flight.market.reserved.take(job.origin, choice.model.name, now)
            runner = self._runners.get(place)
            if runner is None:  # its WorkerChanged is on the way
                gone = AllBusy("the engine is being restarted", retry_after=1.0)
                flight.turns.ended(JobEnded(job, place, None, gone))
            else:
                flight.io.call(runner.begin, job)
            return
        view = flight.market.peer(place)
        order = holds.order_for(job, place, choice.model, view)
        job.note("sent", ring=choice.ring, node=short(place), name=order.peer_name, home=choice.home)
        ledger, model, dispatch = flight.ledger, choice.model, self._dispatch
        holds.hold(ledger, flight.address, order, model, view=view, dispatch=dispatch, tabs=self._tabs)
