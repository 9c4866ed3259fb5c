"""Keeps the node's book, and keeps its promise that nothing leaves before it is durable.

Everything in the mailbox is done first, then one commit makes all of it durable, then everyone is
answered (group commit): under load one fsync serves dozens of requests, and alone a request waits for
its own fsync only.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from actors.kernel import LATER, Actor, Reply
from actors.messages import (
    Admit,
    BeginTransfer,
    Claims,
    Countersigned,
    Delivered,
    DescribeAccounts,
    DescribeBalance,
    DescribeHistory,
    Earn,
    Export,
    HearTransfer,
    LedgerMessage,
    MeetPeer,
    OpenHold,
    QuoteCredit,
    SettleHold,
    TakeProof,
    Tick,
    Unanswered,
    Unserved,
    Vouch,
    Vouched,
)
from opengateway.errors import OpenGatewayError
from opengateway.identity import Identity
from opengateway.ledger.book import Book
from opengateway.ledger.history import account_facts, line_facts
from opengateway.units import NetworkId, NodeId

GATHER = 0.02
"""Seconds that a SETTLE or an EARN may wait for a commit. Nobody's answer waits for them, so they ride on
the commit of the next OPEN, which does: measured with 16 clients, half of all commits less."""
BATCH_LIMIT = 256
"""Entries before a commit that does not wait for the mailbox to run dry: about 20 ms of signing."""


DURABLE = (OpenHold, Vouch, SettleHold, Earn, BeginTransfer, HearTransfer, MeetPeer)
"""Their answers leave the node, so they wait for the commit. The others only tell what is written. An
admission is committed at once, but nobody waits for it: that takes 3 ms, a first token longer. If a crash
forgot it, the SETTLE of what had arrived by then would be refused, and with it all later ones of the peer."""


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
    ) -> None:
        """`convicted` is called with every proof of fraud that is new and durable."""
        super().__init__()
        self._convicted = convicted
        self._open_book: Callable[[], Book] = lambda: Book(path, identity, net, own=own, now_ms=now_ms)
        self._book: Book | None = None
        self._offers, self._capacity = offers, capacity
        self._unanswered: list[tuple[Reply[Any], Any]] = []
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

    def on_start(self) -> None:
        self._book = self._open_book()
        # Requests that were in flight when the former life ended: their answers went nowhere.
        for opened in self._book.open_holds() if not self._book.damage else ():
            self._book.void(opened.rid)
        self._book.commit()

    def on_exit(self) -> None:
        if self._book is None:
            return
        if self.failure is None:
            self._commit()
        elif self._sound and self._written:  # those who wait have been told of the crash
            self._book.commit()
        self._book.close()

    def on_idle(self) -> None:
        if self._urgent:
            self._commit()
        elif self._written and not self._gathering:
            self._gathering = self.address.tell_later(GATHER, Tick())

    def on_receive(self, message: LedgerMessage) -> Any:
        reply = self.reply
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
        self._unanswered.append((reply, answer))
        if len(self._unanswered) >= BATCH_LIMIT:
            self._commit()
        return LATER

    def _commit(self) -> None:
        for proof in self.book.commit() if self._written else ():
            self._convicted(proof)
        self._written = self._urgent = False
        answered, self._unanswered = self._unanswered, []
        for reply, answer in answered:
            reply.set(answer)

    def _do(self, message: LedgerMessage) -> Any:
        book = self.book
        match message:
            case Tick():
                self._gathering = False
                self._commit()
                self._written = book.checkpoints.make()
            case OpenHold():
                self._urgent = self._written = True
                return book.open(
                    message.peer,
                    message.rid,
                    message.model,
                    prompt_tokens=message.prompt_tokens,
                    max_completion=message.max_completion,
                    price_prompt=message.price_prompt,
                    price_completion=message.price_completion,
                    offer=message.offer,
                )
            case Vouch(rid, prompt_tokens, completion_tokens):
                self._urgent = self._written = True
                return book.vouch(rid, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
            case QuoteCredit(requester, hold):
                return book.quote(requester, hold)
            case Vouched(voucher, requester):
                self._written = True
                return book.vouched(voucher, requester)
            case SettleHold(rid, prompt_tokens, completion_tokens, digest):
                self._written = True
                if not prompt_tokens and not completion_tokens:
                    return book.give_up(rid)
                return book.settle(
                    rid, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, digest=digest
                )
            case Countersigned(peer, entry):
                self._written = True
                book.countersigned(entry, peer)
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
                )
            case Delivered(rid, requester, prompt_tokens, completion_tokens):
                self._written = True
                book.delivered(rid, requester, prompt_tokens, completion_tokens)
            case Unserved(rid, requester):
                self._written = True
                book.release(rid, requester)
            case Earn(entry, requester):
                self._written = True
                return book.earn(entry, requester)
            case BeginTransfer(tid, amount, via, to):
                self._urgent = self._written = True
                return book.handover.begin(book.transfers.release(tid, amount, via, to))
            case HearTransfer(peer, talk):
                self._urgent = self._written = True
                return book.handover.hear(peer, talk)
            case TakeProof(proof):
                self._written = True
                book.proofs.take(proof)
            case MeetPeer(peer):
                self._urgent = True  # what it sends may have been written a moment ago
                return book.handover.meet(peer)
            case Claims():
                return {pair.peer: pair.owes_us - pair.holding for pair in book.peers()}
            case DescribeBalance():
                return book.balance()._asdict()
            case DescribeHistory(limit):
                return [line_facts(line) for line in book.history(limit)]
            case DescribeAccounts():
                return [account_facts(pair) for pair in book.peers()]
            case Export():
                out = io.BytesIO()
                self._commit()
                self._written = book.checkpoints.make(now=True)
                self._commit()
                book.export(out)
                return out.getvalue()
        return None
