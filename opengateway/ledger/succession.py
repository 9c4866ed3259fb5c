"""The book's part in a change of keys: pairs follow the successor, to the last ucr (LEDGER.md).

    the successor     CARRY for every pair, what the old chain says; then, as others answer, CARRY for more
    everybody else    what was held there ends, FOLLOW: the pair moves to the new key; then CARRY for more

A CARRY for more takes up what the other side's entry admits to owe, and what the old key signed itself: after
it both sides say the same. It settles whatever was on its way when the key changed; nothing by the old key is
settled singly afterwards.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from opengateway.errors import LedgerRefused
from opengateway.identity import short
from opengateway.ledger.chain import Draft
from opengateway.ledger.entry import CARRY, FOLLOW, SETTLE, Entry, EntryInvalid, Signed, Terms, read_form
from opengateway.ledger.journal import Journal, refusing
from opengateway.ledger.requester import Requester
from opengateway.ledger.rotation import Rotation, RotationInvalid, read_rotation
from opengateway.ledger.rows import ADMITTED, RELEASED, SETTLED, wire_of
from opengateway.ledger.rules import Pair, check_terms, pair_in
from opengateway.ledger.stamps import STAMP
from opengateway.ledger.store import Store
from opengateway.ledger.successors import LINE_BASE, ROTATION
from opengateway.ledger.worker import Worker
from opengateway.units import NodeId

logger = logging.getLogger(__name__)

STRANGERS = 4096
"""Papers kept, 4 MB, before those of keys that nobody here has met are refused."""


class Account(NamedTuple):
    """What to tell a peer of the account with it."""

    entry: bytes
    evidence: bytes
    """The highest SETTLE of its old key that we hold; empty if there is none."""


class Succession:
    def __init__(self, journal: Journal, requester: Requester, worker: Worker) -> None:
        self._journal = journal
        self._requester = requester
        self._worker = worker

    # The two ends of a chain (key_change.py).

    @property
    def store(self) -> Store:
        return self._journal.vault.store

    def ends(self) -> tuple[Signed, Signed]:
        """The GENESIS and the last committed entry."""
        first, last = next(self.store.rows()), next(self.store.rows(backwards=True))
        return self._journal.stored(first), self._journal.stored(last)

    def end_with(self, rotation: Rotation) -> None:
        """The ROTATE is the last entry of this chain."""
        self._journal.vault.require_writable()
        beside = rotation.rotate._replace(body=rotation.recovery, signature=rotation.signature)
        self._journal.vault.append(rotation.rotate, beside)

    def succeed(self, rotation: Rotation) -> None:
        """This chain comes after another."""
        self.store.put_document(ROTATION, rotation.old, rotation.wire)
        self._journal.successors.add(rotation)

    # Papers.

    @property
    def own(self) -> list[bytes]:
        """The papers by which this key came after others, the oldest first: who missed one change of keys
        could not follow the next."""
        rotations, key = self._journal.successors.rotations, self._journal.vault.chain.author
        found: list[bytes] = []
        while before := next((one for one in rotations.values() if one.new == key), None):
            found.insert(0, before.wire)
            key = before.old
        return found

    def hear(self, papers: bytes) -> bool:
        """A change of keys that a peer tells of; False if it was known. Raises `LedgerRefused` (`rotation`,
        `own`, `conflict`, `full`), `LedgerReadOnly`."""
        journal = self._journal
        try:
            found = read_rotation(papers, journal.net)
        except RotationInvalid as error:
            raise LedgerRefused(f"this proves no change of keys: {error}", reason="rotation") from error
        if found.old == journal.vault.chain.author:
            journal.vault.damage = journal.vault.damage or (
                f"the key of this node was given up: {short(found.new)} comes after it"
            )
            raise LedgerRefused(
                f"{short(found.new)} says to be the successor of this node, with its recovery key",
                reason="own",
                hint="if that is not your doing, somebody has your recovery key",
            )
        known = journal.successors.rotations.get(found.old)
        if known is not None and known.new != found.new:
            raise LedgerRefused(
                f"{short(found.old)} gave up its key twice; the first time counts", reason="conflict"
            )
        if known is not None and len(known.excuses) >= len(found.excuses):
            return False
        if found.new == journal.vault.chain.author:
            return False
        journal.vault.require_writable()
        met = found.old in journal.debts or journal.vault.store.head(found.old) is not None
        if len(journal.successors.rotations) >= STRANGERS and not met:
            raise LedgerRefused(
                f"{short(found.old)} is not known here, like {STRANGERS} others", reason="full"
            )
        self._keep(found, papers)
        if known is None:
            self._move(found)
        return True

    def _keep(self, found: Rotation, papers: bytes) -> None:
        journal, store = self._journal, self._journal.vault.store
        store.put_document(ROTATION, found.old, papers)
        journal.successors.add(found)
        journal.judge()
        stamp = store.document(STAMP, found.old)
        if stamp and not store.document(STAMP, found.new):
            store.put_document(STAMP, found.new, stamp)

    # The account.

    def _move(self, found: Rotation) -> None:
        """Our account with the old key becomes the one with the new."""
        journal = self._journal
        for opened in self._requester.open_holds():
            if opened.peer == found.old:
                self._requester.void(opened.rid)
        pair, unpaid = journal.debts.pair(found.old), journal.debts.unpaid(found.old)
        new = found.new
        if any(pair):
            terms = Terms("", pair.moved_in, pair.moved_out, 0, 0, pair.served, pair.consumed)
            leaf = found.rotate.leaf
            moved = journal.vault.append(journal.next(Draft(FOLLOW, new, leaf[:16], leaf, terms, bytes(32))))
            journal.debts.change(new, pair=pair_in(moved.entry))
        journal.ahead.close(found.old)
        if found.old in journal.debts:
            journal.debts.move(found.old, new)
            journal.vault.store.put_pair(found.old, Pair(), 0)
            journal.vault.store.put_pair(new, journal.debts.pair(new), unpaid)
        if found.excuses and pair.consumed:
            journal.vault.store.put_document(LINE_BASE, new, pair.consumed.to_bytes(8, "big"))
            journal.debts.without_line(new, pair.consumed)
        if (after := journal.successors.rotations.get(new)) is not None:
            self._move(after)  # its change was told of before this one

    def carry(self, rotation: Rotation, peer: NodeId, pair: Pair) -> None:
        """As the successor, at the beginning of the chain: the pair as the old one had it."""
        terms = Terms("", pair.moved_in, pair.moved_out, 0, 0, pair.served, pair.consumed)
        self._append(peer, rotation.rotate.leaf, terms)

    def left_unpaid(self, peer: NodeId, amount: int) -> None:
        """As the successor: what the old key delivered to this peer and was not paid for."""
        debts = self._journal.debts
        debts.change(peer, unpaid=amount)
        self._journal.vault.store.put_pair(peer, debts.pair(peer), debts.unpaid(peer))

    def _append(self, peer: NodeId, link: bytes, terms: Terms, half: Signed | None = None) -> Entry:
        journal = self._journal
        new = journal.vault.append(journal.next(Draft(CARRY, peer, link[:16], link, terms, bytes(32))), half)
        journal.debts.change(peer, pair=pair_in(new.entry))
        journal.vault.store.put_pair(peer, pair_in(new.entry), journal.debts.unpaid(peer))
        return new.entry

    # What both sides tell each other of it.

    def account(self, peer: NodeId) -> Account | None:
        """Our latest entry about a change of keys between us; None if there never was one."""
        row = self._journal.vault.store.statement(peer)
        return Account(wire_of(row), self._evidence(peer)) if row is not None else None

    def unconfirmed(self, peer: NodeId) -> bool:
        """Whether this peer has not yet told us its side."""
        row = self._journal.vault.store.statement(peer)
        return row is not None and row.peer_signature is None

    def _evidence(self, peer: NodeId) -> bytes:
        for old in self._journal.successors.before(peer):
            row = self._journal.vault.store.last_earned(old)
            if row is not None and (half := self._journal.stored_half(row)) is not None:
                return half.wire
        return b""

    def told(self, peer: NodeId, data: bytes, evidence: bytes = b"") -> None:
        """What a peer's book says of our account after one of us changed its key. Raises `LedgerRefused`,
        `LedgerReadOnly`."""
        journal, store = self._journal, self._journal.vault.store
        journal.vault.require_writable()
        half = self._read(data, peer)
        if store.find(CARRY, peer, half.leaf[:16]) is not None:
            return
        mine, theirs = journal.debts.pair(peer), pair_in(half.entry)
        more = Pair(
            max(0, theirs.consumed - mine.served),
            self._admitted(mine, theirs, peer, evidence),
            max(0, theirs.moved_out - mine.moved_in),
        )
        row = store.statement(peer)
        if row is not None and row.peer_signature is None:
            said = pair_in(journal.read(row.body))
            if said.served <= theirs.consumed and said.moved_in <= theirs.moved_out:
                store.add_half(journal.read(row.body), half)
        if any(more):
            self._append(peer, half.leaf, Terms("", more.moved_in, 0, 0, 0, more.served, more.consumed), half)
        self._close(peer, more.served)
        journal.remember(half)

    def _close(self, peer: NodeId, amount: int) -> None:
        """`amount` (ucr) was paid for all that the key before this one left open; the rest is unpaid."""
        debts = self._journal.debts
        for opening in self._worker.left_open(peer):
            if opening.state == ADMITTED:
                self._worker.put(opening._replace(state=RELEASED, due=0), reserved=-opening.due)
                continue
            covered = min(opening.due, amount)
            amount -= covered
            done = opening._replace(state=SETTLED, paid=covered)
            self._worker.put(done, reserved=-opening.due, unpaid=done.missing)
        if less := min(amount, debts.unpaid(peer)):
            debts.change(peer, unpaid=-less)
            self._journal.vault.store.put_pair(peer, debts.pair(peer), debts.unpaid(peer))

    def _read(self, data: bytes, peer: NodeId) -> Signed:
        journal = self._journal
        with refusing:
            half = read_form(data, journal.net)
            check_terms(half.entry)
        if half.entry.kind not in (CARRY, FOLLOW) or half.entry.author != peer:
            raise LedgerRefused("not this peer's entry about a change of keys", reason="kind")
        if half.entry.peer != journal.vault.chain.author:
            raise LedgerRefused("about an account with somebody else", reason="wrong_peer")
        journal.require_signature(half)
        journal.witness(half)
        return half

    def _admitted(self, mine: Pair, theirs: Pair, peer: NodeId, evidence: bytes) -> int:
        """What our old key signed and we have lost: another branch of the chain, or entries not restored."""
        missing = theirs.served - mine.consumed
        if missing <= 0:
            return 0
        journal = self._journal
        me = journal.vault.chain.author
        try:
            signed = read_form(evidence, journal.net)
        except EntryInvalid:
            signed = None
        ours = journal.successors.before(me) | {me}
        theirs_too = journal.successors.before(peer) | {peer}
        if signed is None or signed.entry.author not in ours or signed.entry.peer not in theirs_too:
            logger.warning("%s claims %d ucr that no entry of ours is shown for", short(peer), missing)
            return 0
        if signed.entry.kind != SETTLE:
            return 0
        journal.require_signature(signed)
        return max(0, min(missing, signed.entry.consumed - mine.consumed))
