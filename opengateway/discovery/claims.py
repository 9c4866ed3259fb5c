"""Which peers cannot be where they say they are. Pure: measured round trips in, a verdict out.

Only too short a round trip says anything (regions.py). It says that of two places one is wrong, not whose:
so a node that finds most of its neighbours somewhere impossible doubts its own setting instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from opengateway.regions import shortest_round_trip_ms
from opengateway.units import NodeId

CLOSE_MS: Final = 20.0
"""Round trips up to which somebody is a neighbour who can bear witness of where we are."""
DOUBTERS: Final = 3
"""Fewer peers than this never make a node doubt what its owner has set."""


class Claim(NamedTuple):
    peer: NodeId
    region: str
    best_ms: float
    """Shortest round trip so far."""


@dataclass(frozen=True, slots=True)
class Judged:
    disproved: frozenset[NodeId] = frozenset()
    """Who is not in the region of its record."""
    ours: bool = False
    """It is rather this node that is not where it says."""


NOBODY: Final = Judged()


def judge(own_region: str, claims: Iterable[Claim]) -> Judged:
    against: set[NodeId] = set()
    agree = 0
    for peer, region, best_ms in claims:
        if best_ms < shortest_round_trip_ms(own_region, region):
            against.add(peer)
        elif best_ms <= CLOSE_MS:
            agree += 1
    if len(against) >= DOUBTERS and len(against) > agree:
        return Judged(ours=True)
    return Judged(frozenset(against))
