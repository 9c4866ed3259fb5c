"""The search for free slots for those who wait: opengateway/routing/search.py with a wire and a clock.

A request that finds a free place needs none. One that was refused for being one too many joins those who
wait, and for them all together peers are asked, ring by ring, to hold slots.
"""

from __future__ import annotations

import time
from operator import attrgetter
from typing import Any, Protocol

from actors.in_flight import InFlight
from actors.messages import Job, QuoteCame, SeekSlots
from opengateway.errors import AllBusy, EngineUnavailable, UnknownModel
from opengateway.identity import short
from opengateway.routing.hold import hold_for
from opengateway.routing.search import AskSlots, Search
from opengateway.units import NodeId

PAUSE, LONGEST_PAUSE = 1.0, 8.0
"""Seconds between two searches for the same model that found too little, doubled each time: those who wait
behind a full network must not fill it with questions."""
NOTED = 16
"""Of those who wait, so many have the search in their trace."""

PAUSED = 256

_CREATED = attrgetter("created")

Wanted = tuple[str, str, frozenset[str]]
"""Model, scope, and abilities."""


class Quoting(Protocol):
    """The way to the peers: actors/lines.py."""

    def seek(self, sought: SeekSlots) -> None:
        """Ask for a quote; `QuoteCame` answers, whatever happens."""

    def release(self, peer: NodeId, number: int) -> None:
        """Give back what is left of a quote."""


class Searching:
    def __init__(self, flight: InFlight, quoting: Quoting | None) -> None:
        """Without `quoting` nobody is asked."""
        self._flight, self._quoting = flight, quoting
        self._going: dict[Wanted, Search] = {}
        self._paused: dict[Wanted, tuple[float, float]] = {}
        """Until when, and how long that was."""
        self.counters = {"searches": 0, "quotes_asked": 0, "slots_held": 0}

    def describe(self) -> dict[str, Any]:
        """Counts since the start; nothing where nobody can be asked."""
        return {"search": dict(self.counters)} if self._quoting is not None else {}

    def wanted(self, job: Job) -> None:
        """One of our own waits for a slot."""
        if self._quoting is None or job.origin is not None or job.scope == "local":
            return
        key, now, market = _key(job), time.monotonic(), self._flight.market
        waiting, model = len(self._waiting(key)), market.wanted(*key[:2], job.request.needs)
        if key in self._going:
            search = self._going[key]
            search.want = max(1, search.found + waiting - market.quotes.unused(model, now))
            return
        if self._paused.get(key, (0.0, 0.0))[0] > now:
            return
        offers = market.to_quote(model, job.scope, now, job.request.needs)
        if offers:
            self.counters["searches"] += 1
            search = self._going[key] = Search(offers, max(1, waiting))
            self._act(key, search, search.begin(now), now)

    def came(self, came: QuoteCame) -> None:
        sought, quote, now = came.sought, came.quote, time.monotonic()
        key, market = sought.wanted, self._flight.market
        if quote is not None:
            market.quoted(quote, now)
            for job in self._waiting(key):
                job.looked = 0.0  # in whatever queue it stands: it looks again
            self.counters["slots_held"] += quote.held
            facts = {"free": quote.free, "held": quote.held, "start_s": quote.start_s}
            self._note(key, "quoted", sought.peer, **facts, position=quote.position)
        else:
            error = came.error or AllBusy()
            if isinstance(error, (AllBusy, EngineUnavailable, UnknownModel)):
                market.failed(sought.peer, error, now)
            else:
                # Who does not quote for another reason than being full is asked for the answer itself: what
                # it wants (our stamp, credit) is got on that way.
                market.quotes.silent(sought.peer, now)
            self._note(key, "not_quoted", sought.peer, code=error.code)
        if (search := self._going.get(key)) is not None:
            self._act(key, search, search.answered(sought.peer, quote.held if quote else 0, now), now)
        self._flight.turns.drain()
        if not self._waiting(key) and self._quoting is not None:
            for unused in market.quotes.give_back(sought.model):
                self._quoting.release(unused.place, unused.number)

    def tick(self) -> None:
        now = time.monotonic()
        self._flight.market.quotes.expire(now)
        for key, search in list(self._going.items()):
            if self._waiting(key):
                self._act(key, search, search.due(now), now)
            else:
                del self._going[key]
        # Who stands in the queue of a peer that said to be free first may be answered sooner elsewhere.
        standing = self._flight.standing(now)
        first = {_key(job): job for job in (*self._flight.waiting, *standing) if job.origin is None}
        for job in first.values():
            self.wanted(job)

    def _act(self, key: Wanted, search: Search, asks: list[AskSlots], now: float) -> None:
        waiting, market = self._waiting(key), self._flight.market
        for ask in asks if waiting else ():
            assert not isinstance(ask.place, str)
            assert self._quoting is not None
            request = waiting[0].request
            model = market.wanted(*key[:2], request.needs)
            most = hold_for(request.kind, request.body, market.context(ask.place, model))
            market.quotes.asked(ask.place, now)
            self.counters["quotes_asked"] += 1
            self._note(key, "asked", ask.place, slots=ask.slots)
            tokens = most.prompt_tokens, most.completion_tokens
            self._quoting.seek(SeekSlots(ask.place, key, request.kind, model, *tokens, ask.slots))
        if search.over:
            del self._going[key]
            self._pause(key, now, enough=search.found >= search.want)
            if not search.found and waiting:
                model = market.wanted(*key[:2], waiting[0].request.needs)
                places = market.places_in_queues(model, key[1])
                here = sorted((job for job in waiting if job in self._flight.waiting), key=_CREATED)
                for job in here[:places]:  # the first of the queue: nobody behind one that is stuck is tried
                    job.settle = True

    def _pause(self, key: Wanted, now: float, *, enough: bool) -> None:
        before = self._paused.pop(key, (0.0, PAUSE / 2))[1]
        if not enough:
            pause = min(LONGEST_PAUSE, 2 * before)
            self._paused[key] = (now + pause, pause)
            while len(self._paused) > PAUSED:
                del self._paused[next(iter(self._paused))]

    def _waiting(self, key: Wanted) -> list[Job]:
        """Here, or in the queue of a peer."""
        jobs = (*self._flight.waiting, *self._flight.standing(time.monotonic()))
        return [job for job in jobs if job.origin is None and _key(job) == key]

    def _note(self, key: Wanted, what: str, peer: NodeId, **facts: object) -> None:
        view = self._flight.market.peer(peer)
        named = {"node": short(peer), "name": view.name if view else "", "ring": view.ring if view else ""}
        for job in self._waiting(key)[:NOTED]:
            job.note(what, **named, **facts)


def _key(job: Job) -> Wanted:
    return job.request.model, job.scope, frozenset(job.request.needs)
