"""Credit earned at X becomes credit at V, without anybody who could create any (LEDGER.md, "Transfers").

    R  release -> X1  assign (-> X2  assign) -> V  accept: two ADJ entries in one commit, and that is it.
    everybody else on the path appends its own two legs on seeing V's, and shows its debtor the outgoing one

Every node gains `amount` on one side (moved_in) and gives up as much on the other (moved_out): the sum over
each chain and over each pair is zero. V alone moves its own debt, so a claim assigned twice is honoured once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from opengateway.errors import LedgerRefused
from opengateway.identity import Identity, short
from opengateway.ledger.chain import Draft
from opengateway.ledger.entry import ADJ, Signed, Terms, read_form
from opengateway.ledger.journal import Journal, refusing
from opengateway.ledger.mandate import (
    TID_BYTES,
    Mandate,
    MandateInvalid,
    Receipt,
    draft,
    read_mandate,
    read_receipt,
)
from opengateway.ledger.promises import Promises
from opengateway.ledger.rows import wire_of
from opengateway.ledger.rules import check_counter_leg, check_terms, pair_in
from opengateway.units import NodeId, show_credits

VALID_MS = 5 * 60_000
"""How long V may accept: two round trips, and clocks that differ by two minutes."""
LONGEST_MS = 15 * 60_000
"""A claim promised away cannot be used meanwhile, so nobody signs for longer."""
PROMISES = 64
"""Open at once, for each who asks: a peer with 1 credit could else make us sign a million of 1 ucr."""


class Transfers:
    """Of one node, in any of the three parts. Like everything in the book: commit, then send."""

    def __init__(self, journal: Journal, identity: Identity, own: Collection[NodeId] = frozenset()) -> None:
        """`own`: nodes of the same owner, whom this one lets run up a debt while claims move among them."""
        self._journal = journal
        self._own = own
        self._identity = identity
        self._me = identity.node_id
        self.promises = Promises(journal, identity.node_id)
        self.load()

    def load(self) -> None:
        self.awaited: dict[bytes, NodeId] = {}
        """tid -> who has not yet countersigned that it gave up its claim on us."""
        store = self._journal.vault.store
        with self._journal.reading():
            self.promises.load()
            self.awaited.update((tid, NodeId(who)) for tid, who in store.documents("awaited leg"))

    # R and the intermediaries.

    def release(
        self, tid: bytes, amount: int, via: Sequence[NodeId], to: NodeId, *, valid_ms: int = VALID_MS
    ) -> Mandate:
        """Gives up `amount` (ucr) of what via[0] owes us, if `to` owes it to us instead. Raises
        `LedgerRefused`, `LedgerReadOnly`, `DiskFull`."""
        vault, now = self._journal.vault, self._journal.now_ms()
        vault.require_writable()
        vault.space.require(now)
        if len(tid) != TID_BYTES or tid in self.promises or vault.store.document("transfer", tid):
            raise LedgerRefused("this transfer's number was used before", reason="duplicate")
        try:
            mandate = draft(self._journal.net, tid, amount, (self._me, *via, to), now + valid_ms)
        except MandateInvalid as error:
            raise LedgerRefused(f"no transfer can be made of that: {error}", reason="path") from error
        return self._promise(mandate)

    def assign(self, data: bytes, sender: NodeId) -> Mandate:
        """Our signature as an intermediary; the same again for the same mandate."""
        self._journal.vault.require_writable()
        mandate = self._read(data, sender, last=False)
        known = self.promises.get(mandate.tid)
        if known is not None and known.statement == mandate.statement:
            return known
        if known is not None or self._journal.vault.store.document("transfer", mandate.tid):
            raise LedgerRefused("this transfer's number was used before", reason="duplicate")
        self._require_fresh(mandate)
        if self.promises.asked_by(sender) >= PROMISES:
            raise LedgerRefused(f"{PROMISES} transfers for this peer are open already", reason="busy")
        if sender not in self._own:
            self._require_owed_by_us(sender, mandate.amount)
        self._require_genuine(mandate)
        return self._promise(mandate)

    def _promise(self, mandate: Mandate) -> Mandate:
        debtor = mandate.after(self._me)
        self._journal.require_unmoved(debtor)
        free = self.promises.free_with(debtor)
        if free < mandate.amount and debtor not in self._own:
            raise LedgerRefused(
                f"{short(debtor)} owes {short(self._me)} {show_credits(max(0, free))} credits, "
                f"not {show_credits(mandate.amount)}",
                reason="not_owed",
                hint="see who owes you: opengateway ledger peers",
            )
        signed = mandate.signed(self._identity)
        self.promises.add(signed)
        return signed

    # V.

    def accept(self, data: bytes, sender: NodeId) -> Receipt:
        """The transfer itself: from now on we owe R, no longer X. The same mandate gets the same answer."""
        journal = self._journal
        journal.vault.require_writable()
        mandate = self._read(data, sender, last=True)
        done = self.receipt(mandate.tid)
        if done is not None and done.mandate.statement == mandate.statement:
            return done
        if done is not None or journal.vault.store.find(ADJ, sender, mandate.tid):
            raise LedgerRefused("this transfer's number was used before", reason="duplicate")
        journal.vault.space.require(journal.now_ms())
        self._require_fresh(mandate)
        self._require_owed_by_us(sender, mandate.amount)
        self._require_genuine(mandate)
        return self._keep(Receipt(mandate, self._append(mandate, mandate.name, None).wire))

    # Everybody but V, when V has done it.

    def confirm(self, data: bytes, entry: bytes) -> bool:
        """Appends our two legs on seeing V's. False if that was done before. Raises `LedgerRefused`."""
        journal = self._journal
        journal.vault.require_writable()
        try:
            mandate = read_mandate(data, journal.net)
        except MandateInvalid as error:
            raise LedgerRefused(f"no mandate: {error}", reason="format") from error
        if self._me not in mandate.path[:-1] or not mandate.complete:
            raise LedgerRefused("this node has no part in that transfer", reason="path")
        before = journal.successors.account(mandate.before(self._me))
        if journal.vault.store.find(ADJ, before, mandate.tid):
            return False
        receipt = self._require_receipt(mandate, entry)
        self._require_genuine(mandate)
        journal.require_signature(receipt)
        journal.witness(receipt)
        self._append(mandate, receipt.leaf, receipt if self._me == mandate.path[0] else None)
        journal.remember(receipt)
        self.promises.end(mandate.tid)
        self._keep(Receipt(mandate, entry))
        return True

    def _require_receipt(self, mandate: Mandate, data: bytes) -> Signed:
        with refusing:
            found = read_form(data, self._journal.net)
            check_terms(found.entry)
        entry = found.entry
        promised = (ADJ, mandate.path[-1], mandate.path[0], mandate.tid, mandate.name, mandate.amount)
        if (entry.kind, entry.author, entry.peer, entry.rid, entry.link, entry.hold) != promised:
            raise LedgerRefused("the debtor's entry is not for this transfer", reason="mismatch")
        if entry.t_ms > mandate.expires_ms:
            raise LedgerRefused("the transfer had expired when it was accepted", reason="expired")
        return found

    def countersigned(self, leg: bytes, sender: NodeId) -> None:
        """Keeps the entry by which `sender` gave up its claim on us; the same again is fine."""
        journal = self._journal
        journal.vault.require_writable()
        half = journal.form(leg, ADJ, sender)
        row = journal.vault.store.find(ADJ, sender, half.entry.rid)
        mine = journal.stored(row) if row else None
        if row is None or mine is None:
            raise LedgerRefused("no leg of a transfer that this one answers", reason="mismatch")
        with refusing:
            check_counter_leg(mine.entry, half.entry)
        if row.peer_body is not None:
            return
        journal.require_signature(half)
        journal.witness(half)
        journal.remember(half)
        journal.vault.store.add_half(mine.entry, half)
        if self.awaited.pop(half.entry.rid, None):
            journal.vault.store.put_document("awaited leg", half.entry.rid, b"")

    # What both need.

    def receipt(self, tid: bytes) -> Receipt | None:
        """Of a transfer that is done here."""
        data = self._journal.vault.store.document("transfer", tid)
        return read_receipt(data, self._journal.net) if data else None

    def leg_for(self, debtor: NodeId, tid: bytes) -> bytes:
        """Our entry that gives up the claim on `debtor`; empty if there is none."""
        row = self._journal.vault.store.find(ADJ, debtor, tid)
        return wire_of(row) if row and self._journal.stored(row).entry.hold else b""

    def _read(self, data: bytes, sender: NodeId, *, last: bool) -> Mandate:
        try:
            mandate = read_mandate(data, self._journal.net)
        except MandateInvalid as error:
            raise LedgerRefused(f"no mandate: {error}", reason="format") from error
        place = len(mandate.signatures)
        if not place or mandate.path[place] != self._me or mandate.path[place - 1] != sender:
            raise LedgerRefused(
                "it is not this node's turn to sign, or not its sender's to ask", reason="path"
            )
        if mandate.complete is not last:
            raise LedgerRefused("signed too often or too seldom for that", reason="path")
        return mandate

    def _require_fresh(self, mandate: Mandate) -> None:
        self._require_honest(mandate)
        for key in mandate.path:
            self._journal.require_current(key)
            self._journal.require_unmoved(key)
        now, expires = max(self._journal.now_ms(), self._journal.vault.chain.t_ms), mandate.expires_ms
        if now > expires:
            raise LedgerRefused("the transfer has expired", reason="expired", hint="ask for it again")
        if expires > now + LONGEST_MS:
            raise LedgerRefused("nobody binds a claim for so long", reason="expires")

    def _require_owed_by_us(self, creditor: NodeId, amount: int) -> None:
        """Only a debt that we really have moves on, less what its owner is using up right now."""
        owed = self.promises.owed_by_us(creditor)
        if owed < amount:
            raise LedgerRefused(
                f"{short(self._me)} owes {short(creditor)} {show_credits(max(0, owed))} credits, "
                f"not {show_credits(amount)}",
                reason="not_owed",
            )

    def _require_honest(self, mandate: Mandate) -> None:
        convicted = self._journal.faulty.intersection(mandate.path)
        if convicted:
            raise LedgerRefused(f"a proof of fraud against {short(min(convicted))} is known", reason="fraud")

    def _require_genuine(self, mandate: Mandate) -> None:
        if not mandate.genuine():
            raise LedgerRefused("a signature in the mandate is not by its author", reason="signature")

    def _append(self, mandate: Mandate, link: bytes, half: Signed | None) -> Signed:
        """Both legs, for one commit; the outgoing one."""
        journal, account = self._journal, self._journal.successors.account
        debtor, creditor = account(mandate.after(self._me)), account(mandate.before(self._me))
        drafts = (
            Draft(ADJ, creditor, mandate.tid, link, Terms(amount=mandate.amount)),
            Draft(ADJ, debtor, mandate.tid, link, Terms(hold=mandate.amount)),
        )
        for place, what in enumerate(drafts):
            new = journal.vault.append(journal.next(what), None if place else half)
            pair = pair_in(new.entry)
            journal.debts.change(what.peer, pair=pair)
            journal.vault.store.put_pair(what.peer, pair, journal.debts.unpaid(what.peer))
        if half is None:
            self.awaited[mandate.tid] = creditor
            journal.vault.store.put_document("awaited leg", mandate.tid, creditor)
        return new

    def _keep(self, receipt: Receipt) -> Receipt:
        self._journal.vault.store.put_document("transfer", receipt.mandate.tid, receipt.wire)
        return receipt
