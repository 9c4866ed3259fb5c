"""What we owe for our requests at peers: vouched for while the answer streams, settled when it ends.

Runs on the I/O loop, between what travelled (engines/asking.py) and the book (actors/ledger.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import (
    Countersigned,
    Dispatch,
    JobEnded,
    LedgerMessage,
    Overcharged,
    Received,
    SchedulerMessage,
    SettleHolds,
    Unanswered,
    Vouch,
)
from actors.recount import Count, FindEngine, Recount
from actors.tabs import Tabs
from actors.together import Together
from opengateway.engines.asking import Asker
from opengateway.engines.tab import Tab
from opengateway.engines.ticket import Ticket
from opengateway.errors import OpenGatewayError, TabClosed, VoucherMissing
from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.messages import Message, Settle, Voucher

R = TypeVar("R")

logger = logging.getLogger(__name__)

AGAIN_S = 0.25
"""Seconds after which a Ledger that fell over is asked once more."""


class Paying:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        scheduler: Address[SchedulerMessage],
        asker: Asker,
        *,
        same_model: FindEngine,
        send: Callable[[NodeId, Message], bool],
        tabs: Tabs,
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._scheduler = scheduler
        self._asker = asker
        self._send = send
        self._settlements = Together(io, self._settle_all)
        self._earned = Together(io, self._keep_all)
        self.tabs = tabs
        tabs.settle = self._settle_tab
        self.recount = Recount(
            io, same_model, overcharged=lambda peer, times: scheduler.tell(Overcharged(peer, times))
        )

    def recounted(self, order: Dispatch) -> Count | None:
        """Our own count of the prompt, begun; None where it costs nothing or nobody here can tell."""
        return self.recount.begin(order.job.request, order.digest) if order.price.prompt else None

    def vouch(self, order: Dispatch, ticket: Ticket) -> None:
        """An instalment has come: sign for it. Express, as the worker stands still without it."""
        if order.tab is not None:
            self._vouch_on(order.tab, ticket.least_prompt)
            return
        prompt_tokens, completion_tokens = _within(order, ticket.least_prompt, ticket.came)
        ask = Vouch(order.rid, prompt_tokens, completion_tokens)
        self._ledger.ask(ask, express=True).then(lambda r: self._io.call(self._vouched, order, ticket, r))

    def _vouched(self, order: Dispatch, ticket: Ticket, reply: Reply[bytes]) -> None:
        if not self._asker.knows(ticket):
            return
        if fell_over(reply):  # the worker stands still without it
            self._io.loop.call_later(AGAIN_S, self.vouch, order, ticket)
        elif voucher := value_of(reply):
            self._send(ticket.peer, Voucher(ticket.number, voucher))

    def _vouch_on(self, tab: Tab, least_prompt: int = 0) -> None:
        """For what is owed on the tab by now, and what has come of the answers on it."""
        most = tab.budget.total
        prompt = min(most.prompt, max(tab.promised[0], tab.budget.owed_prompt + least_prompt))
        completion = min(most.completion, max(tab.promised[1], tab.account.tokens))
        tab.promised = prompt, completion
        ask = Vouch(tab.rid, prompt, completion)
        self._ledger.ask(ask, express=True).then(lambda r: self._io.call(self._vouched_on, tab, r))

    def _vouched_on(self, tab: Tab, reply: Reply[bytes]) -> None:
        if tab.settled:
            return
        if fell_over(reply):
            self._io.loop.call_later(AGAIN_S, self._vouch_on, tab)
        elif voucher := value_of(reply):
            self._send(tab.peer, Voucher(tab.number, voucher))

    def ended(self, order: Dispatch, ticket: Ticket, counted: Count | None) -> None:
        """Ends the answer's stream, too: the reader is told what it cost with its last words."""
        stream, tab = order.job.stream, order.tab
        if tab is not None:
            if self._will_have_no_tab(order, tab, ticket):
                return
            self._owed_on(order, tab, ticket, counted if ticket.finished is not None else None)
        elif order.entry:
            if ticket.finished is None:
                counted = None  # of a prompt whose answer broke off only what is surely there is paid
            stream.charge(order.rid, _amount(order, *ticket.owed_tokens()))
            self.recount.when_known(counted, lambda: self._settle(order, ticket, counted))
        if ticket.finished is not None:
            stream.finish(ticket.finished)
        self._scheduler.tell(JobEnded(order.job, order.peer, ticket.finished, ticket.error, order.held))

    def _will_have_no_tab(self, order: Dispatch, tab: Tab, ticket: Ticket) -> bool:
        """The peer has begun nothing, as it will not have this tab: then it is asked without."""
        if ticket.error is None or ticket.accepted or order.job.stream.done:
            return False
        unknown = isinstance(ticket.error, TabClosed)
        if not unknown and not (order.entry and ticket.error.status == HTTPStatus.PAYMENT_REQUIRED):
            return False
        (self.tabs.gone if unknown else self.tabs.refused)(tab)
        self.tabs.ended(tab, order.need, 0, 0, b"")
        assert order.alone is not None
        order.alone()
        return True

    def _owed_on(self, order: Dispatch, tab: Tab, ticket: Ticket, counted: Count | None) -> None:
        if (order.entry and not ticket.accepted) or isinstance(ticket.error, VoucherMissing):
            self.tabs.gone(tab)  # its OPEN went nowhere, or it stands still
        prompt, completion = ticket.owed_tokens()
        completion = min(completion, order.need.completion)
        tab.account.tokens += completion - ticket.came
        order.job.stream.charge(order.rid, _amount(order, prompt, completion))

        def known() -> None:
            paid = self.recount.payable(order.peer, prompt, counted)
            order.job.stream.charge(order.rid, _amount(order, paid, completion))
            self.tabs.ended(tab, order.need, paid, completion, ticket.digest() if completion or paid else b"")
            account = tab.account
            if not tab.settled and account.instalment and account.falls_due(time.monotonic()):
                self._vouch_on(tab)

        self.recount.when_known(counted, known)

    def _settle_tab(self, tab: Tab) -> None:
        owed = tab.budget.owed_prompt, tab.budget.owed_completion
        self._settlements.add((tab, Received(tab.rid, *owed, tab.answers.digest())))

    def _settle(self, order: Dispatch, ticket: Ticket, counted: Count | None) -> None:
        prompt_tokens, completion_tokens = ticket.owed_tokens()
        prompt_tokens = self.recount.payable(order.peer, prompt_tokens, counted)
        prompt_tokens, completion_tokens = _within(order, prompt_tokens, completion_tokens)
        order.job.stream.charge(order.rid, _amount(order, prompt_tokens, completion_tokens))
        received = Received(order.rid, prompt_tokens, completion_tokens, ticket.digest())
        self._settlements.add((ticket, received))

    def _settle_all(self, ended: tuple[tuple[Ticket | Tab, Received], ...]) -> None:
        reply = self._ledger.ask(SettleHolds(tuple(received for _, received in ended)))
        reply.then(lambda r: self._io.call(self._settled, ended, r))

    def _settled(
        self, ended: tuple[tuple[Ticket | Tab, Received], ...], reply: Reply[list[bytes | OpenGatewayError]]
    ) -> None:
        if fell_over(reply):  # what is settled already it will refuse then, and send with the next session
            self._io.loop.call_later(AGAIN_S, self._settle_all, ended)
            return
        for (ticket, _), entry in zip(ended, value_of(reply) or (), strict=False):
            if isinstance(entry, OpenGatewayError):
                logger.warning("what %s answered is not settled: %s", short(ticket.peer), entry)
            elif entry:
                self._send(ticket.peer, Settle(ticket.number, entry))

    def countersigned(self, peer: NodeId, entry: bytes) -> None:
        """The peer's EARN for one of our SETTLEs has come."""
        self._earned.add((peer, entry))

    def _keep_all(self, earned: tuple[tuple[NodeId, bytes], ...]) -> None:
        by_peer: dict[NodeId, list[bytes]] = {}
        for peer, entry in earned:
            by_peer.setdefault(peer, []).append(entry)
        for peer, entries in by_peer.items():
            self._ledger.tell(Countersigned(peer, tuple(entries)))

    def close(self) -> None:
        """What waits a moment for company waits no longer."""
        self.tabs.close()
        self._settlements.flush()
        self._earned.flush()

    def lost(self, peer: NodeId) -> None:
        self.tabs.lost(peer)
        self.recount.hurry()

    def met(self, peer: NodeId) -> None:
        """What the last session did not deliver: the peer takes our SETTLEs in their order only."""
        self._ledger.ask(Unanswered(peer)).then(lambda r: self._io.call(self._settle_again, peer, r))

    def _settle_again(self, peer: NodeId, reply: Reply[list[bytes]]) -> None:
        for entry in value_of(reply) or ():
            self._send(peer, Settle(0, entry))


