"""The two sides of an account that a change of keys has moved come to say the same (LEDGER.md).

Each tells the other its own entry. What the other admits to owe is taken up, and what our old key signed and
we have lost is admitted, by a CARRY that stands on the other's entry. Until they agree nothing new happens
between the two.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from opengateway.errors import LedgerRefused
from opengateway.identity import short
from opengateway.ledger.chain import Draft
from opengateway.ledger.entry import CARRY, FOLLOW, INTEGER_LIMIT, Entry, Signed, Terms, read_form
from opengateway.ledger.journal import Journal, refusing
from opengateway.ledger.rows import ADMITTED, RELEASED, SETTLED, wire_of
from opengateway.ledger.rules import Pair, check_terms, pair_in
from opengateway.ledger.signed_debts import Shown, gather, read_debts
from opengateway.ledger.successors import VOID_FROM
from opengateway.ledger.worker import Worker
from opengateway.units import NodeId

logger = logging.getLogger(__name__)


class Account(NamedTuple):
    """What to tell a peer of the account with it."""

    entry: bytes
    evidence: bytes
    """What its old keys signed of their debts here (signed_debts.py)."""


class Dispute(NamedTuple):
    """A peer claims more than our old key is shown to have signed in time."""

    amount: int
    """ucr."""
    entry: bytes
    evidence: bytes


class Agreement:
    def __init__(self, journal: Journal, worker: Worker) -> None:
        self._journal = journal
        self._worker = worker
        self.disputed: dict[NodeId, Dispute] = {}

    def append(self, peer: NodeId, link: bytes, terms: Terms, half: Signed | None = None) -> Entry:
        journal = self._journal
        new = journal.vault.append(journal.next(Draft(CARRY, peer, link[:16], link, terms, bytes(32))), half)
        journal.debts.change(peer, pair=pair_in(new.entry))
        journal.vault.store.put_pair(peer, pair_in(new.entry), journal.debts.unpaid(peer))
        journal.moving.add(peer)
        return new.entry

    def account(self, peer: NodeId) -> Account | None:
        """Our latest entry about a change of keys between us; None if there never was one."""
        row = self._journal.vault.store.statement(peer)
        if row is None:
            return None
        return Account(wire_of(row), gather(self._journal, self._journal.successors.before(peer)))

    def told(self, peer: NodeId, data: bytes, evidence: bytes = b"", *, accepted: bool = False) -> bool:
        """What a peer's book says of our account after one of us changed its key; whether that was news,
        which our own entry answers. Raises `LedgerRefused`, `LedgerReadOnly`."""
        journal, store = self._journal, self._journal.vault.store
        journal.vault.require_writable()
        half = self._read(data, peer)
        if store.find(CARRY, peer, half.leaf[:16]) is not None:
            return False
        mine, theirs = journal.debts.pair(peer), pair_in(half.entry)
        owed = theirs.consumed <= mine.served and theirs.moved_out <= mine.moved_in
        if peer not in journal.moving and owed and mine.admits(theirs):
            return False
        more, unshown = self._more(mine, theirs, peer, evidence)
        if unshown and not accepted:
            journal.moving.add(peer)
            self.disputed[peer] = Dispute(unshown, data, evidence)
            logger.warning(
                "%s claims %d ucr that our old key is not shown to have signed before it was given up",
                short(peer),
                unshown,
            )
            return False
        known = store.statement(peer)
        news = any(more)
        if known is not None and pair_in(half.entry).admits(pair_in(journal.read(known.body))):
            fresh = known.peer_body != half.body
            news |= fresh
            if fresh and (known.peer_body is None or not any(more)):
                store.add_half(journal.read(known.body), half)
        if any(more):
            terms = Terms("", more.moved_in, more.moved_out, 0, 0, more.served, more.consumed)
            self.append(peer, half.leaf, terms, half)
        self._close(peer, more.served)
        journal.remember(half)
        if journal.settled_move(peer):
            journal.moving.discard(peer)
            self.disputed.pop(peer, None)
        return news

    def _more(self, mine: Pair, theirs: Pair, peer: NodeId, evidence: bytes) -> tuple[Pair, int]:
        """What our account lacks: what the other side admits to owe, and what it claims; and how much of
        that our old key is not shown to have signed (ucr): then it is for the owners to agree."""
        more = Pair(
            served=max(0, theirs.consumed - mine.served), moved_in=max(0, theirs.moved_out - mine.moved_in)
        )
        consumed, moved_out = max(0, theirs.served - mine.consumed), max(0, theirs.moved_in - mine.moved_out)
        all_of_it = more._replace(consumed=consumed, moved_out=moved_out)
        if not (consumed or moved_out):
            return all_of_it, 0
        sure, late = self._shown(peer, evidence)
        used = min(consumed, max(0, sure.consumed - mine.consumed))
        moved = min(moved_out, max(0, sure.moved_out - mine.moved_out))
        # A thief can spend what the other side owed us, and no more: after the change of keys anybody who
        # has the old one could sign whatever debt he likes to a friend.
        left = mine.served + more.served + mine.moved_in + more.moved_in
        left = max(0, left - mine.consumed - used - mine.moved_out - moved)
        late_used = min(left, consumed - used, max(0, late.consumed - mine.consumed - used))
        left -= late_used
        late_moved = min(left, moved_out - moved, max(0, late.moved_out - mine.moved_out - moved))
        return all_of_it, consumed + moved_out - used - late_used - moved - late_moved

    def _shown(self, peer: NodeId, evidence: bytes) -> Shown:
        journal = self._journal
        me = journal.vault.chain.author
        ours = journal.successors.before(me) | {me}
        theirs = journal.successors.before(peer) | {peer}
        try:
            return read_debts(evidence, journal, ours, theirs, self._void_from)
        except ValueError as error:
            raise LedgerRefused(f"that shows no debt of ours: {error}", reason="evidence") from error

    def _void_from(self, old: NodeId) -> int:
        place = self._journal.vault.store.document(VOID_FROM, old)
        return int.from_bytes(place, "big") if place else INTEGER_LIMIT

    def accept(self, peer: NodeId) -> None:
        """The owner takes the account as the peer showed it. Raises `LedgerRefused` without a dispute."""
        dispute = self.disputed.get(peer)
        if dispute is None:
            raise LedgerRefused(
                f"nothing is in dispute with {short(peer)} since this node has started",
                reason="agreed",
                hint="see: opengateway ledger peers",
            )
        self.told(peer, dispute.entry, dispute.evidence, accepted=True)

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
        changed = journal.successors.before(peer) or journal.successors.before(half.entry.peer)
        if not changed:
            raise LedgerRefused("neither of the two has changed its key", reason="no_rotation")
        journal.require_signature(half)
        journal.witness(half)
        return half
