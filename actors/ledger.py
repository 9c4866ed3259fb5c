"""Keeps the node's book, and keeps its promise that nothing leaves before it is durable.

Everything in the mailbox is done first, then one commit makes all of it durable, then everyone is
answered (group commit): under load one commit serves dozens of requests, and alone a request waits for
its own only. The disk is waited for on another thread (flusher.py), while the next batch is signed here.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from actors import bookkeeping, receipts
from actors.flusher import Batch, Flusher
from actors.kernel import LATER, Actor, Reply
from actors.messages import (
    Admit,
    BeginTransfer,
    Checked,
    Countersigned,
    Delivered,
    Earn,
    Export,
    Flushed,
    HearTransfer,
    HearWitness,
    LedgerMessage,
    MeetPeer,
    OpenHold,
    Promised,
    QuoteCredit,
    SettleHolds,
    TakeProof,
    Tick,
    Unanswered,
    Unserved,
    Vouch,
    Vouched,
)
from actors.startup import CHECK_S, StartCheck
from opengateway.errors import OpenGatewayError
from opengateway.identity import Identity
from opengateway.ledger.book import Book
from opengateway.units import NetworkId, NodeId
from opengateway.wire.witness_messages import Entries

GATHER = 0.02
"""Seconds that a SETTLE or an EARN may wait for a commit. Nobody's answer waits for them, so they ride on
the commit of the next OPEN, which does: measured with 16 clients, half of all commits less."""
BATCH_LIMIT = 256
"""Entries before a commit that does not wait for the mailbox to run dry: about 20 ms of signing."""


DURABLE = (
    *(OpenHold, Vouch, SettleHolds, Unanswered, Earn, BeginTransfer, HearTransfer, MeetPeer),
    *bookkeeping.WITNESSING,
)
"""Their answers leave the node, so they wait for the commit. The others only tell what is written. An
admission is committed at once, but nobody waits for it: that takes 3 ms, a first token longer. If a crash
forgot it, the SETTLE of what had arrived by then would be refused, and with it all later ones of the peer."""


class CommitFailed(Exception):
    """A batch was not written. Those who waited for it were told why; this life ends."""


class Ledger(Actor[LedgerMessage]):
    def __init__(
        self,
        path: Path,
        identity: Identity,
        net: NetworkId,
        *,
        now_ms: Callable[[], int],
        own: frozenset[NodeId] = frozenset(),
        convicted: Callable[[bytes], None] = lambda _: None,
        offers: Callable[[], Collection[bytes]] = tuple,
        capacity: Callable[[], int] = int,
        given_up: dict[NodeId, NodeId] | None = None,
        check_s: float = CHECK_S,
    ) -> None:
        """`convicted` is called with every proof of fraud that is new and durable; `given_up` is told every
        key that another came after."""
        super().__init__()
        self._convicted = convicted
        # Answers are given and read while only this actor is started again.
        self._open_book: Callable[[], Book] = lambda: Book(
            path, identity, net, own=own, now_ms=now_ms, goes_on=self.life > 1
        )
        self._book: Book | None = None
        self._offers, self._capacity, self._check_s = offers, capacity, check_s
        self._given_up = {} if given_up is None else given_up
        self._flusher: Flusher | None = None
        self._unanswered: list[tuple[Reply[Any], Any]] = []
        self._promising: Counter[bytes] = Counter()
        """Vouchers of a request that wait for the disk; the next ones wait with them."""
        self._urgent = False
        """Somebody's request waits for what was written: commit as soon as the mailbox is empty."""
        self._written = False
        """Something was written since the last commit."""
        self._gathering = False
        """A Tick is on its way."""
        self._sound = False
        """No message is half done."""

    @property
    def book(self) -> Book:
        assert self._book is not None
        return self._book

    @property
    def flusher(self) -> Flusher:
        assert self._flusher is not None
        return self._flusher

    def on_start(self) -> None:
        self._book = self._open_book()
        self._given_up.update(self._book.succession.given_up())
        self._book.check_strangers(self._book.stamps.require)
        self._book.check_strangers(self._book.witnessing.standing.require)
        self._start = StartCheck(self.address, self._book, self._commit_signed)
        self._start.begin(self._check_s if self.life == 1 else 0.0)
        self._book.commit()
        self._flusher = Flusher(f"{self.address.name} flusher", freed=self._freed, convicted=self._convicted)

    def _freed(self) -> None:
        self.address.tell(Flushed(), express=True)

    def on_exit(self) -> None:
        if self._book is None:
            return
        try:
            if self.failure is None:
                self._commit_now()
        finally:
            if self._flusher is not None:
                self._flusher.stop()  # what was in its hands is answered now
            if self.failure is not None and self._sound and self._written:
                self._book.commit()  # those who wait will be told of the crash
            self._book.close()

    def on_idle(self) -> None:
        if self._urgent:
            self._commit()
        elif (self._written or self._unanswered) and not self._gathering:
            self._gathering = self.address.tell_later(GATHER, Tick())

    def on_receive(self, message: LedgerMessage) -> Any:
        reply = self.reply
        if not self._start.over and self._start.holds(message, reply):
            return LATER
        self._sound = False
        try:
            answer = self._do(message)
            self._sound = True
        except OpenGatewayError as error:
            # A refusal is an answer. It commits to nothing, so it need not wait for the commit.
            self._sound = True
            if reply is not None:
                reply.refuse(error)
                return LATER
            return None
        if reply is None:
            return None
        if not isinstance(message, DURABLE):
            return answer
        if isinstance(message, Vouch) and message.rid not in self._promising:
            return answer  # what is durable already covers it
        self._unanswered.append((reply, answer))
        if len(self._unanswered) >= BATCH_LIMIT:
            self._flush()  # waits for the disk: a backlog does not grow without bound
        return LATER

    def _commit(self) -> None:
        """What is written goes to the disk, and its askers are answered from there; if the disk is busy with
        the last batch, when it is done: `Flushed` will say."""
        if self.flusher.free():
            self._flush()

    def _flush(self) -> None:
        written = None
        if self._written:
            try:
                written = self.book.write()
            except OpenGatewayError as error:  # the batch is dropped: nobody may get any of it
                answered, self._unanswered = self._unanswered, []
                self._written = self._urgent = False
                for reply, _ in answered:
                    reply.refuse(error)
                raise CommitFailed(str(error)) from error
        self._written = self._urgent = False
        answered, self._unanswered = self._unanswered, []
        if written is not None or answered:
            self.flusher.take(Batch(written, answered))

    def _commit_now(self) -> None:
        """Everything is durable and everyone answered when it returns."""
        self._flush()
        self.flusher.wait()

    def _commit_signed(self) -> None:
        self._written = True
        self._commit_now()

    def _do(self, message: LedgerMessage) -> Any:
        book = self.book
        match message:
            case Tick():
                self._gathering = False
                self._commit()
                self._written |= book.checkpoints.make()
            case Flushed():
                if self.flusher.failure is not None:
                    raise CommitFailed(str(self.flusher.failure)) from self.flusher.failure
                self._commit()
            case OpenHold():
                self._urgent = self._written = True
                return receipts.open_hold(book, message)
            case Vouch(rid, prompt_tokens, completion_tokens):
                voucher = book.vouch(rid, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
                if book.kept_more:
                    self._urgent = self._written = True
                    self._promising[rid] += 1
                    assert self.reply is not None
                    self.reply.then(lambda _: self.address.tell(Promised(rid), express=True))
                return voucher
            case Promised(rid):
                self._promising[rid] -= 1
                if self._promising[rid] <= 0:
                    del self._promising[rid]
            case QuoteCredit(requester, hold):
                return book.quote(requester, hold)
            case Vouched(voucher, requester):
                self._written = True
                return book.vouched(voucher, requester)
            case SettleHolds(received):
                self._written = True
                return receipts.settle(book, received)
            case Countersigned(peer, entries):
                self._written = True
                receipts.countersigned(book, peer, entries)
            case Unanswered(peer):
                return [entry for who, _, entry in book.unanswered() if who == peer]
            case Admit():
                self._urgent = self._written = True
                book.measured(self._capacity())
                return book.admit(
                    message.opening,
                    message.requester,
                    offers=self._offers(),
                    price_prompt=message.price_prompt,
                    price_completion=message.price_completion,
                    near=message.near,
                )
            case Delivered(rid, requester, prompt_tokens, completion_tokens):
                self._written = True
                book.delivered(rid, requester, prompt_tokens, completion_tokens)
            case Unserved(rid, requester):
                self._written = True
                book.release(rid, requester)
            case Earn(requester, entries):
                self._written = True
                return receipts.earn(book, requester, entries)
            case BeginTransfer(tid, amount, via, to):
                self._urgent = self._written = True
                return book.handover.begin(book.transfers.release(tid, amount, via, to))
            case HearTransfer(peer, talk):
                self._urgent = self._written = True
                return book.handover.hear(peer, talk)
            case Checked():
                self._written = self._urgent = True
                self._start.end()
            case HearWitness(peer, Entries() as said):
                self._commit_now()  # what was lost is put back behind what is durable
                self._written = self._urgent = True
                return [*book.witnessing.hear(peer, said), *self._start.heard()]
            case _ if isinstance(message, bookkeeping.WRITING):
                self._written = True
                self._urgent |= not isinstance(message, TakeProof)
                return bookkeeping.write(book, message, self._given_up)
            case MeetPeer(peer):
                self._urgent = True  # what it sends may have been written a moment ago
                return book.handover.meet(peer)
            case Export():
                out = io.BytesIO()
                self._commit_now()
                self._written |= book.checkpoints.make(now=True)
                self._commit_now()
                book.export(out)
                return out.getvalue()
            case _:
                answer = bookkeeping.read(book, message)
                self._written |= book.convicting
                return answer
        return None
