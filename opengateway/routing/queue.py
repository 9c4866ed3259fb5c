"""The queue in front of a node's slots: who may wait, who makes room, and when each will begin.

Pure functions over claims (priority.py): events in, decisions out. The room for peers is small on purpose:
whoever is told "full" at once can be answered elsewhere, whoever waits here cannot.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from opengateway.routing.placement import ANSWER_TOKENS, ASSUMED_TPS
from opengateway.routing.priority import Claim, Service, ranks
from opengateway.units import NodeId

PER_SLOT: Final = 2
"""Requests of peers that may wait for each slot: one is always ready when a slot gets free, and the other
makes up for one that has left meanwhile."""
FOR_STRANGERS: Final = 4
"""Beside that room there is a quarter of it, and at least one place, for strangers only: without it whoever
has credit would push each newcomer out before it has waited its time."""
STRANGER_SLOTS: Final = 3, 4
"""Of the slots, three quarters are the most that strangers have together: the rest stays ready for who has
credit, since an answer that has begun is not interrupted."""
STRANGER_AT_ONCE: Final = 2
"""Requests of one node, running and waiting, that only trust covers."""


def room(slots: int) -> int:
    """How many requests of peers may wait in front of so many slots."""
    return PER_SLOT * max(1, slots)


def stranger_slots(slots: int) -> int:
    """How many of so many slots strangers may have at once."""
    most, of = STRANGER_SLOTS
    return max(1, slots * most // of)


def displaced(
    waiting: Sequence[Claim], newcomer: Claim, running: Mapping[NodeId, int], places: int
) -> int | None:
    """Who leaves so that a peer's `newcomer` can wait: an index, or len(waiting) for the newcomer itself;
    None if there is room for all. `waiting` are peers' claims only, `places` is what `room` says."""
    last, stranger = len(waiting), newcomer.service is Service.STRANGER
    if stranger and _at_once(waiting, newcomer, running) >= STRANGER_AT_ONCE:
        return last
    strangers = sum(1 for claim in waiting if claim.service is Service.STRANGER)
    theirs = max(1, places // FOR_STRANGERS)
    if (stranger and strangers < theirs) or last - min(strangers, theirs) < places:
        return None
    rank = ranks([*waiting, newcomer], running)
    safe = not stranger and strangers <= theirs
    open_to = [at for at, c in enumerate(waiting) if not (safe and c.service is Service.STRANGER)]
    return max([*open_to, last], key=lambda at: (rank[at], at))


def _at_once(waiting: Sequence[Claim], newcomer: Claim, running: Mapping[NodeId, int]) -> int:
    asker = newcomer.requester
    if asker is None:
        return 0
    return running.get(asker, 0) + sum(1 for claim in waiting if claim.requester == asker)


def waits(free_in: Sequence[float], each: Sequence[float]) -> list[float]:
    """Seconds until each of a queue begins. `free_in`: seconds until each slot is free; `each`: how long each
    of the queue, in its order, will hold the slot that it gets."""
    slots = [max(0.0, seconds) for seconds in free_in]
    heapq.heapify(slots)
    found: list[float] = []
    for seconds in each:
        if not slots:
            return found
        begins = heapq.heappop(slots)
        found.append(begins)
        heapq.heappush(slots, begins + seconds)
    return found


@dataclass(slots=True)
class Pace:
    """How long answers of a model hold a slot here: what has been seen, or what its speed lets expect."""

    _mean: dict[str, float] = field(default_factory=dict)

    NEWEST = 0.2
    """Weight of the newest answer: ten of them outweigh all before."""
    MOST = 256
    """Models that are remembered: a peer cannot make more than there are, this bounds renaming."""

    def ended(self, model: str, seconds: float) -> None:
        if model not in self._mean and len(self._mean) >= self.MOST:
            self._mean.pop(next(iter(self._mean)))
        before = self._mean.get(model, seconds)
        self._mean[model] = before + self.NEWEST * (seconds - before)

    def expected(self, model: str, generate_tps: float = 0.0) -> float:
        """Seconds that one more answer will take."""
        return self._mean.get(model) or ANSWER_TOKENS / (generate_tps or ASSUMED_TPS)

    def left(self, model: str, passed: float, generate_tps: float = 0.0) -> float:
        """Seconds that an answer which began `passed` seconds ago will still take. One that has outlived the
        mean is taken to need half of it again: long answers have long tails."""
        mean = self.expected(model, generate_tps)
        return max(mean - passed, mean / 2 if passed > mean else 0.0)
