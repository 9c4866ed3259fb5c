"""Endpoints that strangers named, without an id: dialled fairly, a few at a time, and forgotten.

Anybody can announce ten thousand ports of his one address under a topic; he cannot announce other people's
addresses (BEP 5 hands out a token per address). So every address gets its turn before any address gets a
second one, and the honest are reached however loud somebody is.
"""

from __future__ import annotations

import random
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from opengateway.discovery.addresses import parse_endpoint

ADDRESSES = 256
"""Addresses waiting at once."""
PORTS = 8
"""Endpoints waiting per address: several nodes behind one router are common, dozens are not."""
QUIET_S = 120.0
"""Seconds for which an endpoint that was dialled is not dialled on a stranger's word again."""
QUIET_LIMIT = 4096


@dataclass(slots=True)
class _Turn:
    tries: int = 0
    waiting: dict[str, None] = field(default_factory=dict)


class Hints:
    """Seconds are monotonic, the caller's."""

    def __init__(self, *, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()  # noqa: S311 - a lottery, not a secret
        self._turns: dict[str, _Turn] = {}
        self._quiet: dict[str, float] = {}
        self.refused = 0
        """Named and not kept: no endpoint, no room, or dialled a while ago."""

    def __len__(self) -> int:
        return sum(len(turn.waiting) for turn in self._turns.values())

    def add(self, endpoints: Iterable[str], *, now: float) -> None:
        """They are in the order of nobody's choice: whoever comes first in a hostile reply gains nothing."""
        named = list(endpoints)
        self._chance.shuffle(named)
        for text in named:
            try:
                host = str(parse_endpoint(text)[0])
            except ValueError:
                self.refused += 1
                continue
            turn = self._turns.get(host)
            full = len(self._turns) >= ADDRESSES if turn is None else len(turn.waiting) >= PORTS
            if full or now < self._quiet.get(text, 0.0):
                self.refused += 1
                continue
            if turn is None:
                turn = self._turns[host] = _Turn()
            turn.waiting[text] = None

    def take(self, room: int, *, now: float, known: Container[str] = ()) -> list[str]:
        """At most `room` to dial now, of the addresses that were tried least; none that is `known`."""
        taken: list[str] = []
        while len(taken) < room and self._turns:
            host = min(self._turns, key=lambda one: self._turns[one].tries)
            turn = self._turns[host]
            text = next(iter(turn.waiting))
            del turn.waiting[text]
            if text not in known:
                turn.tries += 1
                taken.append(text)
                self._hush(text, now)
            if not turn.waiting:
                del self._turns[host]
        return taken

    def _hush(self, text: str, now: float) -> None:
        self._quiet[text] = now + QUIET_S
        while len(self._quiet) > QUIET_LIMIT:
            del self._quiet[next(iter(self._quiet))]
