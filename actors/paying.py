"""What we owe for our requests at peers: vouched for while the answer streams, settled when it ends.

Runs on the I/O loop, between what travelled (engines/asking.py) and the book (actors/ledger.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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
from actors.together import Together
from opengateway.engines.asking import Asker
from opengateway.engines.ticket import Ticket
from opengateway.errors import OpenGatewayError
from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.messages import Message, Settle, Voucher

R = TypeVar("R")

logger = logging.getLogger(__name__)


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
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._scheduler = scheduler
        self._asker = asker
        self._send = send
        self._settlements = Together(io, self._settle_all)
        self._earned = Together(io, self._keep_all)
        self.recount = Recount(
            io, same_model, overcharged=lambda peer, times: scheduler.tell(Overcharged(peer, times))
        )

    def recounted(self, order: Dispatch) -> Count | None:
        """Our own count of the prompt, begun; None where it costs nothing or nobody here can tell."""
        return self.recount.begin(order.job.request, order.digest) if order.price.prompt else None

    def vouch(self, order: Dispatch, ticket: Ticket) -> None:
        """An instalment has come: sign for it. Express, as the worker stands still without it."""
        prompt_tokens, completion_tokens = _within(order, ticket.least_prompt, ticket.came)
        ask = Vouch(order.rid, prompt_tokens, completion_tokens)
        self._ledger.ask(ask, express=True).then(lambda r: self._io.call(self._vouched, ticket, r))

    def _vouched(self, ticket: Ticket, reply: Reply[bytes]) -> None:
        voucher = value_of(reply)
        if voucher and self._asker.knows(ticket):
            self._send(ticket.peer, Voucher(ticket.number, voucher))

    def ended(self, order: Dispatch, ticket: Ticket, counted: Count | None) -> None:
        """Ends the answer's stream, too: the reader is told what it cost with its last words."""
        stream = order.job.stream
        if order.entry:
            if ticket.finished is None:
                counted = None  # of a prompt whose answer broke off only what is surely there is paid
            stream.charge(order.rid, _amount(order, *ticket.owed_tokens()))
            self.recount.when_known(counted, lambda: self._settle(order, ticket, counted))
        if ticket.finished is not None:
            stream.finish(ticket.finished)
        self._scheduler.tell(JobEnded(order.job, order.peer, ticket.finished, ticket.error, order.held))

    def _settle(self, order: Dispatch, ticket: Ticket, counted: Count | None) -> None:
        prompt_tokens, completion_tokens = ticket.owed_tokens()
        prompt_tokens = self.recount.payable(order.peer, prompt_tokens, counted)
        prompt_tokens, completion_tokens = _within(order, prompt_tokens, completion_tokens)
        order.job.stream.charge(order.rid, _amount(order, prompt_tokens, completion_tokens))
        received = Received(order.rid, prompt_tokens, completion_tokens, ticket.digest())
        self._settlements.add((ticket, received))

    def _settle_all(self, ended: tuple[tuple[Ticket, Received], ...]) -> None:
        reply = self._ledger.ask(SettleHolds(tuple(received for _, received in ended)))
        reply.then(lambda r: self._io.call(self._settled, [ticket for ticket, _ in ended], r))

    def _settled(self, tickets: list[Ticket], reply: Reply[list[bytes | OpenGatewayError]]) -> None:
        for ticket, entry in zip(tickets, value_of(reply) or (), strict=False):
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
        self._settlements.flush()
        self._earned.flush()

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


def value_of(reply: Reply[R]) -> R | None:
    """None, and logged, if the ledger said no."""
    try:
        return reply.get(timeout=0)
    except Exception as error:
        # Nothing to send then. A SETTLE that went unanswered is sent again with the next session.
        logger.warning("the ledger refused: %s", error)
        return None
