"""The ledger with which a new key begins where an old one ended: its accounts, and what the old one knew of
others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from opengateway.identity import Identity
from opengateway.ledger.book import Book
from opengateway.ledger.requester import MINE
from opengateway.ledger.rotation import Rotation
from opengateway.ledger.rows import DELIVERED
from opengateway.ledger.rules import Pair
from opengateway.ledger.stamps import STAMP
from opengateway.ledger.store import Store
from opengateway.ledger.successors import LINE_BASE, ROTATION, VOID_FROM
from opengateway.ledger.voucher import read_voucher
from opengateway.units import NetworkId, NodeId

KNOWN = (STAMP, ROTATION, LINE_BASE, VOID_FROM)
"""Documents about others that stay true."""


def build(  # noqa: PLR0917 - it is made of all of these
    path: Path,
    identity: Identity,
    net: NetworkId,
    rotation: Rotation,
    now_ms: Callable[[], int],
    old: Store | None,
) -> None:
    """Writes the whole ledger and closes it. `old` None: nothing of the old ledger is left, and what others
    say of it, with the old key's signatures, is taken up as they are met."""
    book = Book(path, identity, net, recovery=rotation.genesis.entry.link, now_ms=now_ms)
    try:
        if old is not None:
            _know(book, old, rotation)
        book.succession.succeed(rotation)
        if old is not None:
            if not rotation.accident:  # else both histories are ours
                book.succession.void_from(rotation)
            _carry(book, old, rotation)
        book.commit()
    finally:
        book.close()


def _know(book: Book, old: Store, rotation: Rotation) -> None:
    store = book.succession.store
    for kind in KNOWN:
        for key, value in old.documents(kind):
            if key != rotation.old:
                store.put_document(kind, key, value)
    for proof in old.proofs():
        store.add_proof(*proof)
    for head in old.heads():
        store.put_head(head)
    store.put_pool(*old.pool())


def _carry(book: Book, old: Store, rotation: Rotation) -> None:
    """The pairs as the old chain has them. What it vouched for without a SETTLE is owed, too; what it
    delivered and was not paid for yet is unpaid, until the other side says what it owes."""
    promised: Counter[NodeId] = Counter()
    vouchers = {leaf: read_voucher(wire).voucher.amount for leaf, wire in old.documents(MINE)}
    for row in old.holds():
        promised[NodeId(row.peer)] += vouchers.get(row.leaf, 0)
    delivered: Counter[NodeId] = Counter()
    for opening in old.serving():
        delivered[opening.peer] += opening.due if opening.state == DELIVERED else 0
    peers = {peer: (pair, unpaid) for peer, pair, unpaid in old.pairs()}
    for peer in sorted(peers.keys() | promised.keys() | delivered.keys()):
        pair, unpaid = peers.get(peer, (Pair(), 0))
        owed = pair._replace(consumed=pair.consumed + promised[peer])
        if any(owed):
            book.succession.carry(rotation, peer, owed)
        if left := unpaid + delivered[peer]:
            book.succession.left_unpaid(peer, left)
