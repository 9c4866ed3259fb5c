"""The Ledger's first seconds: nothing is signed before peers had a moment to show what was forgotten.

A damaged or restored disk may have lost what others have seen, and signing on from there is a fork. The check
ends when three of those with whom there are accounts have answered (all of them, where there are fewer), or
after 3 s: a node alone signs by its mark. It goes on with everybody who is met later (ledger/recovery.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from actors.kernel import Address, Reply
from actors.messages import (
    Admit,
    BeginTransfer,
    Checked,
    Earn,
    HearAccount,
    HearTransfer,
    LedgerMessage,
    MeetPeer,
    OpenHold,
    SettleHolds,
    TakeRotation,
    Unanswered,
    Vouch,
)
from opengateway.ledger.book import Book
from opengateway.ledger.witnessing import Sends
from opengateway.units import NodeId
from opengateway.wire.messages import Settle

logger = logging.getLogger(__name__)

CHECK_S = 3.0
"""A session is up within 1 s of a start, and the answer is there one round trip later."""
ENOUGH = 3
FORGET_S = 900.0
"""After that a worker that has not come back has earned by the last voucher, or counts on nothing."""

SIGNING = (
    OpenHold, Vouch, SettleHolds, Admit, Earn, BeginTransfer, HearTransfer, MeetPeer, Unanswered,
    TakeRotation, HearAccount,
)  # fmt: skip
"""What signs, and what tells peers of what was signed. It waits for the end of the check, in its order."""


class StartCheck:
    def __init__(self, ledger: Address[LedgerMessage], book: Book, commit: Callable[[], None]) -> None:
        """`commit` makes everything durable that the book has signed, before it returns."""
        self._ledger = ledger
        self._book = book
        self._commit = commit
        self._held: list[tuple[LedgerMessage, Reply[Any] | None]] = []
        self._damaged = bool(book.damage)
        self._stale: dict[bytes, NodeId] = {}
        self.over = True

    def begin(self, seconds: float) -> None:
        """`seconds` 0: there is nothing to check, as after a crash of the Ledger alone. Then answers go on
        meanwhile, and who reads them settles; what nobody settles is released later."""
        self._stale = {one.rid: one.peer for one in self._book.open_holds()}
        if seconds and self._book.peers() and not self._book.damage:
            self.over = False
            self._book.unchecked("this node has just started and asks its peers what they have seen")
            self._ledger.tell_later(seconds, Checked())
            self._ledger.tell_later(FORGET_S, Checked(), replace=False)
        elif not seconds:
            self._ledger.tell_later(FORGET_S, Checked(), replace=False)
        elif not self._book.damage:
            self._let_go()

    def holds(self, message: LedgerMessage, reply: Reply[Any] | None) -> bool:
        """Whether this must wait. Whoever asked is answered afterwards."""
        if not isinstance(message, SIGNING):
            return False
        self._held.append((message, reply))
        return True

    def heard(self) -> Sends:
        """A peer has answered. What it must be sent now."""
        if self._damaged and not self._book.damage:
            self._damaged = False
            self._stale = {one.rid: one.peer for one in self._book.open_holds()}
        answered = self._book.witnessing.recovery.answered
        accounts = {pair.peer for pair in self._book.peers()}
        if not self.over and len(answered & accounts) >= min(ENOUGH, len(accounts)):
            self.end()
        return self._let_go(answered) if self.over and not self._book.damage else []

    def end(self) -> None:
        """Also once more, after `FORGET_S`."""
        if self.over:
            if not self._book.damage:
                self._let_go()
                self._book.forget_unserved(int(1000 * FORGET_S))
            return
        self.over = True
        self._book.unchecked("")
        if not self._book.damage:
            self._let_go(self._book.witnessing.recovery.answered)
            self._commit()  # who is told now of what is not yet answered for is told of these, too
        held, self._held = self._held, []
        for message, reply in held:
            if reply is None:
                self._ledger.tell(message)
            else:
                self._again(message, reply)

    def _again(self, message: Any, reply: Reply[Any]) -> None:
        self._ledger.ask(message).then(lambda done: _forward(done, reply))

    def _let_go(self, of: set[NodeId] | None = None) -> Sends:
        """Requests that were in flight when the former life ended went nowhere: what is held for them is
        released, once their worker (one of these; None: all) has said what it was promised."""
        sends: Sends = []
        for rid, peer in list(self._stale.items()):
            if of is None or peer in of:
                del self._stale[rid]
                settle = self._book.give_up(rid)
                if settle:
                    sends.append((peer, Settle(0, settle)))
        return sends


def _forward(done: Reply[Any], to: Reply[Any]) -> None:
    try:
        to.answer(done.get(timeout=0))
    except Exception as error:
        to.refuse(error)
