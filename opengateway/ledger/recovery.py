"""Finding out from peers what this node signed and forgot: after a damaged disk, or an old copy of one.

Everybody who is met is asked what it has seen of our ledger from its end on. What it shows is signed by us,
so nobody can make it up. Something further than our end: nothing is signed any more until every entry up to
there is back, each continuing the one before. Something else in a place of ours: this key has signed two
histories, and nothing is signed at all. Signing on from an old state would be a fork, which costs the node
its good name for ever.

Where the high-water mark still tells how much is missing, having that much is enough. Where it does not,
everybody this node dealt with last must have answered: one of them may hold something later still.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from opengateway.identity import short
from opengateway.ledger.audit_notes import Note
from opengateway.ledger.audit_rewrite import Place, statement
from opengateway.ledger.checkpoint import Checkpoints
from opengateway.ledger.entry import ADJ, EARN, GENESIS, OPEN, SETTLE, VOID, Entry, Signed
from opengateway.ledger.evidence import genuine, read_signed
from opengateway.ledger.journal import Journal
from opengateway.ledger.requester import MINE, RESTS
from opengateway.ledger.rows import SETTLED
from opengateway.ledger.rules import RuleBroken, check_terms, pair_in, rest_rid, totals_after, totals_in
from opengateway.ledger.voucher import SignedVoucher, read_voucher, vouched_by
from opengateway.units import NodeId
from opengateway.wire import cbor
from opengateway.wire.witness_messages import Entries, GetEntries

logger = logging.getLogger(__name__)

PIECES = 50_000
"""Entries collected, 75 MB: as many as a busy node signs in an hour."""
LATEST = 256
"""Entries back in which a counterparty stands that must be heard where nothing says how much is missing."""

Piece = tuple[Signed, Signed | None]


class Recovery:
    def __init__(self, journal: Journal, checkpoints: Checkpoints, reload: Callable[[], None]) -> None:
        """`reload` reads the book again after entries were put back."""
        self._journal = journal
        self._checkpoints = checkpoints
        self._reload = reload
        self._pieces: dict[int, Piece] = {}
        self._vouchers: dict[bytes, SignedVoucher] = {}
        self._reach = 0
        """So many entries of ours must there be, by what peers showed."""
        self.answered: set[NodeId] = set()
        self.adopted = 0

    def question(self) -> GetEntries:
        return GetEntries(self._journal.vault.chain.entries)

    def hear(self, peer: NodeId, said: Entries) -> GetEntries | None:
        """What to ask next. Everything since the last commit must be durable: what was lost is put back here,
        durably. Raises `LedgerReadOnly` if that fails."""
        try:
            ours = self._read(peer, said)
        except ValueError as error:  # what is not ours, or broken, says nothing about us
            logger.warning("%s answered with what is not of our ledger: %s", short(peer), error)
            return None
        if said.more and ours:
            return GetEntries(max(ours) + 1)
        self.answered.add(peer)
        self._judge()
        return None

    # What they say.

    def _read(self, peer: NodeId, said: Entries) -> list[int]:
        """Places of the entries in it. Raises `ValueError`, as all that the readers raise is."""
        self._look(said.highest)
        records: Any = cbor.decode(said.records, limit=1 << 18)
        vouchers: Any = cbor.decode(said.vouchers, limit=1 << 16)
        if type(records) is not list or type(vouchers) is not list:
            raise ValueError("not arrays")
        places = [self._piece(peer, _strings(record)) for record in records]
        for voucher in vouchers:
            self._voucher(cbor.encode(_strings(voucher)[:2]))
        return places

    def _look(self, highest: bytes) -> None:
        if not highest:
            return
        body, signature, *_ = _strings(cbor.decode(highest, limit=4096))
        chain = self._journal.vault.chain
        said = statement((body, signature), chain.net)
        self._require_ours(said.author == chain.author)
        if isinstance(said, Place):
            self._reach = max(self._reach, said.seq + 1)
            self._compare(said.seq, said.leaf, b"")
        elif said.size > chain.entries:
            self._reach = max(self._reach, said.size)
        elif said.size and self._checkpoints.prover.root(0, said.size) != said.root:
            self._forked(f"another tree of {said.size} entries was signed")

    @staticmethod
    def _require_ours(ours: bool) -> None:
        if not ours:
            raise ValueError("signed by somebody else")

    def _compare(self, seq: int, leaf: bytes, prev: bytes) -> None:
        if seq < self._journal.vault.chain.entries:
            ours = {row.seq: row.leaf for row in islice(self._journal.vault.store.rows(max(0, seq - 1)), 2)}
            if ours.get(seq, leaf) != leaf:
                self._forked(f"another entry {seq} was signed", seq if ours.get(seq - 1) == prev else 1)

    def _piece(self, peer: NodeId, record: list[bytes]) -> int:
        entry = read_signed(record[0], record[1], self._journal.net)
        self._require_ours(entry.entry.author == self._journal.vault.chain.author and genuine(entry))
        seq = entry.entry.seq
        self._compare(seq, entry.leaf, entry.entry.prev)
        self._reach = max(self._reach, seq + 1)
        if seq >= self._journal.vault.chain.entries and len(self._pieces) < PIECES:
            known = self._pieces.get(seq)
            if known is not None and known[0].leaf != entry.leaf:
                self._forked(f"two entries {seq} were signed")
            half = self._half(peer, entry, record[2:]) or (known[1] if known else None)
            self._pieces[seq] = entry, half
        return seq

    def _half(self, peer: NodeId, entry: Signed, parts: list[bytes]) -> Signed | None:
        """The peer's own entry beside ours, if it is that."""
        if len(parts) != 2 or entry.entry.kind == ADJ:
            return None
        half = read_signed(parts[0], parts[1], self._journal.net)
        good = half.entry.author == peer == entry.entry.peer and half.entry.peer == entry.entry.author
        settle, earn = (entry, half) if half.entry.kind == EARN else (half, entry)
        fits = earn.entry.rid in (settle.entry.rid, rest_rid(settle.leaf))
        return half if good and fits and genuine(half) else None

    def _voucher(self, wire: bytes) -> None:
        """What we promised and forgot: settling below it would be fraud."""
        new = read_voucher(wire)
        self._require_ours(vouched_by(self._journal.vault.chain.author, new))
        known = self._vouchers.get(new.voucher.open_leaf)
        if known is None or known.voucher.amount < new.voucher.amount:
            self._vouchers[new.voucher.open_leaf] = new

    def shown(self, note: Note) -> None:
        """A tree of ours that came back from peer to peer."""
        known = self._checkpoints
        if note.size == known.size and note.root == known.root:
            return
        self._look(cbor.encode([note.text, note.signature]))
        self._judge()

    # What follows from it.

    def _forked(self, what: str, first: int = 1) -> None:
        self._journal.accused.add(first)
        logger.error("this key has signed two histories: %s", what)
        self._doubt(f"this key has signed two histories: {what}", lost=False)

    def _doubt(self, why: str, *, lost: bool) -> None:
        self._journal.vault.store.drop()  # nothing more is written, and what waits was promised to nobody
        self._journal.vault.doubt(why, lost=lost)

    def _judge(self) -> None:
        vault = self._journal.vault
        entries = vault.chain.entries
        if self._reach > entries and not vault.damage:
            logger.error("peers show more of this ledger than there is: %d of %d", entries, self._reach)
            seen = f"the ledger ends at entry {entries - 1}, and peers have seen entry {self._reach - 1}"
            self._doubt(f"{seen}: this is an older copy of it", lost=True)
        if not vault.damage:
            self._keep_promises()
        elif vault.lost:
            run = self._run()
            if self._complete(run):
                self._put_back(run)

    def _run(self) -> list[Piece]:
        """What continues our chain without a gap, each entry checked against the one before."""
        vault = self._journal.vault
        for row in vault.store.rows(vault.chain.entries):  # behind a damaged one
            with contextlib.suppress(ValueError):
                found = read_signed(row.body, row.signature, self._journal.net)
                if found.entry.author == vault.chain.author and genuine(found):
                    self._pieces.setdefault(found.entry.seq, (found, self._journal.stored_half(row)))
        run: list[Piece] = []
        leaf, totals, t_ms = vault.chain.leaf, vault.chain.totals, vault.chain.t_ms
        while (piece := self._pieces.get(vault.chain.entries + len(run))) is not None:
            entry = piece[0].entry
            try:
                check_terms(entry)
                follows = totals_after(totals, entry) == totals_in(entry)
            except RuleBroken:
                follows = False
            if entry.prev != leaf or not follows or entry.t_ms < t_ms:
                break
            run.append(piece)
            leaf, totals, t_ms = piece[0].leaf, totals_in(entry), entry.t_ms
        return run

    def _complete(self, run: list[Piece]) -> bool:
        vault = self._journal.vault
        marked = vault.marked
        wanted = max(self._reach, marked or 0, max(self._pieces, default=-1) + 1)
        if vault.chain.entries + len(run) < wanted:
            return False
        return marked is not None or not self.missing(run)

    def missing(self, run: Sequence[Piece] = ()) -> set[NodeId]:
        """Who must still be heard where nothing tells how much was lost."""
        vault = self._journal.vault
        latest = [entry.entry.peer for entry, _ in run]
        rows = vault.store.rows(max(0, vault.chain.entries - LATEST))
        latest += [NodeId(row.peer) for row in rows if row.seq < vault.chain.entries]
        must = set(latest) - {vault.chain.author}
        return must - self.answered if must else {vault.chain.author}

    def _put_back(self, run: list[Piece]) -> None:
        vault, store = self._journal.vault, self._journal.vault.store
        if run:
            store.drop()
            store.cut(vault.chain.entries)
            self._count_ahead(run)
            for entry, half in run:
                vault.append(entry, half)
                self._close(entry.entry, half)
            vault.commit_adopted()
        vault.healed()
        logger.warning("the ledger is whole again: %d entries came back from peers", len(run))
        self.adopted += len(run)
        self._pieces.clear()
        self._reload()
        self._keep_promises()

    def _count_ahead(self, run: list[Piece]) -> None:
        """What was kept of it may be older than these entries, or newer."""
        for peer in self._journal.ahead.peers() | {e.entry.peer for e, _ in run if e.entry.kind == EARN}:
            self._journal.ahead.count_again(peer, self._earns(peer, run))

    def _earns(self, peer: NodeId, run: list[Piece]) -> Iterator[tuple[Entry, Entry | None]]:
        for mine, half in reversed(run):
            if mine.entry.kind == EARN and mine.entry.peer == peer:
                yield mine.entry, half.entry if half else None
        for row in self._journal.vault.store.rows_with(peer, 0):
            entry = self._journal.read(row.body) if row.seq < self._journal.vault.chain.entries else None
            if entry is not None and entry.kind == EARN:
                settle = self._journal.stored_half(row)
                yield entry, settle.entry if settle else None

    def _close(self, entry: Entry, half: Signed | None) -> None:
        """What this entry changed beside the chain when it was signed."""
        store, debts = self._journal.vault.store, self._journal.debts
        if entry.kind in (SETTLE, VOID):
            row = store.find(OPEN, entry.peer, entry.rid)
            if row is not None:
                store.end_hold(self._journal.read(row.body))
                store.put_document(MINE, row.leaf, b"")
        rest = half is not None and half.entry.rid != entry.rid
        if rest and half is not None and entry.kind == SETTLE:
            store.put_document(RESTS, half.entry.rid, entry.rid)
        if entry.kind == EARN:
            opening = store.opening(entry.peer, half.entry.rid if half else entry.rid)
            if opening is not None:
                if rest:  # what it left unpaid was counted when its voucher was earned
                    debts.change(entry.peer, unpaid=-max(0, opening.due - opening.paid))
                paid = entry.amount + (opening.paid if rest else 0)
                store.put_opening(opening._replace(state=SETTLED, due=0, paid=paid))
        if entry.kind != GENESIS:
            store.put_pair(entry.peer, pair_in(entry), debts.unpaid(entry.peer))
        if half is not None:
            self._journal.remember(half)

    def _keep_promises(self) -> None:
        """Vouchers over more than what we remember: of holds that are open."""
        store = self._journal.vault.store
        open_holds, kept = {row.leaf for row in store.holds()}, False
        for leaf, voucher in self._vouchers.items():
            mine = store.document(MINE, leaf)
            if leaf in open_holds and (
                not mine or read_voucher(mine).voucher.amount < voucher.voucher.amount
            ):
                store.put_document(MINE, leaf, voucher.wire)
                kept = True
        self._vouchers.clear()
        if kept:
            self._journal.vault.commit()
            self._reload()


def _strings(value: Any) -> list[bytes]:
    """Raises `ValueError`."""
    if type(value) is not list or len(value) not in (2, 4) or any(type(one) is not bytes for one in value):
        raise ValueError("not two or four byte strings")
    return value
