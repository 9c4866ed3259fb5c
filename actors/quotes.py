"""Quotes: what a request would cost and whether it would be done, here and at peers, with nothing owed.

the owner   HTTP -> FindQuote (Scheduler: which place) -> Quote to that peer -> Quoted or Refused
a peer      Quote -> FindQuote (price, free slots) -> QuoteCredit (Ledger: would it be admitted) -> Quoted
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import Appraisal, FindQuote, LedgerMessage, QuoteCredit, SchedulerMessage
from opengateway.errors import AllBusy, OpenGatewayError, RequestError, WorkerLost
from opengateway.identity import short
from opengateway.routing.market import Market
from opengateway.units import NodeId
from opengateway.wire.messages import Message, Quote, Quoted, Refused

PATIENCE = 5.0
"""Seconds for a peer's quote: a round trip around the world, and one of its actors being busy."""
PER_PEER = 16
"""Quotes of one peer that are being made; each costs two actors a message."""


def appraise(market: Market, ask: FindQuote, *, private: bool) -> Appraisal | OpenGatewayError:
    """Where this request would go now, and what a token costs there; the error that it would get."""
    if ask.origin is None:
        choice = market.choose(ask.model, ask.scope, now=time.monotonic(), tried=frozenset())
    else:
        choice = market.choose_here(ask.model, ask.origin, private=private)
    if isinstance(choice, OpenGatewayError):
        return choice
    view = None if isinstance(choice.place, str) else market.peer(choice.place)
    name = view.name if view is not None else ""
    return Appraisal(choice.place, choice.ring, name, choice.model, market.slots() - market.busy())


class Quotes:
    """On the I/O loop."""

    def __init__(
        self,
        io: IoLoop,
        scheduler: Address[SchedulerMessage],
        ledger: Address[LedgerMessage],
        *,
        send: Callable[[NodeId, Message], bool],
        number: Callable[[], int],
        sign: Callable[[NodeId, int, OpenGatewayError], bytes],
        offer: Callable[[], bytes],
        read: Callable[[bytes, NodeId, int], OpenGatewayError],
    ) -> None:
        self._io = io
        self._scheduler = scheduler
        self._ledger = ledger
        self._send = send
        self._number = number
        self._sign = sign
        self._offer = offer
        self._read = read
        self._waiting: dict[tuple[NodeId, int], asyncio.Future[Quoted]] = {}
        self._making: dict[NodeId, int] = {}

    # -- our own ---------------------------------------------------------------------------------

    async def ask(self, peer: NodeId, kind: str, model: str, prompt: int, completion: int) -> Quoted:
        """Raises what the peer refuses with, `WorkerLost` if it does not answer."""
        number = self._number()
        future: asyncio.Future[Quoted] = asyncio.get_running_loop().create_future()
        self._waiting[peer, number] = future
        try:
            if not self._send(peer, Quote(number, kind, model, prompt, completion)):
                raise WorkerLost(f"{short(peer)} cannot be reached", retry_after=1.0)
            return await asyncio.wait_for(future, PATIENCE)
        except TimeoutError:
            raise WorkerLost(f"{short(peer)} did not answer in {PATIENCE:.0f} s", retry_after=1.0) from None
        finally:
            del self._waiting[peer, number]

    def heard(self, peer: NodeId, answer: Quoted | Refused) -> bool:
        """False if this answers no quote that we asked for."""
        future = self._waiting.get((peer, answer.stream))
        if future is None:
            return isinstance(answer, Quoted)  # late
        if not future.done():
            if isinstance(answer, Quoted):
                future.set_result(answer)
            else:
                future.set_exception(self._read(answer.refusal, peer, answer.stream))
        return True

    # -- peers' ----------------------------------------------------------------------------------

    def asked(self, peer: NodeId, quote: Quote) -> None:
        if self._making.get(peer, 0) >= PER_PEER:
            self._refuse(peer, quote, AllBusy("too many quotes at once", retry_after=1.0))
            return
        self._making[peer] = self._making.get(peer, 0) + 1
        ask = FindQuote(quote.model, "local", origin=peer)
        self._scheduler.ask(ask).then(lambda r: self._io.call(self._found, peer, quote, r))

    def _found(self, peer: NodeId, quote: Quote, reply: Reply[Appraisal | OpenGatewayError]) -> None:
        found = _value(reply)
        if isinstance(found, OpenGatewayError):
            self._made(peer, quote, found)
            return
        price = found.model.price
        hold = quote.prompt_tokens * price.prompt + quote.max_completion * price.completion
        asked = self._ledger.ask(QuoteCredit(peer, hold))
        asked.then(lambda r: self._io.call(self._judged, peer, quote, found, r))

    def _judged(self, peer: NodeId, quote: Quote, found: Appraisal, reply: Reply[int]) -> None:
        unsecured = _value(reply)
        if isinstance(unsecured, OpenGatewayError):
            self._made(peer, quote, unsecured)
            return
        price = found.model.price
        offer = self._offer()
        free = max(0, found.free_slots)
        made = Quoted(quote.stream, offer, price.prompt, price.completion, unsecured, free)
        self._made(peer, quote, made)

    def _made(self, peer: NodeId, quote: Quote, answer: Quoted | OpenGatewayError) -> None:
        self._making[peer] -= 1
        if not self._making[peer]:
            del self._making[peer]
        if isinstance(answer, Quoted):
            self._send(peer, answer)
        else:
            self._refuse(peer, quote, answer)

    def _refuse(self, peer: NodeId, quote: Quote, error: OpenGatewayError) -> None:
        self._send(peer, Refused(quote.stream, self._sign(peer, quote.stream, error)))


def _value(reply: Reply[Any]) -> Any:
    try:
        return reply.get(timeout=0)
    except OpenGatewayError as error:
        return error
    except Exception as error:
        return RequestError(f"no quote can be made now: {error}", retry_after=1.0)
