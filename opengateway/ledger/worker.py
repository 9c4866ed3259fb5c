"""The side that serves and earns: admit -> vouched ... -> delivered, or release -> earn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from opengateway.errors import LedgerRefused
from opengateway.ledger.admission import (
    Admission,
    Pool,
    require_clock,
    require_offered,
    unsecured_part,
)
from opengateway.ledger.chain import Draft
from opengateway.ledger.entry import EARN, OPEN, SETTLE, ZERO32, Signed, Terms, leaf_of
from opengateway.ledger.journal import Journal, refusing
from opengateway.ledger.price import Price, cost
from opengateway.ledger.rows import (
    ADMITTED,
    DELIVERED,
    RELEASED,
    SETTLED,
    UNPAID,
    Opening,
    Row,
    wire_of,
)
from opengateway.ledger.rules import CLOCKS_APART_MS, check_release, check_views, pair_in, rest_rid
from opengateway.ledger.vouched import VouchedFor
from opengateway.ledger.voucher import (
    UNDER_SETTLE,
    SignedVoucher,
    read_voucher,
    under_settle_proof,
)
from opengateway.units import NodeId

StrangerCheck = Callable[[NodeId, Signed], None]
"""Given the requester and its OPEN. Raises `NotEnoughCredit` or `LedgerRefused` to refuse."""

SWEEP_EVERY_MS = 60_000
ORPHANS = 256  # SETTLEs of one requester in one run without a known admission: more than are ever in flight


class Worker:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._vouched = VouchedFor(journal)
        self.stranger_checks: list[StrangerCheck] = []
        """What else a requester must show before anything is served to it on trust, cheapest first."""
        self.capacity = 0
        """ucr that this node could earn in an hour, as measured."""
        self._orphans: Counter[NodeId] = Counter()
        self.load()

    def load(self) -> None:
        self._serving: dict[tuple[NodeId, bytes], Opening] = {}
        self._leaves: dict[bytes, tuple[NodeId, bytes]] = {}
        """Which of `_serving` a voucher is for, by the leaf of its OPEN."""
        self._pool = Pool()
        self._swept_ms = 0
        store = self._journal.vault.store
        with self._journal.reading():
            self._pool = Pool(*store.pool())
            for opening in store.serving():
                self._serving[opening.peer, opening.rid] = opening
                self._leaves[leaf_of(opening.body)] = opening.peer, opening.rid
                account = self._journal.successors.account(opening.peer)
                self._journal.debts.change(account, reserved=opening.due)

    def admit(
        self,
        opening: bytes,
        requester: NodeId,
        price: Price,
        model: str,
        offers: Collection[bytes] = (),
        *,
        near: bool = False,
    ) -> Admission:
        journal = self._journal
        vault, now = journal.vault, journal.now_ms()
        vault.require_writable()
        vault.space.require(now)
        if not opening and price == (0, 0):
            return Admission(requester, b"", model, 0, 0, 0, 0)
        new = journal.form(opening, OPEN, requester)
        entry = new.entry
        require_offered(entry, price, model, offers)
        require_clock(entry, now)
        if vault.store.opening(requester, entry.rid):
            raise LedgerRefused("this request id was used before", reason="duplicate")
        journal.require_known_totals(entry)
        u = self.unsecured(requester, entry.hold)
        journal.require_signature(new)
        journal.witness(new)
        if u and not near:
            for check in self.stranger_checks:
                check(requester, new)
        journal.remember(new)
        row = Opening(requester, entry.rid, new.body, new.signature, now, ADMITTED, entry.hold)
        self.put(row, reserved=entry.hold)
        vault.store.put_pool(self._pool.forgiven, self._pool.at_ms)
        return Admission(
            requester, entry.rid, entry.model, entry.hold, u, entry.prompt_tokens, entry.completion_tokens
        )

    def unsecured(self, requester: NodeId, price: int) -> int:
        """u of the admission rule for this price, changing nothing. Raises `NotEnoughCredit`."""
        debts, policy = self._journal.debts, self._journal.policy
        standing = debts.standing(requester)
        self._pool.capacity = self.capacity
        left = self._pool.left(policy, debts.exposed, self._journal.now_ms()) + standing.exposed
        return unsecured_part(price, standing, left, policy, trusted=requester not in self._journal.faulty)

    def put(self, opening: Opening, *, reserved: int = 0, unpaid: int = 0) -> None:
        """A request in its new state, and what that changes in the pair (differences, ucr)."""
        debts, store = self._journal.debts, self._journal.vault.store
        key = opening.peer, opening.rid
        if opening.state in (ADMITTED, DELIVERED):
            if key not in self._serving:
                self._leaves[leaf_of(opening.body)] = key
            self._serving[key] = opening
        elif self._serving.pop(key, None):
            self._leaves.pop(leaf_of(opening.body), None)
        account = self._journal.successors.account(opening.peer)
        debts.change(account, reserved=reserved, unpaid=unpaid)
        store.put_opening(opening)
        if unpaid:
            store.put_pair(account, debts.pair(account), debts.unpaid(account))

    def release(self, rid: bytes, requester: NodeId) -> None:
        opening = self._serving.get((requester, rid))
        if opening and not self._journal.vault.damage:
            self.put(opening._replace(state=RELEASED, due=0), reserved=-opening.due)

    def vouched(self, voucher: bytes, requester: NodeId) -> int:
        journal = self._journal
        journal.vault.require_writable()
        with refusing:
            new = read_voucher(voucher)
        key = self._leaves.get(new.voucher.open_leaf)
        if key is None or key[0] != requester:
            raise LedgerRefused("a voucher for a request that is not being served", reason="no_open")
        return self._vouched.take(new, requester, journal.read(self._serving[key].body))

    def delivered(self, rid: bytes, requester: NodeId, prompt_tokens: int, completion_tokens: int) -> None:
        if self._journal.vault.damage:
            return
        opening = self._journal.vault.store.opening(requester, rid)
        if opening is None or opening.state == RELEASED:
            return
        entry = self._journal.read(opening.body)
        worth = cost(prompt_tokens, completion_tokens, entry.price_prompt, entry.price_completion)
        new = opening._replace(due=min(entry.hold, worth))
        if opening.state in (ADMITTED, DELIVERED):
            self.put(new._replace(state=DELIVERED), reserved=new.due - opening.due)
        else:
            self.put(new, unpaid=new.missing - opening.missing)

    def earn(self, settle: bytes, requester: NodeId) -> bytes:
        journal = self._journal
        vault = journal.vault
        vault.require_writable()
        half = journal.form(settle, SETTLE, requester)
        entry = half.entry
        stored = vault.store.find(EARN, requester, entry.rid)
        rest = vault.store.find(EARN, requester, rest_rid(half.leaf)) if stored else None
        for done in (stored, rest):
            if done and done.peer_body == half.body:
                return wire_of(done)
        opening = vault.store.opening(requester, entry.rid) or self._forgotten(half)
        journal.require_signature(half)
        known = journal.stored_half(stored) if stored else None
        if known is not None:
            journal.require_consistent(half, known)
            raise LedgerRefused("this request was settled before", reason="duplicate")
        journal.witness(half)
        terms, rid = Terms(*entry[10:17])._replace(hold=0), entry.rid
        if stored:  # earned by voucher, while the requester was gone
            terms, rid = self._rest(terms, stored), rest_rid(half.leaf)
        self._require_settles(half, opening)
        new = journal.next(Draft(EARN, requester, rid, half.leaf, terms, entry.digest))
        with refusing:
            check_views(entry, new.entry)
        vault.append(new, half)
        journal.remember(half)
        self._pay(opening, new)
        if opening.body == half.body:
            self._orphans[requester] += 1
        journal.ahead.change(requester, terms.amount - entry.amount)
        if not stored:
            self._vouched.settled(entry.link)
        return new.wire

    def _forgotten(self, half: Signed) -> Opening:
        """Nobody waits until an admission is durable: a crash may have taken it, and the answer was sent. Who
        signs that it owes for it is believed; refused, it would block all its later SETTLEs, for ever."""
        peer, rid = half.entry.author, half.entry.rid
        if self._orphans[peer] >= ORPHANS:
            raise LedgerRefused("a SETTLE for a request that was never admitted", reason="no_open")
        return Opening(peer, rid, half.body, half.signature, half.entry.t_ms, RELEASED, 0)

    def _rest(self, terms: Terms, stored: Row) -> Terms:
        """What a SETTLE says beyond the voucher that was earned by."""
        earned = self._journal.stored(stored).entry
        prompt = terms.prompt_tokens - earned.prompt_tokens
        completion = terms.completion_tokens - earned.completion_tokens
        rest = terms._replace(prompt_tokens=prompt, completion_tokens=completion)
        if prompt < 0 or completion < 0:
            raise LedgerRefused("settles less than it vouched for", reason="under_settle")
        return rest._replace(amount=rest.cost)

    def _require_settles(self, half: Signed, opening: Opening) -> None:
        entry = half.entry
        opened = self._journal.read(opening.body)
        if opened.kind == OPEN:
            with refusing:
                check_release(opened, leaf_of(opening.body), entry)
        self._require_what_was_vouched(half)
        if entry.t_ms > self._journal.now_ms() + CLOCKS_APART_MS:
            raise LedgerRefused("a SETTLE from the future", reason="clock")
        self._journal.require_known_totals(entry)
        self._journal.ahead.require_next(entry, self._journal.debts.pair(entry.author).served)

    def _require_what_was_vouched(self, half: Signed) -> None:
        """A SETTLE below the voucher is a fraud that anybody can check: the proof is kept."""
        voucher = self._vouched.last(half.entry.link)
        if voucher is None or half.entry.amount >= voucher.voucher.amount:
            return
        author = half.entry.author
        self._journal.vault.store.add_proof(author, UNDER_SETTLE, under_settle_proof(half, voucher))
        self._journal.judge()
        raise LedgerRefused(
            f"settles {half.entry.amount} ucr, {voucher.voucher.amount} were vouched for", reason="fraud"
        )

    def _pay(self, opening: Opening, earned: Signed) -> None:
        debts = self._journal.debts
        new = opening._replace(state=SETTLED, paid=opening.paid + earned.entry.amount)
        debts.change(opening.peer, pair=pair_in(earned.entry))
        if opening.state == ADMITTED:  # what was delivered is not known yet: `delivered` will say
            self.put(new._replace(due=0), reserved=-opening.due)
        elif opening.state == DELIVERED:
            self.put(new, reserved=-opening.due, unpaid=new.missing)
        else:
            self.put(new, unpaid=new.missing - opening.missing)
        self._journal.vault.store.put_pair(opening.peer, debts.pair(opening.peer), debts.unpaid(opening.peer))

    def sweep(self) -> None:
        """Once a minute: for answers that nobody settled in time the last voucher is earned by, and what it
        does not cover counts as left unpaid."""
        now = self._journal.now_ms()
        if 0 <= now - self._swept_ms < SWEEP_EVERY_MS or self._journal.vault.sealed:
            return
        self._swept_ms = now
        late = now - self._journal.policy.settle_within_ms
        for opening in [o for o in self._serving.values() if o.state == DELIVERED and o.at_ms < late]:
            voucher = self._vouched.last(leaf_of(opening.body))
            if voucher and voucher.voucher.amount and opening.peer not in self._journal.successors:
                self._earn_by(voucher, opening)
            else:
                self.put(opening._replace(state=UNPAID), reserved=-opening.due, unpaid=opening.due)

    def _earn_by(self, voucher: SignedVoucher, opening: Opening) -> None:
        """The requester is gone: its last voucher stands for the SETTLE that never came."""
        terms = voucher.voucher.terms(self._journal.read(opening.body))
        draft = Draft(EARN, opening.peer, opening.rid, voucher.name, terms, ZERO32)
        self._pay(opening, self._journal.vault.append(self._journal.next(draft)))
        self._journal.ahead.change(opening.peer, terms.amount)

    def left_open(self, peer: NodeId) -> list[Opening]:
        """Requests by the keys that this one came after, served and not settled."""
        account = self._journal.successors.account
        return [o for o in self._serving.values() if o.peer != peer and account(o.peer) == peer]

    def forget_unserved(self, older_ms: int = 0) -> None:
        """What was admitted so long ago, before a start, and not delivered, is only what was vouched for."""
        late = self._journal.now_ms() - older_ms
        for opening in [o for o in self._serving.values() if o.state == ADMITTED and o.at_ms <= late]:
            voucher = self._vouched.last(leaf_of(opening.body))
            due = voucher.voucher.amount if voucher else 0
            state = DELIVERED if voucher else RELEASED
            self.put(opening._replace(state=state, due=due), reserved=due - opening.due)