def _amount(order: Dispatch, prompt_tokens: int, completion_tokens: int) -> int:
    """ucr."""
    prompt_tokens, completion_tokens = _within(order, prompt_tokens, completion_tokens)
    return prompt_tokens * order.price.prompt + completion_tokens * order.price.completion


def _within(order: Dispatch, prompt_tokens: int, completion_tokens: int) -> tuple[int, int]:
    """These tokens as far as we were ready to pay for them."""
    price = order.price
    if price.prompt:
        prompt_tokens = min(prompt_tokens, order.held // price.prompt)
    if price.completion:  # an answer may be longer than we were ready to pay for
        left = order.held - prompt_tokens * price.prompt
        completion_tokens = min(completion_tokens, left // price.completion)
    return prompt_tokens, completion_tokens


def fell_over(reply: Reply[R]) -> bool:
    """The Ledger has not answered: it is being started again."""
    try:
        reply.get(timeout=0)
    except OpenGatewayError:
        return False
    except Exception:
        return True
    return False


def value_of(reply: Reply[R]) -> R | None:
    """None, and logged, if the ledger said no."""
    try:
        return reply.get(timeout=0)
    except Exception as error:
        # Nothing to send then. A SETTLE that went unanswered is sent again with the next session.
        logger.warning("the ledger refused: %s", error)
        return None
