"""How far a worker is ahead of its requesters' SETTLEs: by what it earned by vouchers that none completed."""

from __future__ import annotations

from collections.abc import Iterable

from opengateway.errors import LedgerRefused
from opengateway.ledger.entry import Entry
from opengateway.ledger.store import Store
from opengateway.units import NodeId

AHEAD = "ahead"
"""Documents of this kind, by the peer's key: ucr, 8 bytes. Only for pairs that are ahead."""


class Ahead:
    """`served` minus this is what the SETTLEs that came so far add up to, for each peer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._amounts: dict[NodeId, int] = {}

    def load(self) -> None:
        for peer, ucr in self._store.documents(AHEAD):
            self._amounts[NodeId(peer)] = int.from_bytes(ucr, "big")

    def of(self, peer: NodeId) -> int:
        return self._amounts.get(peer, 0)

    def change(self, peer: NodeId, more: int) -> None:
        if more:
            self._put(peer, self._amounts.get(peer, 0) + more)

    def close(self, peer: NodeId) -> None:
        """Its account went over to another key, which owes what its vouchers promised."""
        if peer in self._amounts:
            self._put(peer, 0)

    def _put(self, peer: NodeId, ucr: int) -> None:
        self._amounts[peer] = ucr
        self._store.put_document(AHEAD, peer, ucr.to_bytes(8, "big") if ucr else b"")

    def peers(self) -> set[NodeId]:
        return {peer for peer, ucr in self._amounts.items() if ucr}

    def count_again(self, peer: NodeId, earns: Iterable[tuple[Entry, Entry | None]]) -> None:
        """From the chain itself. `earns`: our EARNs from this peer, each with the SETTLE beside it, newest
        first: those after the last SETTLE are by vouchers."""
        served = settled = 0
        for earn, settle in earns:
            served = max(served, earn.served)
            if settle is not None and settle.amount:
                settled = settle.consumed
                break
        self._put(peer, max(0, served - settled))

    def require_next(self, settle: Entry, served: int) -> None:
        """That this SETTLE is the next one of its author, of which that much is `served`. One over nothing
        may come whenever it likes. Raises `LedgerRefused` (`out_of_order`)."""
        follows = served - self._amounts.get(settle.author, 0) + settle.amount
        if settle.consumed != follows and (settle.amount or settle.consumed > follows):
            raise LedgerRefused(
                f"settles up to {settle.consumed} ucr, but after what arrived here it would be {follows}",
                reason="out_of_order",
                hint="send the SETTLEs that no EARN came back for, oldest first",
            )
