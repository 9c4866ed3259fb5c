"""How fast places were when they answered us, beside what they claim to be.

A claim is anybody's word; what came over the wire is a fact. So a place is reckoned with by its claim times
what we have observed of its claims so far, and by our own figure where it claims nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeVar

from opengateway.routing.placement import Place, plain_name

K = TypeVar("K")

SMOOTHING = 0.3
"""Weight of the newest answer: three outweigh all before them."""
LEAST_TOKENS = 8
"""Completion tokens from which an answer tells a speed from a hiccup."""
KEPT = 4096
"""Places remembered, the longest unseen forgotten first."""
LEAST_SHARE, MOST_SHARE = 0.02, 4.0
"""Bounds of observed to claimed: one odd answer must not make a place invisible, or irresistible."""


@dataclass(slots=True)
class Observed:
    _shares: OrderedDict[Place, float] = field(default_factory=OrderedDict)
    """Of observed to claimed speed, by place."""
    _speeds: OrderedDict[tuple[Place, str], float] = field(default_factory=OrderedDict)
    """Tokens/s, by place and model."""

    def answered(self, place: Place, model: str, claimed: float, tokens: int, seconds: float) -> None:
        """So many completion tokens came in so many seconds, from the first to the last."""
        if tokens < LEAST_TOKENS or seconds <= 0:
            return
        speed = (tokens - 1) / seconds
        _mix(self._speeds, (place, plain_name(model)), speed)
        if claimed > 0:
            _mix(self._shares, place, min(MOST_SHARE, max(LEAST_SHARE, speed / claimed)))

    def speed(self, place: Place, model: str, claimed: float) -> float:
        """Tokens/s to reckon with; 0 where nobody knows."""
        if claimed > 0:
            share = self._shares.get(place)
            return claimed if share is None else claimed * share
        return self._speeds.get((place, plain_name(model)), 0.0) if self._speeds else 0.0

    def share(self, place: Place) -> float | None:
        """Of observed to claimed; None before the first answer."""
        return self._shares.get(place)

    def speeds(self, place: Place) -> dict[str, float]:
        return {model: speed for (who, model), speed in self._speeds.items() if who == place}


def _mix(figures: OrderedDict[K, float], key: K, newest: float) -> None:
    old = figures.get(key)
    figures[key] = newest if old is None else old + SMOOTHING * (newest - old)
    figures.move_to_end(key)
    if len(figures) > KEPT:
        figures.popitem(last=False)
