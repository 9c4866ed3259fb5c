"""The side that asks and pays: open -> vouch ... -> settle, or void -> countersigned."""

from __future__ import annotations

from opengateway.errors import LedgerRefused
from opengateway.identity import Identity
from opengateway.ledger.chain import Draft
from opengateway.ledger.entry import EARN, OPEN, SETTLE, VOID, ZERO32, Entry, Signed, Terms
from opengateway.ledger.journal import Journal, refusing
from opengateway.ledger.price import cost
from opengateway.ledger.rows import Row, wire_of
from opengateway.ledger.rules import check_halves, pair_in, rest_rid
from opengateway.ledger.voucher import SignedVoucher, Voucher, read_voucher, sign_voucher
from opengateway.units import NodeId

MINE = "vouched"
"""Documents of this kind: our own voucher for each OPEN that is not settled, by the leaf of the OPEN. Kept
before one is sent: a node that forgot it in a crash would settle below it, which is fraud."""
RESTS = "rest"
"""Documents of this kind: the request id of a SETTLE, by that of the EARN that earned only the rest of it."""
KEPT_AHEAD = 64
"""Tokens, one instalment, that the kept voucher is ahead of the one that was sent: a stranger's requester
vouches four times in as many, and waits for the disk once."""


class Requester:
    def __init__(self, journal: Journal, identity: Identity) -> None:
        self._journal = journal
        self._identity = identity
        journal.vouched_at = self.vouched_at
        self.load()

    def load(self) -> None:
        """Holds of a former life: they are open until somebody settles or voids them."""
        self._holds: dict[bytes, Signed] = {}
        self._vouched: dict[bytes, SignedVoucher] = {}
        self._kept: dict[bytes, int] = {}
        self._former: dict[bytes, int] = {}
        """Of vouchers of a former life a number beyond all that it can have sent."""
        self.kept_more = False
        """The last voucher is over more than what is durable: it must wait for the commit."""
        store = self._journal.vault.store
        with self._journal.reading():
            for row in store.holds():
                self._take(self._journal.stored(row))
            for leaf, wire in store.documents(MINE):
                self._vouched[leaf] = read_voucher(wire)
                self._kept[leaf] = self._vouched[leaf].voucher.amount
                self._former[leaf] = self._vouched[leaf].voucher.n + KEPT_AHEAD

    def _take(self, hold: Signed) -> None:
        self._holds[hold.entry.rid] = hold
        self._journal.debts.change(hold.entry.peer, holding=hold.entry.hold)

    def open(self, peer: NodeId, rid: bytes, terms: Terms, offer: bytes = ZERO32) -> bytes:
        vault = self._journal.vault
        vault.require_writable()
        self._journal.require_unmoved(peer)
        vault.space.require(self._journal.now_ms())
        if rid in self._holds or vault.store.find(OPEN, peer, rid):
            raise LedgerRefused("this request id was used before", reason="duplicate")
        new = self._journal.next(Draft(OPEN, peer, rid, offer, terms))
        self._take(vault.append(new))
        return new.wire

    def _held(self, rid: bytes) -> Signed:
        hold = self._holds.get(rid)
        if hold is None:
            raise LedgerRefused("nothing is held for this request", reason="no_open")
        return hold

    def vouch(self, rid: bytes, prompt_tokens: int, completion_tokens: int) -> bytes:
        self._journal.vault.require_signable()
        hold = self._held(rid)
        entry = hold.entry
        last = self._vouched.get(hold.leaf)
        amount = cost(prompt_tokens, completion_tokens, entry.price_prompt, entry.price_completion)
        if amount > entry.hold or completion_tokens > entry.completion_tokens:
            raise LedgerRefused(f"a voucher over {amount} ucr, of {entry.hold} held", reason="hold")
        n = last.voucher.n + 1 if last else 1
        if last and (amount < last.voucher.amount or completion_tokens < last.voucher.completion_tokens):
            if hold.leaf not in self._former:
                raise LedgerRefused("a voucher below the one before", reason="under_settle")
            # Of a former life, and ahead of what came by then: it will be settled at anyway.
            amount, completion_tokens = last.voucher.amount, last.voucher.completion_tokens
        n = max(n, self._former.get(hold.leaf, 0))
        voucher = Voucher(hold.leaf, n, completion_tokens, amount, max(entry.t_ms, self._journal.now_ms()))
        new = self._vouched[hold.leaf] = sign_voucher(self._identity, voucher)
        self.kept_more = amount > self._kept.get(hold.leaf, -1)
        if self.kept_more:
            self._keep(hold.leaf, entry, voucher)
        return new.wire

    def _keep(self, leaf: bytes, entry: Entry, voucher: Voucher) -> None:
        """What a crash would settle at: some tokens more than this voucher, so that the next few need not
        wait for the disk. Below what was sent it must never be; above, it costs a crashed node a little."""
        ahead = min(voucher.completion_tokens + KEPT_AHEAD, entry.completion_tokens)
        amount = voucher.amount + (ahead - voucher.completion_tokens) * entry.price_completion
        if amount <= entry.hold:
            voucher = voucher._replace(completion_tokens=ahead, amount=amount)
        self._kept[leaf] = voucher.amount
        kept = sign_voucher(self._identity, voucher)
        self._journal.vault.store.put_document(MINE, leaf, kept.wire)

    def settle(self, rid: bytes, prompt_tokens: int, completion_tokens: int, digest: bytes) -> bytes:
        hold = self._held(rid)
        entry = hold.entry
        promised = self._vouched.get(hold.leaf)
        if promised:
            least = promised.voucher.terms(entry)
            prompt_tokens, completion_tokens = _at_least(least, entry, prompt_tokens, completion_tokens)
        terms = Terms(
            entry.model,
            prompt_tokens,
            completion_tokens,
            entry.price_prompt,
            entry.price_completion,
            hold=entry.hold,
        )
        return self._let_go(hold, SETTLE, terms._replace(amount=terms.cost), digest)

    def vouched_at(self, worker: NodeId) -> int:
        """ucr that this worker may earn by vouchers, of requests that are not settled."""
        holds = (hold for hold in self._holds.values() if hold.entry.peer == worker)
        vouchers = (self._vouched.get(hold.leaf) for hold in holds)
        return sum(signed.voucher.amount for signed in vouchers if signed)

    def promised(self, rid: bytes) -> bool:
        """Something was vouched for."""
        hold = self._holds.get(rid)
        return hold is not None and hold.leaf in self._vouched

    def void(self, rid: bytes) -> bytes | None:
        hold = self._holds.get(rid)
        if hold is None:
            return None
        entry = hold.entry
        promised = self._vouched.get(hold.leaf)
        if promised:
            return self._let_go(hold, SETTLE, promised.voucher.terms(entry)._replace(hold=entry.hold), ZERO32)
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
        self._kept.pop(hold.leaf, None)
        self._former.pop(hold.leaf, None)
        if self._vouched.pop(hold.leaf, None):
            self._journal.vault.store.put_document(MINE, hold.leaf, b"")
        pair = pair_in(new.entry)
        self._journal.debts.change(opened.peer, pair=pair, holding=-opened.hold)
        self._journal.vault.store.put_pair(opened.peer, pair, self._journal.debts.unpaid(opened.peer))
        return new.wire

    def countersigned(self, earn: bytes, worker: NodeId) -> None:
        journal = self._journal
        journal.vault.require_writable()
        half = journal.form(earn, EARN, worker)
        row = journal.vault.store.find(SETTLE, worker, half.entry.rid) or self._short(worker, half.entry)
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
        with refusing:
            check_halves(settle.entry, settle.leaf, half.entry)
        journal.require_known_earnings(half.entry)
        journal.remember(half)
        journal.vault.store.add_half(settle.entry, half)
        if half.entry.rid != settle.entry.rid:
            journal.vault.store.put_document(RESTS, half.entry.rid, settle.entry.rid)

    def _short(self, worker: NodeId, earn: Entry) -> Row | None:
        """The SETTLE whose rest this EARN earns, after one by voucher (`rules.rest_rid`)."""
        store = self._journal.vault.store
        known = store.document(RESTS, earn.rid)
        if known:
            return store.find(SETTLE, worker, known)
        waiting = store.unanswered(1000)
        return next((r for r in waiting if r.peer == worker and rest_rid(r.leaf) == earn.rid), None)

    def open_holds(self) -> list[Entry]:
        return [hold.entry for hold in self._holds.values()]

    def unanswered(self, limit: int) -> list[tuple[NodeId, bytes, bytes]]:
        rows = self._journal.vault.store.unanswered(limit)
        return [(NodeId(row.peer), row.rid, wire_of(row)) for row in rows]


def _at_least(least: Terms, opened: Entry, prompt: int, completion: int) -> tuple[int, int]:
    """These tokens, but none below what was vouched for, and within the hold."""
    held, price_prompt, price_completion = opened.hold, opened.price_prompt, opened.price_completion
    completion, prompt = max(completion, least.completion_tokens), max(prompt, least.prompt_tokens)
    if price_completion:
        completion = min(completion, (held - least.prompt_tokens * price_prompt) // price_completion)
    if price_prompt:
        prompt = min(prompt, (held - completion * price_completion) // price_prompt)
    return prompt, completion
