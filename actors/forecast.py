"""When those who wait will begin, and telling them so: place, seconds, and that we are still here."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable

from actors.in_flight import InFlight
from actors.messages import Job
from opengateway.engines.stream import Stream, Waits
from opengateway.routing.market import Market
from opengateway.routing.placement import Place, in_scope, plain_name
from opengateway.routing.queue import Pace, waits

ALIVE_EVERY = 5.0
"""Seconds after which a caller is told again, even if nothing has changed."""
NOT_SOONER = 1.0
"""Seconds between two figures that differ in nothing but the time."""
TOLD_AT_ONCE = 200
"""Jobs at the head of the queue that are told; those behind them hear of it when they come nearer."""


class Forecast:
    def __init__(self, flight: InFlight) -> None:
        self._flight = flight
        self._pace = Pace()

    def ended(self, job: Job) -> None:
        """It was answered: so long it held a slot."""
        if job.begun:
            self._pace.ended(plain_name(job.request.model), time.monotonic() - job.begun)

    def next_in(self, model: str) -> float | None:
        """Seconds until one more request for this model would begin; None if nobody can say."""
        jobs = self._flight.waiting.in_order(self._flight.running)
        ahead = [job for job in jobs if plain_name(job.request.model) == plain_name(model)]
        found = self._waits(plain_name(model), len(ahead) + 1)
        return found[-1] if len(found) > len(ahead) else None

    def tell(self) -> None:
        """Tell everybody who waits what has changed for him."""
        flight, now = self._flight, time.monotonic()
        groups: defaultdict[str, list[Job]] = defaultdict(list)
        for job in flight.waiting.in_order(flight.running)[:TOLD_AT_ONCE]:
            groups[plain_name(job.request.model)].append(job)
        news: list[tuple[Stream, Waits | None]] = []
        for model, jobs in groups.items():
            etas = self._waits(model, len(jobs))
            for at, job in enumerate(jobs):
                said = Waits(at + 1, etas[at] if at < len(etas) else _later(job))
                if _worth_telling(job, said, now):
                    job.told, job.told_at = said, now
                    news.append((job.stream, said))
        if news:
            flight.io.call(_tell, news)

    def begun(self, job: Job) -> None:
        """It waits no longer."""
        if job.told is not None:
            job.told = None
            self._flight.io.call(_tell, [(job.stream, None)])

    def _waits(self, model: str, count: int) -> list[float]:
        """Seconds until each of so many begins, by the answers that are being given."""
        now, pace = time.monotonic(), self._pace
        speed = next(filter(None, serving(self._flight.market, model, "anywhere").values()), 0.0)
        free_in = [
            pace.left(model, now - job.begun, speed)
            for job in self._flight.running
            if plain_name(job.request.model) == model
        ]
        return waits(free_in, [pace.expected(model, speed)] * count)


def serving(market: Market, model: str, scope: str) -> dict[Place, float]:
    """Everybody in this scope who has the model, busy or not, with its tokens/s (0: not measured)."""
    offers = market.offers(market.wanted(model, scope), 0.0, None)
    return {offer.place: offer.generate_tps for offer, _ in offers if in_scope(offer, scope)}


def _tell(news: Iterable[tuple[Stream, Waits | None]]) -> None:
    for stream, said in news:
        stream.queued(said)


def _later(job: Job) -> float | None:
    """Nothing of ours runs there: when those who refused have said."""
    return job.why.retry_after if job.why is not None else None


def _worth_telling(job: Job, said: Waits, now: float) -> bool:
    told, passed = job.told, now - job.told_at
    if told is None or told.position != said.position or passed >= ALIVE_EVERY:
        return True
    if told.eta_s is None or said.eta_s is None:
        return told.eta_s is not said.eta_s
    drift = abs(said.eta_s - (told.eta_s - passed))
    return passed >= NOT_SOONER and drift > max(1.0, said.eta_s / 4)
