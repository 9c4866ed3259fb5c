"""The widening search for free slots: ring by ring, the best few at once, until there are enough.

One search is for everybody here who waits for the same model; its result is slots held at places, and the
waiting take them. Events in (begin, answered, due), decisions out (whom to ask for how many slots); it knows
no clock and no wire, so that the simulator runs it unchanged.

Nearer places are never given up while it widens: what they held is used at once, and they are asked first
again next time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opengateway.routing.placement import RINGS, USUAL, Demand, Offer, Place, expected_seconds, in_time

FEW = 3
"""Places asked at once for a single slot: with every second place full, seven times in eight one is free."""
MOST_AT_ONCE = 16
WAVES = 2
"""Times that one ring is asked before the next: a ring whose best six are full is mostly full."""
MOST_ASKED = 12
"""Places asked in one search for one slot; each slot more may cost one more."""
RING_S = {"lan": 0.3, "nearest": 0.4, "country": 0.5, "continent": 0.7, "world": 1.0}
"""Seconds that a ring has for its quotes before the next is asked as well: a few round trips of that
distance, and a busy actor there. What comes later still counts."""


@dataclass(frozen=True, slots=True)
class AskSlots:
    """Ask this place for a quote that holds so many slots."""

    place: Place
    ring: str
    slots: int


@dataclass(slots=True)
class Search:
    """For `want` slots among `offers`."""

    offers: Iterable[Offer]
    want: int
    demand: Demand = USUAL
    found: int = 0
    """Slots held so far."""
    asked: int = 0
    ring: str = ""
    """The farthest that was asked."""
    over: bool = False
    _left: list[Offer] = field(init=False)
    _open: set[Place] = field(default_factory=set)
    """Asked in this wave and not heard of yet."""
    _waves: int = 0
    _due: float = 0.0

    def __post_init__(self) -> None:
        # Places that cannot keep up with a reader come after every ring that has some which can.
        self._left = sorted(
            self.offers,
            key=lambda o: (
                len(RINGS) if not in_time(o, self.demand) else RINGS.index(o.ring),
                expected_seconds(o, self.demand),
            ),
        )
        self.offers = ()

    def begin(self, now: float) -> list[AskSlots]:
        return self._wave(now)

    def answered(self, place: Place, held: int, now: float) -> list[AskSlots]:
        """A quote has come, with so many slots held; 0 for a refusal too."""
        self.found += held
        self._open.discard(place)
        if self.found >= self.want:
            self.over = True
        elif not self._open and not self.over:
            return self._wave(now)
        return []

    def due(self, now: float) -> list[AskSlots]:
        """Time has passed: the ring may have had its time."""
        return self._wave(now) if not self.over and now >= self._due else []

    @property
    def waiting_for(self) -> set[Place]:
        return self._open

    def _wave(self, now: float) -> list[AskSlots]:
        missing = self.want - self.found
        most = min(MOST_AT_ONCE, max(FEW, missing), MOST_ASKED + self.want - 1 - self.asked)
        if missing <= 0 or most <= 0 or not self._left:
            self.over = True
            return []
        ring = self._left[0].ring
        self._waves = self._waves + 1 if ring == self.ring else 1
        if self._waves > WAVES:
            self._left = [offer for offer in self._left if offer.ring != ring]
            return self._wave(now)
        wave = [offer for offer in self._left[: most + 1] if offer.ring == ring][:most]
        self._left = self._left[len(wave) :]
        self.ring, self.asked = ring, self.asked + len(wave)
        self._open |= {offer.place for offer in wave}
        self._due = now + RING_S.get(ring, 1.0)
        return [AskSlots(offer.place, ring, max(1, min(missing, offer.slots - offer.busy))) for offer in wave]
