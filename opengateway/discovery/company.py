"""How many sessions a node keeps with whoever is there, only so that the network hangs together, and how fast
it makes them. Pure: the caller brings the clock (milliseconds).

Each session costs its pings, and each dial two signatures at either end. Where 200 nodes start at once and
know one of them, everybody hears of everybody within seconds: a node that counted only the sessions it had
went on dialling while earlier dials were on their way, and of 50 nodes each ended with 36 sessions. So a dial
under way counts as a session, and only the first few are made in a hurry: meanwhile others make theirs, and
half of a node's sessions are made by them.
"""

from __future__ import annotations

from collections.abc import Iterable
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
