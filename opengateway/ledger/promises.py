"""Claims that this node has promised away in transfers of which it has not heard the end."""

from __future__ import annotations

from opengateway.ledger.journal import Journal
from opengateway.ledger.mandate import Mandate, read_mandate
from opengateway.units import NodeId

FORGET_MS = 24 * 3_600_000
"""A promise of which nothing is heard for a day; the mandate itself would tell."""


class Promises:
    def __init__(self, journal: Journal, me: NodeId) -> None:
        self._journal = journal
        self._me = me
        self._open: dict[bytes, tuple[Mandate, bool]] = {}
        """By tid; and whether the claim is still set aside for it."""

    def load(self) -> None:
        """From the database. Call with the journal reading."""
        self._open = {}
        for tid, data in self._journal.vault.store.documents("promise"):
            mandate = read_mandate(data, self._journal.net)
            self._open[tid] = (mandate, True)
            self._journal.given_up[mandate.after(self._me)] += mandate.amount

    def __contains__(self, tid: bytes) -> bool:
        return tid in self._open

    def get(self, tid: bytes) -> Mandate | None:
        return self._open.get(tid, (None, False))[0]

    def asked_by(self, sender: NodeId) -> int:
        """How many are open for one who asks."""
        return sum(1 for mandate, _ in self._open.values() if mandate.before(self._me) == sender)

    def add(self, signed: Mandate) -> None:
        self._forget()
        self._open[signed.tid] = (signed, True)
        self._journal.given_up[signed.after(self._me)] += signed.amount
        self._journal.vault.store.put_document("promise", signed.tid, signed.wire)

    def dropped(self, tid: bytes, sender: NodeId) -> Mandate | None:
        """The next one did not go on: the claim may be used again, but the promise cannot be taken back, so
        it is remembered. None: not `sender`'s to say, or known already."""
        mandate, reserved = self._open.get(tid, (None, False))
        if mandate is None or not reserved or mandate.after(self._me) != sender:
            return None
        self._open[tid] = (mandate, False)
        return mandate

    def end(self, tid: bytes) -> None:
        """It is done, or forgotten. Unknown ones are ignored."""
        mandate, _ = self._open.pop(tid, (None, False))
        if mandate is not None:
            self._journal.given_up[mandate.after(self._me)] -= mandate.amount
            self._journal.vault.store.put_document("promise", tid, b"")

    def pending(self) -> list[Mandate]:
        """Within their time, and not heard the end of."""
        now = self._journal.now_ms()
        return [m for m, reserved in self._open.values() if reserved and now <= m.expires_ms]

    def free_with(self, debtor: NodeId) -> int:
        """ucr of what it owes us that we may give up."""
        totals = self._journal.debts.totals(debtor)
        return totals.owes_us - totals.holding - self._set_aside(debtor, owed_to_us=True)

    def owed_by_us(self, creditor: NodeId) -> int:
        """ucr of our debt to it that may move on, less what it is using up right now."""
        return self._journal.debts.standing(creditor).owed - self._set_aside(creditor, owed_to_us=False)

    def _set_aside(self, peer: NodeId, *, owed_to_us: bool) -> int:
        """ucr of what this peer owes us (or we owe it) that open transfers speak for."""
        total = 0
        for mandate in self.pending():
            other = mandate.after(self._me) if owed_to_us else mandate.before(self._me)
            if other == peer and (owed_to_us or self._me != mandate.path[0]):
                total += mandate.amount
        return total

    def _forget(self) -> None:
        now = self._journal.now_ms()
        for mandate in [m for m, _ in self._open.values() if m.expires_ms + FORGET_MS < now]:
            self.end(mandate.tid)
