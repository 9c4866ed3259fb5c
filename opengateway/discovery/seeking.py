"""Whom to look for now: a search that begins in the node's own region and widens ring by ring until there are
enough peers for each model that is wanted.

Pure decisions on a clock that the caller brings (seconds, monotonic): no sockets, no threads. The same plan
drives the DHT and the questions to peers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from opengateway.discovery.company import COMPANY
from opengateway.discovery.topics import RINGS

WORKERS = 3
"""Peers that serve a wanted model: one to ask, one to fail over to, one in case both are busy."""

PATIENCE_S = 2.0
"""Between two rings: a lookup in the public DHT takes one to three seconds, and what nearer rings find later
is still taken."""

FIRST_REST_S, REST_LIMIT_S = 15.0, 15 * 60.0
"""After the world was asked in vain: twice as long each time. A DHT announcement lives for half an hour, so
asking more often than every quarter finds little that is new."""

CONTENT_REST_S = 15 * 60.0
"""While there are enough: newcomers are looked for all the same."""

JITTER = 0.25
"""Share by which each pause varies: a thousand nodes that lost a peer together must not ask in step."""

WANTED_FOR_S = 3600.0
"""A model that nobody has asked for in an hour is not looked for any more."""

WANTS_LIMIT = 32
"""Models looked for at once; the least recently asked for is dropped, as users also type names that do not
exist."""

AGAIN_S = 3.0
"""Least time between two searches that users' requests cause for the same model."""


@dataclass(slots=True)
class _Want:
    asked: float
    """When somebody wanted it last."""
    lasting: bool
    ring: int = 0
    due: float = 0.0
    rests: int = 0
    begun: float = -AGAIN_S


class Seeking:
    """`""` is the model of whoever wants company only, and is wanted for ever."""

    def __init__(self, *, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not a secret
        self._wants: dict[str, _Want] = {"": _Want(0.0, lasting=True)}
        self._there: Mapping[str, int] = {}

    def want(self, model: str, now: float, *, lasting: bool = False) -> None:
        """Somebody asks for this model. If there are not enough who serve it, the search begins at once."""
        want = self._wants.get(model)
        if want is None:
            want = self._wants[model] = _Want(now, lasting)
            self._drop_the_oldest()
        want.asked = now
        want.lasting = want.lasting or lasting
        resting = want.ring == 0 and want.due > now
        if resting and not self.enough(model) and now - want.begun >= AGAIN_S:
            want.due, want.rests = now, 0

    def there(self, serving: Mapping[str, int], now: float) -> None:
        """How many peers are connected that serve each model; `""` counts them all. Whoever fell below what
        is enough is looked for soon."""
        before, self._there = self._there, dict(serving)
        for model, want in self._wants.items():
            if before.get(model, 0) >= _needed(model) > serving.get(model, 0):
                want.ring, want.rests = 0, 0
                want.due = min(want.due, now + self._varied(1.0))

    def enough(self, model: str) -> bool:
        return self._there.get(model, 0) >= _needed(model)

    def again(self, now: float) -> None:
        """Whoever was asked so far could not know: begin anew."""
        for want in self._wants.values():
            want.ring, want.rests, want.due = 0, 0, now

    @property
    def wants(self) -> tuple[str, ...]:
        return tuple(self._wants)

    def due(self, now: float) -> list[tuple[str, str]]:
        """(ring, model) to ask for now."""
        found = []
        for model, want in list(self._wants.items()):
            if not want.lasting and now - want.asked > WANTED_FOR_S:
                del self._wants[model]
            elif now >= want.due:
                if want.ring == 0:
                    want.begun = now
                found.append((RINGS[want.ring], model))
                self._plan(model, want, now)
        return found

    def next_due(self) -> float:
        return min(want.due for want in self._wants.values())

    def _plan(self, model: str, want: _Want, now: float) -> None:
        if self.enough(model):
            want.ring, want.rests = 0, 0
            want.due = now + self._varied(CONTENT_REST_S)
        elif want.ring + 1 < len(RINGS):
            want.ring += 1
            want.due = now + self._varied(PATIENCE_S)
        else:
            want.ring = 0
            want.due = now + self._varied(min(FIRST_REST_S * 2**want.rests, REST_LIMIT_S))
            want.rests = min(want.rests + 1, 10)

    def _varied(self, seconds: float) -> float:
        return seconds * (1 - JITTER + 2 * JITTER * self._chance.random())

    def _drop_the_oldest(self) -> None:
        passing = [model for model, want in self._wants.items() if not want.lasting]
        if len(self._wants) > WANTS_LIMIT and passing:
            del self._wants[min(passing, key=lambda model: self._wants[model].asked)]


def _needed(model: str) -> int:
    return WORKERS if model else COMPANY
