"""How many sessions a node keeps with whoever is there, only so that the network hangs together, and how fast
it makes them. Pure: the caller brings the clock (milliseconds).

Each session costs its pings, and each dial two signatures at either end. Where 200 nodes start at once and
know one of them, everybody hears of everybody within seconds: a node that counted only the sessions it had
went on dialling while earlier dials were on their way, and of 50 nodes each ended with 36 sessions. So a dial
under way counts as a session, and only the first few are made in a hurry: meanwhile others make theirs, and
half of a node's sessions are made by them.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from opengateway.units import NodeId

COMPANY: Final = 8
"""Peers of any kind that a node wants at once: with eight random ones a network of a million hangs
together."""

ENOUGH: Final = 16
"""Sessions with which nobody else is dialled for company. Without a limit every node of a link would have one
with every other, and spend more on nothing with each that joins."""

PLENTY: Final = 2 * ENOUGH
"""Sessions with which nobody is dialled either who was asked for because he may serve what is wanted here."""

LEISURE_MS: Final = 3_000
"""Between COMPANY and ENOUGH one peer is dialled in so long: a link of a dozen nodes is complete in 10 s, and
in a large network the rest has come by itself by then."""

UNDER_WAY_MS: Final = 5_000
"""A dial that has neither failed nor succeeded by then is no longer counted on (Limits.dial_s)."""


LET_GO: Final = "enough company"
"""The reason of a Bye to a peer that this node has no use for now: it is well, and so are we."""

LET_GO_AT_ONCE: Final = 4
"""In one second: those who are let go look for others, if they have too few."""

GRACE_S: Final = 60.0
"""A session is let go no earlier: whoever has just come asks whom we know, and needs time to meet them."""

USED_S: Final = 3600.0
"""A session is needed for so long after a request, a payment or a transfer passed over it."""

LET_GO_MS: Final = 60_000
"""Who was let go does not come back sooner, and only if it has too little company."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A peer that has dialled us, and that no request, relay or payment needs."""

    peer: NodeId
    up_s: float
    """How long its session has been up."""


def too_many(guests: Collection[Guest], company: int, chance: random.Random) -> list[NodeId]:
    """Whom to let go now of `company` peers. Only who has dialled us: whom we chose ourselves keeps us in
    touch with the network, whoever crowds in here, and some room is always left for newcomers. By lot: no
    rule that a crowd could learn and meet."""
    over = min(company - PLENTY, len(guests) - ENOUGH, LET_GO_AT_ONCE)
    ripe = [guest.peer for guest in guests if guest.up_s >= GRACE_S]
    return chance.sample(ripe, min(over, len(ripe))) if over > 0 else []


class UnderWay:
    """Dials whose end is not known yet. Bounded by time: nobody dials more than 32 a second."""

    def __init__(self) -> None:
        self._until: dict[NodeId | str, int] = {}
        self._places: dict[NodeId | str, set[str]] = {}

    def began(self, peer: NodeId | str, endpoints: Iterable[str], *, now_ms: int) -> None:
        """`peer`: who is expected there, or the endpoint itself if nobody is."""
        self._until[peer] = now_ms + UNDER_WAY_MS
        self._places[peer] = set(endpoints)

    def failed(self, endpoint: str) -> None:
        """Nobody answers there. Over when that is so wherever this peer was dialled."""
        for peer, places in list(self._places.items()):
            places.discard(endpoint)
            if not places:
                self.over(peer)

    def over(self, peer: NodeId | str) -> None:
        self._until.pop(peer, None)
        self._places.pop(peer, None)

    def count(self, now_ms: int) -> int:
        # A clock set back must not leave them there for years, hence the second condition.
        for peer, until in list(self._until.items()):
            if not now_ms < until <= now_ms + UNDER_WAY_MS:
                self.over(peer)
        return len(self._until)
