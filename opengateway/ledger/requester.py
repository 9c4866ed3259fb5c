"""The side that asks and pays: open -> settle, or void -> countersigned."""

from __future__ import annotations

from opengateway.errors import LedgerRefused
from opengateway.ledger.chain import Draft
from opengateway.ledger.entry import EARN, OPEN, SETTLE, VOID, ZERO32, Entry, Signed, Terms
from opengateway.ledger.journal import Journal, refusing
from opengateway.ledger.rules import check_halves, pair_in
from opengateway.ledger.store import wire_of
from opengateway.units import NodeId


class Requester:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.load()

    def load(self) -> None:
        """Holds of a former life: they are open until somebody settles or voids them."""
        self._holds: dict[bytes, Signed] = {}
        with self._journal.reading():
            for row in self._journal.vault.store.holds():
                self._take(self._journal.stored(row))

    def _take(self, hold: Signed) -> None:
        self._holds[hold.entry.rid] = hold
        self._journal.debts.change(hold.entry.peer, holding=hold.entry.hold)

    def open(self, peer: NodeId, rid: bytes, terms: Terms, offer: bytes = ZERO32) -> bytes:
        vault = self._journal.vault
        vault.require_writable()
        vault.space.require(self._journal.now_ms())
        if rid in self._holds or vault.store.find(OPEN, peer, rid):
            raise LedgerRefused("this request id was used before", reason="duplicate")
        new = self._journal.next(Draft(OPEN, peer, rid, offer, terms))
        self._take(vault.append(new))
        return new.wire

    def settle(self, rid: bytes, prompt_tokens: int, completion_tokens: int, digest: bytes) -> bytes:
        hold = self._holds.get(rid)
        if hold is None:
            raise LedgerRefused("nothing is held for this request", reason="no_open")
        entry = hold.entry
        terms = Terms(
            entry.model,
            prompt_tokens,
            completion_tokens,
            entry.price_prompt,
            entry.price_completion,
            hold=entry.hold,
        )
        return self._let_go(hold, SETTLE, terms._replace(amount=terms.cost), digest)

    def void(self, rid: bytes) -> bytes | None:
        hold = self._holds.get(rid)
        if hold is None:
            return None
        entry = hold.entry
        terms = Terms(
            entry.model, 0, 0, entry.price_prompt, entry.price_completion, amount=0, hold=entry.hold
        )
        return self._let_go(hold, VOID, terms, ZERO32)

    def _let_go(self, hold: Signed, kind: int, terms: Terms, digest: bytes) -> bytes:
        opened = hold.entry
        new = self._journal.next(Draft(kind, opened.peer, opened.rid, hold.leaf, terms, digest))
        self._journal.vault.append(new)
        self._journal.vault.store.end_hold(opened)
        del self._holds[opened.rid]
        pair = pair_in(new.entry)
        self._journal.debts.change(opened.peer, pair=pair, holding=-opened.hold)
        self._journal.vault.store.put_pair(opened.peer, pair, self._journal.debts.unpaid(opened.peer))
        return new.wire

    def countersigned(self, earn: bytes, worker: NodeId) -> None:
        journal = self._journal
        journal.vault.require_writable()
        half = journal.form(earn, EARN, worker)
        row = journal.vault.store.find(SETTLE, worker, half.entry.rid)
        if row is None:
            raise LedgerRefused("an EARN for a request that was not settled", reason="no_settle")
        known = journal.stored_half(row)
        if known is not None and known.body == half.body:
            return
        journal.require_signature(half)
        if known is not None:
            journal.require_consistent(half, known)
            raise LedgerRefused("this SETTLE has its EARN already", reason="duplicate")
        journal.witness(half)
        settle = journal.stored(row)
        with refusing():
            check_halves(settle.entry, settle.leaf, half.entry)
        journal.remember(half)
        journal.vault.store.add_half(settle.entry, half)

    def open_holds(self) -> list[Entry]:
        return [hold.entry for hold in self._holds.values()]

    def unanswered(self, limit: int) -> list[tuple[NodeId, bytes, bytes]]:
        rows = self._journal.vault.store.unanswered(limit)
        return [(NodeId(row.peer), row.rid, wire_of(row)) for row in rows]
