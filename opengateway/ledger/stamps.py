"""The book's part of identity stamps: our own, and those of strangers, each checked once and kept."""

from __future__ import annotations

from opengateway.errors import LedgerRefused, StampMissing
from opengateway.identity import short
from opengateway.ledger.entry import Signed
from opengateway.ledger.journal import Journal
from opengateway.ledger.stamp import (
    TRIES,
    Stamp,
    StampInvalid,
    challenge,
    check_stamp,
    read_stamp,
    stamps,
)
from opengateway.ledger.turns import Turns
from opengateway.units import NodeId

STAMP = "stamp"
"""Documents of this kind: the stamp of each key that was good, ours among them."""
WAITING = 1024
"""Stamps that were presented and not needed yet: one for each session that there can be."""
CHECKS_PER_S, CHECKS_AT_ONCE = 10.0, 20.0
"""Of strangers' stamps, 2 ms each in the ledger's thread: keys are free, so nobody's flood of false stamps
may cost more than 2 % of a core. Who comes too late tries again."""


class Stamps:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._presented: dict[NodeId, bytes] = {}
        self._turns = Turns(CHECKS_PER_S, CHECKS_AT_ONCE, journal.now_ms())

    @property
    def own(self) -> bytes:
        """Empty while it is not made."""
        return self._journal.vault.store.document(STAMP, self._journal.vault.chain.author)

    def _genesis(self) -> Signed:
        self._journal.vault.require_writable()
        return self._journal.stored(next(self._journal.vault.store.rows()))

    def challenge(self) -> bytes:
        """What the search is for. Raises `LedgerReadOnly`."""
        return challenge(self._journal.net, self._genesis().leaf)

    def keep(self, nonce: bytes) -> bytes:
        """Our stamp, found. Raises `LedgerRefused` if it is none, `LedgerReadOnly`."""
        made = Stamp(self._genesis(), nonce)
        if not stamps(self.challenge(), nonce):
            raise LedgerRefused("this nonce does not stamp", reason="stamp")
        self._journal.vault.store.put_document(STAMP, self._journal.vault.chain.author, made.wire)
        return made.wire

    def present(self, peer: NodeId, stamp: bytes) -> None:
        """A peer shows its stamp. It is looked at when it is needed."""
        self._presented.pop(peer, None)
        self._presented[peer] = stamp
        while len(self._presented) > WAITING:
            del self._presented[next(iter(self._presented))]

    def require(self, requester: NodeId, _opening: Signed) -> None:
        """A check for strangers (`Book.check_strangers`). Raises `StampMissing`, `LedgerRefused`."""
        if self._journal.vault.store.document(STAMP, requester):
            return
        shown = self._presented.get(requester)
        if shown is None:
            raise StampMissing(
                f"{short(self._journal.vault.chain.author)} serves a stranger on trust only with an identity "
                "stamp, and has not got this node's",
                hint=f"the asking node makes it once, in about {TRIES * 0.0016:.0f} s; ask again then",
                retry_after=TRIES * 0.0016,
            )
        self._take_turn()
        del self._presented[requester]
        try:
            stamp = read_stamp(shown, self._journal.net, requester)
            check_stamp(stamp, self._journal.net)
        except StampInvalid as error:
            raise LedgerRefused(f"this is no identity stamp: {error}", reason="stamp") from error
        self._journal.witness(stamp.genesis)
        self._journal.vault.store.put_document(STAMP, requester, shown)

    def _take_turn(self) -> None:
        if not self._turns.take(self._journal.now_ms()):
            raise LedgerRefused(
                "too many strangers show their stamps at once",
                reason="busy",
                hint="ask again",
                retry_after=1.0,
            )
