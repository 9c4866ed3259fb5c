"""Many nodes' ledgers as admission sees them: pair records, holds, pools. No chains, no signatures, no wire.

Whether a request is served is decided by the node's own code alone (`opengateway.ledger`: `Debts`, `Pool`,
`unsecured_part`, `pair_after`), each node from its own account. What is here only carries amounts between
the two accounts of a pair, as OPEN, SETTLE and EARN do.
"""

from __future__ import annotations

from typing import NamedTuple

from opengateway.ledger.admission import Policy, Pool, unsecured_part
from opengateway.ledger.debts import Debts
from opengateway.ledger.entry import EARN, SETTLE, Entry
from opengateway.ledger.price import Price, cost
from opengateway.ledger.rules import Pair, pair_after
from opengateway.units import NodeId

START_MS = 1_700_000_000_000


class Work(NamedTuple):
    """What one request asks for, and what its answer comes to."""

    price: Price
    prompt_tokens: int
    completion_tokens: int
    most_completion: int
    """What it asks for at most; the hold covers this."""

    @property
    def hold(self) -> int:
        """ucr."""
        return cost(self.prompt_tokens, self.most_completion, *self.price)

    @property
    def amount(self) -> int:
        """ucr."""
        return cost(self.prompt_tokens, self.completion_tokens, *self.price)


class Account:
    """One node's ledger. `room` is how much more it can serve in this round, ucr."""

    __slots__ = ("capacity", "creditors", "debtors", "debts", "id", "pool", "room")

    def __init__(self, node_id: NodeId, policy: Policy, capacity: int = 0) -> None:
        self.id = node_id
        self.debts = Debts(policy)
        self.pool = Pool()
        self.capacity = capacity
        self.room = capacity
        # Dicts without values: sets of bytes have another order in every process.
        self.creditors: dict[NodeId, None] = {}
        self.debtors: dict[NodeId, None] = {}

    def put(self, peer: NodeId, pair: Pair) -> None:
        self.debts.change(peer, pair=pair)
        owed = pair.owed_to_peer
        for owing, index in ((owed > 0, self.creditors), (owed < 0, self.debtors)):
            if owing:
                index[peer] = None
            else:
                index.pop(peer, None)

    def owes(self, peer: NodeId) -> int:
        """ucr that `peer` could spend here or give away: net of its requests in flight and of what it left
        unpaid, or it would spend the same claim twice."""
        return max(0, self.debts.standing(peer).owed)


class Flight(NamedTuple):
    """An admitted request."""

    worker: Account
    requester: Account
    work: Work
    unsecured: int


class Market:
    """All accounts, and one clock. `policy` is everybody's."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.now_ms = START_MS
        self.accounts: dict[NodeId, Account] = {}

    def join(self, capacity: int = 0) -> Account:
        """A new key. `capacity`: ucr it can serve in a round; 0 for one that only asks."""
        node_id = NodeId(len(self.accounts).to_bytes(32))
        account = self.accounts[node_id] = Account(node_id, self.policy, capacity)
        return account

    def verdict(self, worker: Account, requester: NodeId, hold: int) -> int:
        """The unsecured part (ucr), as `Worker.unsecured` finds it. Raises `NotEnoughCredit`."""
        standing = worker.debts.standing(requester)
        left = worker.pool.left(self.policy, worker.debts.exposed, self.now_ms) + standing.exposed
        return unsecured_part(hold, standing, left, self.policy)

    def admit(self, worker: Account, requester: Account, work: Work, unsecured: int) -> Flight:
        worker.debts.change(requester.id, reserved=work.hold)
        worker.room -= work.amount
        return Flight(worker, requester, work, unsecured)

    def finish(self, flight: Flight, *, paid: bool = True) -> None:
        """SETTLE and EARN; or, not `paid`, an answer taken without a signature."""
        worker, requester, work, _ = flight
        unpaid = 0 if paid else work.amount
        worker.debts.change(requester.id, reserved=-work.hold, unpaid=unpaid)
        if paid:
            self.receipt(worker, requester, work.amount)

    def receipt(self, worker: Account, requester: Account, amount: int) -> None:
        """Both signed that this was served. Nobody else is asked, so a ring can have any number of them."""
        for account, peer, kind in ((requester, worker, SETTLE), (worker, requester, EARN)):
            entry = BLANK._replace(kind=kind, amount=amount)
            account.put(peer.id, pair_after(account.debts.pair(peer.id), entry))

    def sum_of_pairs(self) -> int:
        """What all nodes are owed less what they owe, by their own accounts (ucr): 0, or money was made."""
        return sum(totals.owes_us for account in self.accounts.values() for totals in account.debts.all())

    def disagreements(self) -> int:
        """Pairs whose two sides do not mirror each other."""
        return sum(
            self.accounts[totals.peer].debts.pair(account.id)
            != (totals.consumed, totals.served, totals.moved_out, totals.moved_in)
            for account in self.accounts.values()
            for totals in account.debts.all()
        )


BLANK = Entry._make([0] * len(Entry._fields))
"""Carries the kind and amount that `pair_after` reads; the rest of an entry is for signatures and audits."""
