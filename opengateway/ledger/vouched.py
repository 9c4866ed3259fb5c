"""What requesters have vouched for at this worker: the last voucher of each of their requests."""

from __future__ import annotations

from opengateway.errors import LedgerRefused
from opengateway.ledger.entry import Entry, Terms
from opengateway.ledger.journal import Journal, refusing
from opengateway.ledger.voucher import SignedVoucher, Voucher, read_voucher, vouched_by
from opengateway.units import NodeId

THEIRS = "voucher"
"""Documents of this kind: the last voucher of each request, by the leaf of its OPEN, until its SETTLE is
here. One that we earned by is kept: it is the debtor's signature on that EARN."""


class VouchedFor:
    def __init__(self, journal: Journal) -> None:
        self._store = journal.vault.store

    def last(self, leaf: bytes) -> SignedVoucher | None:
        """The highest one for this OPEN."""
        wire = self._store.document(THEIRS, leaf)
        return read_voucher(wire) if wire else None

    def take(self, new: SignedVoucher, requester: NodeId, opened: Entry) -> int:
        """Keeps it if it is the highest; the completion tokens that are vouched for by now. Raises
        `LedgerRefused`."""
        last = self.last(new.voucher.open_leaf)
        if last and new.voucher.n <= last.voucher.n:
            return last.voucher.completion_tokens
        _require_more(new.voucher, last, opened)
        if not vouched_by(requester, new):
            raise LedgerRefused("a voucher that the requester did not sign", reason="signature")
        self._store.put_document(THEIRS, new.voucher.open_leaf, new.wire)
        return new.voucher.completion_tokens

    def settled(self, leaf: bytes) -> None:
        """The SETTLE stands for it now."""
        if self.last(leaf):
            self._store.put_document(THEIRS, leaf, b"")


def _require_more(new: Voucher, last: SignedVoucher | None, opened: Entry) -> None:
    with refusing:
        terms = new.terms(opened)
    if terms.completion_tokens > opened.completion_tokens or new.t_ms < opened.t_ms:
        raise LedgerRefused("a voucher beyond its OPEN", reason="hold")
    before = last.voucher.terms(opened) if last else Terms()
    if before.prompt_tokens > terms.prompt_tokens or before.completion_tokens > terms.completion_tokens:
        raise LedgerRefused("a voucher below the one before", reason="under_settle")
