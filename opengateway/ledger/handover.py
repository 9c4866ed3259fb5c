"""What peers say to each other about transfers, and what follows from it in the book.

    R -> X  Transfer      X -> V  Transfer          V accepts
    V -> X, R  Transferred                          both append their legs
    R -> X, X -> V  Transferred with the leg        everybody holds the entry of who gave up the claim on it

Each message may be lost, come twice or late: whoever misses something asks again with the next session.
No sockets here: every call returns what is to be sent once the book is committed.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import NamedTuple, TypeAlias

from opengateway.errors import LedgerRefused, OpenGatewayError
from opengateway.ledger.mandate import Mandate, MandateInvalid, read_mandate
from opengateway.ledger.transfer import Transfers
from opengateway.units import NetworkId, NodeId
from opengateway.wire.messages import NotTransferred, Sweep, Transfer, Transferred

Talk: TypeAlias = Transfer | Transferred | NotTransferred | Sweep


class Outcome(NamedTuple):
    """What to send, and which of our own transfers ended by it."""

    sends: tuple[tuple[NodeId, Talk], ...] = ()
    done: bytes = b""
    """tid of a transfer that this node asked for."""
    failed: bytes = b""
    why: str = ""


class Handover:
    def __init__(
        self, me: NodeId, net: NetworkId, transfers: Transfers, own: Collection[NodeId] = frozenset()
    ) -> None:
        """`own`: nodes of the same owner, whose earnings may be moved here."""
        self._me = me
        self._own = own
        self._net = net
        self._transfers = transfers

    def hear(self, peer: NodeId, message: Talk) -> Outcome:
        """Raises `LedgerRefused` for papers that are not in order, `LedgerReadOnly`, `DiskFull`."""
        match message:
            case Transfer(mandate):
                return self._asked(peer, mandate)
            case Transferred(mandate, receipt, leg):
                return self._done(peer, mandate, receipt, leg)
            case NotTransferred(tid, reason, text):
                return self._refused(peer, tid, reason, text)
            case Sweep(debtor, amount):
                return self._swept(peer, NodeId(debtor), amount)

    def _asked(self, peer: NodeId, data: bytes) -> Outcome:
        try:
            mandate = read_mandate(data, self._net)
        except MandateInvalid:
            return Outcome()
        try:
            if mandate.path[-1] == self._me:
                receipt = self._transfers.accept(data, peer)
                told = Transferred(mandate.wire, receipt.entry, b"")
                return Outcome(((peer, told), (mandate.path[0], told)))
            done = self._transfers.receipt(mandate.tid)
            if done is not None and done.mandate.statement == mandate.statement:
                return Outcome(((peer, Transferred(done.mandate.wire, done.entry, b"")),))
            signed = self._transfers.assign(data, peer)
            return Outcome(((signed.after(self._me), Transfer(signed.wire)),))
        except OpenGatewayError as error:
            reason = error.reason if isinstance(error, LedgerRefused) else error.code
            return Outcome(((peer, NotTransferred(mandate.tid, reason, error.message[:500])),))

    def _done(self, peer: NodeId, data: bytes, receipt: bytes, leg: bytes) -> Outcome:
        try:
            mandate = read_mandate(data, self._net)
        except MandateInvalid:
            return Outcome()
        if self._me not in mandate.path:
            return Outcome()
        new, (first, last) = False, (mandate.path[0], mandate.path[-1])
        if self._me != last:
            new = self._transfers.confirm(data, receipt)
        if leg:
            self._transfers.countersigned(leg, peer)
        debtor, creditor = mandate.after(self._me), mandate.before(self._me)
        sends: list[tuple[NodeId, Talk]] = []
        if (new or (peer == debtor and not leg)) and self._me != last:
            own = self._transfers.leg_for(debtor, mandate.tid)
            sends.append((debtor, Transferred(mandate.wire, receipt, own)))
        if new and self._me != first:
            sends.append((creditor, Transferred(mandate.wire, receipt, b"")))
        return Outcome(tuple(sends), done=mandate.tid if new and self._me == first else b"")

    def _refused(self, peer: NodeId, tid: bytes, reason: str, text: str) -> Outcome:
        mandate = self._transfers.promises.dropped(tid, peer)
        if mandate is None:
            return Outcome()
        if mandate.path[0] == self._me:
            return Outcome(failed=tid, why=text)
        return Outcome(((mandate.before(self._me), NotTransferred(tid, reason, text)),))

    def _swept(self, peer: NodeId, debtor: NodeId, amount: int) -> Outcome:
        """Another node of our owner wants to be owed by us instead of by that debtor."""
        if peer not in self._own or len(debtor) != 32:
            raise LedgerRefused(
                "only your own nodes may move their earnings here",
                reason="sweep",
                hint="list them in `ledger.own_nodes`",
            )
        return self.begin(self._transfers.release(secrets.token_bytes(16), amount, [peer], debtor))

    def begin(self, mandate: Mandate) -> Outcome:
        """The first message of a transfer that `Transfers.release` made."""
        return Outcome(((mandate.path[1], Transfer(mandate.wire)),))

    def meet(self, peer: NodeId) -> Outcome:
        """Everything that the last session with this peer may have lost."""
        sends: list[tuple[NodeId, Talk]] = [
            (peer, Transfer(mandate.wire))
            for mandate in self._transfers.promises.pending()
            if mandate.after(self._me) == peer
        ]
        for tid, creditor in self._transfers.awaited.items():
            receipt = self._transfers.receipt(tid) if creditor == peer else None
            if receipt is not None:
                sends.append((peer, Transferred(receipt.mandate.wire, receipt.entry, b"")))
        return Outcome(tuple(sends))
