"""Many parts over places of different speed: which of them should begin one now.

Each part in turn is given to the place where it would end first, also if that place is busy now (list
scheduling by earliest finish time, the rule of HEFT; for equal parts it gives the earliest possible end).
So every place gets a share in proportion to its speed, and a slow one no part that a fast one, though it is
busy, would finish before it. It is decided anew for every part, so a place that is slower than it said, or
gone, loses its share to the others.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from opengateway.routing.placement import USUAL, Demand, Offer, Place, answer_seconds

MOST_PLANNED = 256
"""Parts that are planned ahead: with more, who begins one now is the same."""
NEVER_S = 86_400.0
OVERDUE = 0.8
"""Of the expected time: whatever has run longer is reckoned to need a fifth more, and then the longer the
later it is. Without that a place that stands still would be waited for."""


def worth_starting(offers: Iterable[Offer], parts: int, demand: Demand = USUAL) -> set[Place]:
    """The places with a free slot at which one of so many waiting parts should begin now. Empty where the
    busy ones would finish all of them sooner."""
    ends: list[tuple[float, int, float, Offer, bool]] = []
    for offer in offers:
        one = answer_seconds(offer, demand)
        way = offer.rtt_s + offer.penalty_s
        for slot in range(offer.slots):
            busy = slot < offer.busy
            wait = _left(one, offer.running_s[slot : slot + 1]) if busy else 0.0
            ends.append((max(wait, offer.full_s) + way + one, len(ends), one, offer, not busy))
    heapq.heapify(ends)
    begun: set[Place] = set()
    for _ in range(min(parts, MOST_PLANNED) if ends else 0):
        end, number, one, offer, idle = ends[0]
        if idle and not offer.full_s:
            begun.add(offer.place)
        heapq.heapreplace(ends, (end + one, number, one, offer, False))
    return begun


def seconds_until_free(offers: Iterable[Offer], ahead: int, demand: Demand = USUAL) -> float:
    """Until a slot is free for somebody with so many before him; a day where there are no slots."""
    ends = [
        (_left(one, offer.running_s[slot : slot + 1]) if slot < offer.busy else 0.0, one)
        for offer in offers
        if (one := answer_seconds(offer, demand))
        for slot in range(offer.slots)
    ]
    heapq.heapify(ends)
    for _ in range(min(ahead, MOST_PLANNED) if ends else 0):
        end, one = ends[0]
        heapq.heapreplace(ends, (end + one, one))
    return ends[0][0] if ends else NEVER_S


def _left(one: float, running: tuple[float, ...]) -> float:
    """Seconds until a slot is free; half of the time where nobody knows since when it is busy."""
    if not running:
        return one / 2
    ran = running[0]
    return one - ran if ran < OVERDUE * one else (1 - OVERDUE) * one + (ran - OVERDUE * one)
