"""What peers have quoted us: slots that they hold for us, and how they stood a moment ago.

A quote is fresh as long as the slots in it are held. After that it says nothing about now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opengateway.routing.placement import Place, plain_name
from opengateway.routing.views import Quotation

MUTE_FOR = 60.0
"""Seconds for which a peer that let a question for a quote pass is not asked for one: it may be of an older
version, and is asked for the answer itself."""

SPARE_S = 1.0
"""Seconds for which a slot that was free, but not held for us, is taken to be free still."""


@dataclass(slots=True)
class QuoteBook:
    _held: dict[tuple[Place, str], list[Quotation]] = field(default_factory=dict)
    """By place and model; `held` counts down as jobs go there."""
    _mute: dict[Place, float] = field(default_factory=dict)
    _asked: dict[Place, float] = field(default_factory=dict)
    """When it was last asked, or said something of itself."""
    _spare: dict[Place, tuple[int, float]] = field(default_factory=dict)
    """Slots that were free there and not held for us, and when."""

    def quoted(self, quote: Quotation, now: float) -> None:
        self._mute.pop(quote.place, None)
        self._asked[quote.place] = now
        self._spare[quote.place] = (quote.free - quote.held, now)
        if quote.held:
            self._held.setdefault((quote.place, plain_name(quote.model)), []).append(quote)

    def asked(self, place: Place, now: float) -> None:
        self._asked[place] = now

    def silent(self, place: Place, now: float) -> None:
        """It did not answer."""
        self._mute[place] = now + MUTE_FOR

    def asked_ago(self, place: Place, now: float) -> float:
        return now - self._asked.get(place, -1e9)

    def mute(self, place: Place, now: float) -> bool:
        return self._mute.get(place, 0.0) > now

    def held(self, place: Place, model: str, now: float) -> int:
        """Slots that are ours there for a moment."""
        if not self._held:
            return 0
        quotes = self._held.get((place, plain_name(model)), ())
        return sum(quote.held for quote in quotes if quote.until > now)

    def sure(self, place: Place, model: str, now: float) -> bool:
        """Whether a slot is ours there, or was free a moment ago."""
        spare, at = self._spare.get(place, (0, 0.0))
        return (spare > 0 and now - at < SPARE_S) or self.held(place, model, now) > 0

    def unused(self, model: str, now: float) -> int:
        """Slots that are held for us anywhere."""
        name = plain_name(model)
        return sum(
            q.held for (_, m), quotes in self._held.items() if m == name for q in quotes if q.until > now
        )

    def use(self, place: Place, model: str) -> None:
        """A request goes there: it takes the slot that was held longest."""
        if not self._held and not self._spare:
            return
        key = (place, plain_name(model))
        for quote in self._held.get(key, ()):
            if quote.held:
                quote.held -= 1
                self._tidy(key)
                return
        if place in self._spare:
            spare, at = self._spare[place]
            self._spare[place] = (spare - 1, at)

    def give_back(self, model: str) -> list[Quotation]:
        """Slots of this model that nobody needs any more: each is to be told to its place."""
        given = []
        for key in [key for key in self._held if key[1] == plain_name(model)]:
            given += [quote for quote in self._held.pop(key) if quote.held]
        return given

    def expire(self, now: float) -> None:
        for place in [place for place, (_, at) in self._spare.items() if now - at >= SPARE_S]:
            del self._spare[place]
        for key, quotes in list(self._held.items()):
            for quote in quotes:
                if quote.until <= now:
                    quote.held = 0
            self._tidy(key)
        for place in [place for place, until in self._mute.items() if until <= now]:
            del self._mute[place]

    def forget(self, places: Iterable[Place]) -> None:
        gone = set(places)
        for key in [key for key in self._held if key[0] in gone]:
            del self._held[key]
        for place in gone:
            self._mute.pop(place, None)
            self._asked.pop(place, None)

    def _tidy(self, key: tuple[Place, str]) -> None:
        if key in self._held:
            self._held[key] = [quote for quote in self._held[key] if quote.held]
            if not self._held[key]:
                del self._held[key]
