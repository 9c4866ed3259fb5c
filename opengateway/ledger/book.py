"""This node's ledger: its own chain, what peers owe, what is held for requests in flight.

    requester   open  -> vouch, vouch, ...   -> settle (or void)          -> countersigned
    worker      admit -> vouched, ...        -> delivered (or release)    -> earn

Sign, commit, send: bytes that a call returns may be sent only after `commit` has returned. One thread at a
time. A call that raises changes nothing, so the other requests of a batch go on; only a failed `commit`
drops the batch. What was sent once is sent again from storage, never built anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from opengateway.identity import Identity
from opengateway.ledger.admission import Admission, Policy
from opengateway.ledger.checkpoint import Checkpoints
from opengateway.ledger.debts import PairTotals
from opengateway.ledger.entry import ZERO32, Entry, Terms
from opengateway.ledger.export import write_export
from opengateway.ledger.handover import Handover
from opengateway.ledger.history import Balance, Line, Moment, balance, curve, lines
from opengateway.ledger.journal import Journal
from opengateway.ledger.price import Price
from opengateway.ledger.proofs import Proofs
from opengateway.ledger.requester import Requester
from opengateway.ledger.routes import Ways
from opengateway.ledger.stamps import Stamps
from opengateway.ledger.succession import Succession
from opengateway.ledger.transfer import Transfers
from opengateway.ledger.witnessing import Witnessing
from opengateway.ledger.worker import StrangerCheck, Worker
from opengateway.units import NetworkId, NodeId

STANDARD = Policy()


class Written(NamedTuple):
    """A batch that is in the database, and lost in a power cut until `make_durable` has returned: on any
    thread, one batch after the other. It raises `LedgerReadOnly`."""

    make_durable: Callable[[], None]
    proofs: list[bytes]
    """Of fraud, new, which everybody should hear of when they are durable."""


class Book:
    """See the module. `path` names the database; its mark, ballast and `recovery.key` stand beside it."""

    def __init__(
        self,
        path: Path,
        identity: Identity,
        net: NetworkId,
        *,
        policy: Policy = STANDARD,
        own: frozenset[NodeId] = frozenset(),
        recovery: bytes = b"",
        now_ms: Callable[[], int],
        goes_on: bool = False,
    ) -> None:
        """Opens the ledger, or begins one with its GENESIS; a damaged one read-only (`damage`). `own`: other
        nodes of the same owner, for transfers. `goes_on`: what was admitted is still being served. Raises
        `HomeBusy` if another process writes it, `LedgerMismatch` if it is another key's or network's."""
        self.node_id, self.net = identity.node_id, net
        self._journal = Journal(path, identity, net, policy, now_ms, recovery)
        self._requester = Requester(self._journal, identity)
        self._worker = Worker(self._journal)
        mine = {*own, *map(self._journal.successors.account, own)}
        self.transfers = Transfers(self._journal, identity, mine)
        self.proofs = Proofs(self._journal)
        self.stamps = Stamps(self._journal)
        self.succession = Succession(self._journal, self._requester, self._worker, mine)
        self.checkpoints = Checkpoints(self._journal, identity)
        self.witnessing = Witnessing(self._journal, identity, self.checkpoints, self.rollback)
        self.handover = Handover(identity.node_id, net, self.transfers, mine)
        self.ways = Ways(self._journal, self.transfers.promises)
        self.forget_unserved = self._worker.forget_unserved
        if not self.damage and not goes_on:
            self.forget_unserved()

    @property
    def damage(self) -> str:
        """Why nothing is signed any more; empty when all is well."""
        return self._journal.vault.damage

    def unchecked(self, why: str) -> None:
        """Nothing is signed for the moment; empty: it may be again."""
        self._journal.vault.unchecked = why

    # What a requester does.

    def open(
        self,
        peer: NodeId,
        rid: bytes,
        model: str,
        *,
        prompt_tokens: int,
        max_completion: int,
        price_prompt: int,
        price_completion: int,
        offer: bytes = ZERO32,
    ) -> bytes:
        """Holds the most that this request may cost; the signed OPEN for the worker.

        `rid`: 16 bytes, never used before. `prompt_tokens`: what the prompt surely does not exceed, because
        nothing beyond the hold can be settled. `offer`: hash of the worker's signed offer, if it made one.
        Raises `LedgerRefused`, `LedgerReadOnly`, `DiskFull`.
        """
        terms = Terms(model, prompt_tokens, max_completion, price_prompt, price_completion)
        return self._requester.open(peer, rid, terms._replace(hold=terms.cost), offer)

    def vouch(self, rid: bytes, *, prompt_tokens: int, completion_tokens: int) -> bytes:
        """What is owed for `rid` by now, while its answer streams: the signed voucher for the worker, to be
        sent after the next commit if it `kept_more`, else at once.

        Raises `LedgerRefused` if nothing is held (`no_open`), if it is more than was held (`hold`) or less
        than the voucher before (`under_settle`; after a start it is over that one), `LedgerReadOnly`."""
        return self._requester.vouch(rid, prompt_tokens, completion_tokens)

    @property
    def kept_more(self) -> bool:
        """The last voucher is over more than what is durable."""
        return self._requester.kept_more

    def settle(self, rid: bytes, *, prompt_tokens: int, completion_tokens: int, digest: bytes) -> bytes:
        """Pays for what was received and releases the hold; the signed SETTLE for the worker.

        Never for less than was vouched: then it is over what was. `digest`: 32 bytes. Raises `LedgerRefused`
        if nothing is held for `rid` (reason `no_open`) or this costs more than was held (reason `hold`),
        `LedgerReadOnly`."""
        return self._requester.settle(rid, prompt_tokens, completion_tokens, digest)

    def void(self, rid: bytes) -> bytes | None:
        """Releases the hold of a request that delivered nothing; what was vouched for is settled. The VOID
        or SETTLE, None if nothing is held for `rid`."""
        return self._requester.void(rid)

    def give_up(self, rid: bytes) -> bytes:
        """As `void`, also where nothing is held: the SETTLE to send, empty if there is none."""
        promised = self._requester.promised(rid)
        released = self._requester.void(rid)
        return released if released and promised else b""

    def countersigned(self, earn: bytes, worker: NodeId) -> None:
        """Keeps the worker's EARN beside our SETTLE; the same again is fine. Raises `LedgerRefused`."""
        self._requester.countersigned(earn, worker)

    def open_holds(self) -> list[Entry]:
        """Our OPENs that are neither settled nor void; after a start those of the former life."""
        return self._requester.open_holds()

    def unanswered(self, limit: int = 1000) -> list[tuple[NodeId, bytes, bytes]]:
        """Worker, rid and bytes of committed SETTLEs that no EARN came back for, oldest first: to be sent
        again in this order when the worker is there. It earns nothing newer before what it misses."""
        return self._requester.unanswered(limit)

    # What a worker does.

    def admit(
        self,
        opening: bytes,
        requester: NodeId,
        *,
        price_prompt: int,
        price_completion: int,
        model: str = "",
        offers: Collection[bytes] = (),
        near: bool = False,
    ) -> Admission:
        """Whether this OPEN is good for the work it asks for; checks in the order of their cost.

        The prices are those that this node asks for; `model` the one asked for, where the OPEN must name it;
        `offers` hashes of its last signed offers, one of which the OPEN must link to; `near`: the requester
        is on our own link or in our private network, and need not show what strangers must.
        An empty `opening` is enough for free work. Raises `NotEnoughCredit` (with `missing` and a hint),
        `OfferOutdated`, `LedgerRefused`, `LedgerReadOnly`, `DiskFull`.
        """
        return self._worker.admit(
            opening, requester, Price(price_prompt, price_completion), model, offers, near=near
        )

    def measured(self, capacity: int) -> None:
        """What this node could earn in an hour (ucr): the pool for strangers is refilled by 1 % of it."""
        self._worker.capacity = capacity

    def check_strangers(self, check: StrangerCheck) -> None:
        """One more check before anything is served on trust; the last that was added is made last."""
        self._worker.stranger_checks.append(check)

    def quote(self, requester: NodeId, hold: int) -> int:
        """The unsecured part (ucr) of a request that costs `hold`, changing nothing. Raises
        `NotEnoughCredit`."""
        return self._worker.unsecured(requester, hold)

    def release(self, rid: bytes, requester: NodeId) -> None:
        """An admitted request that was not served after all. Unknown ones are ignored."""
        self._worker.release(rid, requester)

    def vouched(self, voucher: bytes, requester: NodeId) -> int:
        """Keeps a requester's voucher; the completion tokens that it vouches for by now. One that is older
        than what is here changes nothing. If no SETTLE comes in time, the last one is earned by.

        Raises `LedgerRefused` (`no_open`, `hold`, `amount`, `under_settle`, `signature`, `format`)."""
        return self._worker.vouched(voucher, requester)

    def delivered(self, rid: bytes, requester: NodeId, prompt_tokens: int, completion_tokens: int) -> None:
        """What was sent for this request, before or after its SETTLE came. What the requester leaves unpaid
        of it counts against it from then on. Unknown requests (free ones) are ignored."""
        self._worker.delivered(rid, requester, prompt_tokens, completion_tokens)

    def earn(self, settle: bytes, requester: NodeId) -> bytes:
        """Countersigns the requester's SETTLE with our EARN; the same SETTLE again gets the stored EARN.

        A SETTLE below what was delivered is taken (a debt admitted is better than none) and the rest is
        remembered as unpaid. Raises `LedgerRefused`: with reason `out_of_order` an earlier SETTLE of this
        requester did not arrive and must come first.
        """
        return self._worker.earn(settle, requester)

    # Both.

    def commit(self) -> list[bytes]:
        """Group commit: everything since the last one is durable, and its bytes may be sent. The proofs of
        fraud among it, which everybody should hear of.

        Raises `DiskFull` or `LedgerReadOnly`; then the whole batch is dropped as if it had never been.
        """
        written = self.write()
        if written is None:
            return []
        try:
            written.make_durable()
        except BaseException:
            self.rollback()
            raise
        return written.proofs

    def write(self) -> Written | None:
        """The first half of a commit, for those who have other things to do while the disk works: writes and
        raises like `commit`. Nothing of the batch may be sent before `make_durable`. None if there was
        nothing to write."""
        self._worker.sweep()
        vault = self._journal.vault
        proofs = vault.store.new_proofs()
        try:
            position = vault.write()
        except BaseException:
            self.rollback()
            raise
        return None if position is None else Written(partial(vault.make_durable, position), proofs)

    @property
    def convicting(self) -> bool:
        """A proof of fraud waits for the next commit."""
        return bool(self._journal.vault.store.new_proofs())

    def rollback(self) -> None:
        """Drops everything since the last commit; none of its bytes may be sent."""
        self._journal.vault.restore()
        self._journal.load()
        self._requester.load()
        self._worker.load()
        self.transfers.load()
        self.checkpoints.load()
        self.witnessing.load()

    def balance(self) -> Balance:
        return balance(self._journal)

    def curve(self, span_ms: int, points: int) -> list[Moment]:
        """What was earned and spent over the last `span_ms`."""
        return curve(self._journal, span_ms, points)

    def history(self, limit: int = 50) -> list[Line]:
        """The newest committed entries first."""
        return lines(self._journal.vault.store, self.net, limit)

    def peers(self) -> list[PairTotals]:
        """Everybody this node ever had an account with."""
        return self._journal.debts.all()

    def peer(self, peer: NodeId) -> PairTotals:
        return self._journal.debts.totals(peer)

    def faults(self) -> list[tuple[NodeId, str, bytes]]:
        """Committed proofs of fraud: key, kind, and a proof for anybody (`witness.check_proof`)."""
        return list(self._journal.vault.store.proofs())

    def export(self, out: BinaryIO) -> int:
        """Writes the committed chain as OGWL1 (export.py); the number of entries."""
        return write_export(out, self._journal.vault.store, self.net, self.node_id, self._journal.now_ms())

    def close(self) -> None:
        """Drops what was not committed."""
        self._journal.vault.close()
