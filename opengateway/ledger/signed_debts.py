"""What an old key signed of its debts, as its counterparties show it to the key that came after it.

    evidence = canonical CBOR [[[body, signature], ...], [[voucher, signature, OPEN body, signature], ...]]

The entries are by the old key, about the account with who shows them: each says how much was consumed and
moved out by then. The vouchers are those by which something was earned without a SETTLE.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple

import cbor2

from opengateway.ledger.entry import ADJ, EARN, OPEN, Entry, Signed, leaf_of, read_wire
from opengateway.ledger.evidence import genuine, read_signed
from opengateway.ledger.journal import Journal
from opengateway.ledger.vouched import THEIRS
from opengateway.ledger.voucher import read_voucher, vouched_by
from opengateway.units import NodeId
from opengateway.wire import cbor

EVIDENCE_LIMIT: Final = 1 << 15
"""Bytes."""
ENTRIES, VOUCHERS = 8, 24
LOOK_BACK: Final = 1000
"""Entries with a key among which what was earned by its vouchers is looked for."""


class Debt(NamedTuple):
    """ucr, running totals."""

    consumed: int = 0
    moved_out: int = 0


class Shown(NamedTuple):
    sure: Debt
    """Signed before the place at which the old key was given up, or nobody can tell."""
    late: Debt
    """Signed there or later: by a thief, or by nobody at all until today."""


def gather(journal: Journal, olds: Collection[NodeId]) -> bytes:
    """What we hold by these keys, which a peer came after."""
    entries: dict[bytes, Signed] = {}
    vouchers: list[list[bytes]] = []
    for old in olds:
        store = journal.vault.store
        rows = [store.last_half(kind, old) for kind in (EARN, ADJ)]
        halves = [journal.stored_half(row) for row in rows if row is not None]
        for found in (*halves, store.head(old)):
            if found is not None and found.entry.author == old:
                entries[found.leaf] = found
        vouchers += _vouchers(journal, old)
    if not entries and not vouchers:
        return b""
    newest = sorted(entries.values(), key=lambda one: -one.entry.consumed)[:ENTRIES]
    return cbor2.dumps([[[one.body, one.signature] for one in newest], vouchers[:VOUCHERS]])


def _vouchers(journal: Journal, old: NodeId) -> Iterator[list[bytes]]:
    """Of EARNs that no SETTLE has completed, the newest first."""
    store = journal.vault.store
    completed: set[bytes] = set()
    for count, row in enumerate(store.rows_with(old, 0)):
        if count >= LOOK_BACK:
            return
        entry = journal.read(row.body)
        half = journal.stored_half(row)
        if entry.kind != EARN:
            continue
        if half is not None:
            completed.add(half.entry.rid)
        elif entry.rid not in completed and (opening := store.opening(old, entry.rid)) is not None:
            wire = store.document(THEIRS, leaf_of(opening.body))
            if wire:
                yield [*read_wire(wire), opening.body, opening.signature]


def read_debts(
    data: bytes,
    journal: Journal,
    ours: Collection[NodeId],
    theirs: Collection[NodeId],
    given_up: Callable[[NodeId], int],
) -> Shown:
    """What of it is really by one of our old keys (`ours`), about an account with one of the peer's.
    `given_up`: the place from which on nothing by this key was signed by its owner. Raises `ValueError`."""
    entries, vouchers = _pieces(data)
    found = [read_signed(body, signature, journal.net) for body, signature in entries]
    for one in found:
        _require(one, ours, theirs)
    top = max((one.entry for one in found), key=lambda entry: entry.consumed, default=None)
    promised = dict(_promised(journal, parts, ours, theirs, top) for parts in vouchers)

    def signed(*, late: bool) -> Debt:
        def counts(entry: Entry) -> bool:
            return (entry.seq >= given_up(NodeId(entry.author))) is late

        debts = [Debt(one.entry.consumed, one.entry.moved_out) for one in found if counts(one.entry)]
        consumed = max((debt.consumed for debt in debts), default=0)
        more = sum(amount for opened, amount in promised.items() if counts(opened.entry))
        return Debt(consumed + more, max((debt.moved_out for debt in debts), default=0))

    return Shown(signed(late=False), signed(late=True))


def _promised(
    journal: Journal,
    parts: list[bytes],
    ours: Collection[NodeId],
    theirs: Collection[NodeId],
    top: Entry | None,
) -> tuple[Signed, int]:
    """The OPEN, and what of its voucher the highest entry shown cannot have settled (ucr)."""
    opened = read_signed(parts[2], parts[3], journal.net)
    _require(opened, ours, theirs)
    voucher = read_voucher(cbor.encode(parts[:2]))
    if opened.entry.kind != OPEN or voucher.voucher.open_leaf != opened.leaf:
        raise ValueError("a voucher beside another OPEN")
    if not vouched_by(opened.entry.author, voucher) or voucher.voucher.amount > opened.entry.hold:
        raise ValueError("a voucher that our key did not sign")
    settled = top is not None and top.seq > opened.entry.seq and top.held < opened.entry.hold
    return opened, 0 if settled else voucher.voucher.amount


def _require(found: Signed, ours: Collection[NodeId], theirs: Collection[NodeId]) -> None:
    if found.entry.author not in ours or found.entry.peer not in theirs or not genuine(found):
        raise ValueError("not signed by our old key, or about another account")


def _pieces(data: bytes) -> tuple[list[list[bytes]], list[list[bytes]]]:
    """Raises `ValueError`."""
    if not data:
        return [], []
    value: Any = cbor.decode(data, limit=EVIDENCE_LIMIT)
    if type(value) is not list or len(value) != 2 or any(type(one) is not list for one in value):
        raise ValueError("not two arrays")
    for array, most, parts in ((value[0], ENTRIES, 2), (value[1], VOUCHERS, 4)):
        if len(array) > most or any(
            type(one) is not list or len(one) != parts or any(type(x) is not bytes for x in one)
            for one in array
        ):
            raise ValueError("too much, or not byte strings")
    return value[0], value[1]
