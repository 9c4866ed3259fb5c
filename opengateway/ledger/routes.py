"""Ways for a transfer: who owes whom, told only as far as one transfer needs (LEDGER.md, "Finding a way").

    R -> V    FindRoute   these owe me (R gives its own debtors' names away, and R gains by it)
    V -> X2   AskOwed     which of them do you owe? Asked of those whom V owes; only a debtor is answered
    X2 -> V   Owed        one of them, and how much, never more than was asked for
    V -> R    RouteFound  X1, X2 and an amount: the other creditors of V and X2 remain theirs

Nothing is signed or promised by any of it: the transfer itself asks everybody for a signature.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from opengateway.ledger.journal import Journal
from opengateway.ledger.promises import Promises
from opengateway.units import NodeId

NAMED = 16
"""Debtors that R names, and creditors that V asks; the largest. Half a kilobyte, and most of what anybody is
owed: with 16 of each the simulator serves as much of a cyclic demand as with all of them."""
FOUND = 8
"""Ways in one answer."""

MOST = 8 * NAMED
"""Pairs that are looked at closely for one answer."""

_RECORD = struct.Struct(">32s32sQ")
_NOBODY = bytes(32)


class Route(NamedTuple):
    """`first` owes R. V owes `first`; or V owes `second`, if there is one, and that one owes `first`."""

    first: NodeId
    second: NodeId | None
    amount: int
    """ucr that can move so, as far as those on it say."""

    @property
    def via(self) -> tuple[NodeId, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


def largest(owed: Mapping[NodeId, int], among: Collection[NodeId]) -> list[NodeId]:
    """Those who owe (or are owed) most, at most `NAMED`, the largest first."""
    found = [peer for peer, amount in owed.items() if amount > 0 and peer in among]
    return sorted(found, key=lambda peer: -owed[peer])[:NAMED]


def write_nodes(nodes: Iterable[NodeId]) -> bytes:
    return b"".join(nodes)


def read_nodes(data: bytes) -> list[NodeId]:
    """Raises `ValueError`."""
    if len(data) % 32 or len(data) > 32 * NAMED:
        raise ValueError("not a list of nodes")
    return [NodeId(data[at : at + 32]) for at in range(0, len(data), 32)]


def write_routes(routes: Iterable[Route]) -> bytes:
    return b"".join(_RECORD.pack(one.first, one.second or _NOBODY, one.amount) for one in routes)


def read_routes(data: bytes, me: NodeId, to: NodeId, named: Collection[NodeId]) -> list[Route]:
    """Ways from `to` over one of those that were `named`; whatever else is said is left out."""
    found = []
    for at in range(0, min(len(data) // _RECORD.size, FOUND) * _RECORD.size, _RECORD.size):
        first, second, amount = _RECORD.unpack_from(data, at)
        route = Route(NodeId(first), NodeId(second) if second != _NOBODY else None, amount)
        path = (me, *route.via, to)
        if first in named and amount > 0 and len(set(path)) == len(path):
            found.append(route)
    return found


class Creditors(NamedTuple):
    """What V says of its own debts."""

    routes: list[Route]
    """Over those alone whom R named."""
    others: list[tuple[NodeId, int]]
    """Other nodes that V owes, and how much (ucr): never told, only asked."""


class Ways:
    """The book's answers. Nothing changes by them."""

    def __init__(self, journal: Journal, promises: Promises) -> None:
        self._journal = journal
        self._promises = promises

    def creditors(
        self, requester: NodeId, amount: int, named: Collection[NodeId], connected: Collection[NodeId]
    ) -> Creditors:
        """As V: ways to owe up to `amount` to `requester`. A convicted one gets none."""
        if requester in self._journal.faulty or amount <= 0:
            return Creditors([], [])
        most = heapq.nsmallest(MOST, self._journal.debts.all(), key=lambda pair: pair.owes_us)
        looked_at = {pair.peer for pair in most}.union(named) - self._journal.faulty - {requester}
        owed = {peer: self._promises.owed_by_us(peer) for peer in looked_at}
        direct = [Route(peer, None, min(amount, owed[peer])) for peer in largest(owed, set(named))]
        rest = amount - sum(route.amount for route in direct)
        others = largest(owed, set(connected) - set(named)) if rest > 0 else []
        return Creditors(direct[:FOUND], [(peer, min(rest, owed[peer])) for peer in others])

    def owed_among(self, asker: NodeId, amount: int, named: Collection[NodeId]) -> tuple[NodeId, int] | None:
        """As X2, to one who owes us: which of these do we owe most, and how much, up to `amount` and to what
        the asker owes us itself, so that nobody learns more than could move."""
        most = min(amount, self._promises.free_with(asker))
        faulty = self._journal.faulty
        if most <= 0 or asker in faulty:
            return None
        owed = {peer: self._promises.owed_by_us(peer) for peer in named if peer not in faulty}
        found = next(iter(largest(owed, set(named) - {asker})), None)
        return None if found is None else (found, min(most, owed[found]))
