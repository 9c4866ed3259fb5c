"""Who owes whom, pair by pair, and how much of it nothing secures."""

from __future__ import annotations

from typing import NamedTuple

from opengateway.ledger.admission import Policy, Standing
from opengateway.ledger.rules import Pair
from opengateway.units import NodeId

NO_PAIR = Pair()


class Debt:
    """One pair. `reserved`: what the peer's requests in flight with us may still cost; `unpaid`: what it got
    and never settled; `holding`: what we hold for our own requests with it; `base`: service that
    gives no line. ucr."""

    __slots__ = ("base", "exposed", "holding", "pair", "reserved", "unpaid")

    def __init__(self, pair: Pair = NO_PAIR, unpaid: int = 0) -> None:
        self.pair = pair
        self.unpaid = unpaid
        self.reserved = 0
        self.holding = 0
        self.base = 0
        self.exposed = 0
        """What nothing secures, as it was last counted."""


class PairTotals(NamedTuple):
    """One peer, for people (ucr)."""

    peer: NodeId
    served: int
    """Earned from it."""
    consumed: int
    """Spent at it."""
    moved_in: int
    moved_out: int
    holding: int
    """Held by us for requests that it is answering."""
    reserved: int
    """Held by it for requests that we are answering."""
    unpaid: int
    """What it got from us and did not settle."""
    line: int
    """How far we would serve it beyond what we owe it."""

    @property
    def owes_us(self) -> int:
        """Net, without requests in flight; negative: we owe it."""
        return self.served + self.moved_in - self.consumed - self.moved_out


class Debts:
    """All pairs, with the sum of what is exposed kept up to date."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._debts: dict[NodeId, Debt] = {}
        self.exposed = 0

    def put(self, peer: NodeId, pair: Pair, unpaid: int) -> None:
        self._debts[peer] = debt = Debt(pair, unpaid)
        self._count(debt)

    def _count(self, debt: Debt) -> None:
        # `Standing.exposed` by hand: this runs six times a receipt, and objects cost more than the sums.
        served, consumed, moved_in, moved_out = debt.pair
        owed = consumed + moved_out - served - moved_in - debt.reserved - debt.unpaid
        exposed = max(0, -owed - (consumed - debt.base) // self._policy.line_divisor)
        self.exposed += exposed - debt.exposed
        debt.exposed = exposed

    def __contains__(self, peer: NodeId) -> bool:
        return peer in self._debts

    def pair(self, peer: NodeId) -> Pair:
        debt = self._debts.get(peer)
        return debt.pair if debt else Pair()

    def unpaid(self, peer: NodeId) -> int:
        debt = self._debts.get(peer)
        return debt.unpaid if debt else 0

    def standing(self, peer: NodeId) -> Standing:
        return self._standing(self._debts.get(peer) or Debt())

    def _standing(self, debt: Debt) -> Standing:
        owed = debt.pair.owed_to_peer - debt.reserved - debt.unpaid
        return Standing(owed, (debt.pair.consumed - debt.base) // self._policy.line_divisor)

    def change(
        self, peer: NodeId, *, pair: Pair | None = None, reserved: int = 0, unpaid: int = 0, holding: int = 0
    ) -> None:
        """A new pair record, and differences of the rest."""
        debt = self._debts.get(peer)
        if debt is None:
            debt = self._debts[peer] = Debt()
        if pair is not None:
            debt.pair = pair
        debt.reserved += reserved
        debt.unpaid += unpaid
        debt.holding += holding
        self._count(debt)

    def without_line(self, peer: NodeId, base: int) -> None:
        """So much (ucr) of the service that this peer gave us counts for no line."""
        debt = self._debts.get(peer)
        if debt is not None:
            debt.base = min(base, debt.pair.consumed)
            self._count(debt)

    def move(self, old: NodeId, new: NodeId) -> None:
        """What was reserved and unpaid goes over to another key; the pair itself was moved before."""
        debt = self._debts.pop(old)
        self.exposed -= debt.exposed
        self.change(new, reserved=debt.reserved, unpaid=debt.unpaid, holding=debt.holding)

    def totals(self, peer: NodeId) -> PairTotals:
        debt = self._debts.get(peer) or Debt()
        line = self._standing(debt).line
        return PairTotals(peer, *debt.pair, debt.holding, debt.reserved, debt.unpaid, line)

    def sums(self) -> tuple[int, int]:
        """Earned and spent over all pairs."""
        pairs = [debt.pair for debt in self._debts.values()]
        return sum(pair.served for pair in pairs), sum(pair.consumed for pair in pairs)

    def all(self) -> list[PairTotals]:
        return [self.totals(peer) for peer in self._debts]
