"""Quotes: what a request would cost, whether it would be done and when, here and at peers.

the owner   HTTP -> FindQuote (Scheduler: which place) -> Quote to that peer -> Quoted or Refused
the search  Scheduler -> SeekSlots -> Quote to a peer -> Quoted or Refused -> QuoteCame (-> Released)
a peer      Quote -> FindQuote (price, slots held) -> QuoteCredit (Ledger: would it be admitted) -> Quoted
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import (
    Appraisal,
    FindQuote,
    LedgerMessage,
    QuoteCame,
    QuoteCredit,
    SchedulerMessage,
    SeekSlots,
    SlotsReleased,
)
from opengateway.engines.quotation import Terms
from opengateway.errors import AllBusy, OpenGatewayError, RequestError, WorkerLost
from opengateway.identity import short
from opengateway.routing.reserved import HOLD_S
from opengateway.routing.views import Price, Quotation
from opengateway.units import NodeId
from opengateway.wire.envelope import EnvelopeRefused
from opengateway.wire.messages import Message, Refused
from opengateway.wire.quote_messages import Quote, Quoted, Released

PATIENCE = 5.0
"""Seconds for a peer's quote: a round trip around the world, and one of its actors being busy."""
SEARCH_PATIENCE = 2.0
"""Seconds for one of a search: it has asked others meanwhile."""
PER_PEER = 16
"""Quotes of one peer that are being made; each costs two actors a message."""


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
        refuse: Callable[[NodeId, int, OpenGatewayError], bytes],
        sign: Callable[[NodeId, int, Terms], bytes],
        offer: Callable[[], bytes],
        read: Callable[[bytes, NodeId, int], Terms],
        read_refusal: Callable[[bytes, NodeId, int], OpenGatewayError],
    ) -> None:
        """`read` raises `EnvelopeRefused`."""
        self._io = io
        self._scheduler = scheduler
        self._ledger = ledger
        self._send = send
        self._number = number
        self._refuse_signed, self._sign = refuse, sign
        self._offer = offer
        self._read, self._read_refusal = read, read_refusal
        self._waiting: dict[tuple[NodeId, int], asyncio.Future[Terms]] = {}
        self._making: dict[NodeId, int] = {}
        self.counters = {"asked": 0, "answered": 0, "unanswered": 0, "made": 0, "invalid": 0, "released": 0}

    # -- our own ---------------------------------------------------------------------------------

    async def ask(self, peer: NodeId, kind: str, model: str, prompt: int, completion: int) -> Terms:
        """Raises what the peer refuses with, `WorkerLost` if it does not answer."""
        number = self._number()
        return await self._ask(peer, Quote(number, kind, model, prompt, completion, 0), PATIENCE)

    async def seek(self, sought: SeekSlots) -> None:
        """Ask for slots; the Scheduler hears the answer, whatever it is."""
        number = self._number()
        tokens = sought.prompt_tokens, sought.max_completion
        ask = Quote(number, sought.kind, sought.model, *tokens, sought.slots)
        began = time.monotonic()
        try:
            terms = await self._ask(sought.peer, ask, SEARCH_PATIENCE)
        except OpenGatewayError as error:
            self._send(sought.peer, Released(number))  # its answer may still be on the way
            self._scheduler.tell(QuoteCame(sought, None, error))
            return
        quote = Quotation(
            sought.peer,
            number,
            sought.model,
            Price(terms.price_prompt, terms.price_completion),
            terms.unsecured,
            max(terms.free, terms.held),
            min(terms.held, sought.slots),
            # From when we asked: the worker began to hold no earlier than that.
            began + terms.hold_ms / 1000,
            terms.position,
            terms.start_ms / 1000,
            terms.prompt_mtps / 1000,
            terms.generate_mtps / 1000,
            terms.offer,
        )
        if not self._scheduler.tell(QuoteCame(sought, quote)) and quote.held:
            self.release(sought.peer, number)

    def release(self, peer: NodeId, number: int) -> None:
        self.counters["released"] += 1
        self._send(peer, Released(number))

    async def _ask(self, peer: NodeId, ask: Quote, patience: float) -> Terms:
        future: asyncio.Future[Terms] = asyncio.get_running_loop().create_future()
        self._waiting[peer, ask.stream] = future
        self.counters["asked"] += 1
        try:
            if not self._send(peer, ask):
                raise WorkerLost(f"{short(peer)} cannot be reached", retry_after=1.0)
            terms = await asyncio.wait_for(future, patience)
        except TimeoutError:
            self.counters["unanswered"] += 1
            raise WorkerLost(f"{short(peer)} did not answer in {patience:.0f} s", retry_after=1.0) from None
        finally:
            del self._waiting[peer, ask.stream]
        self.counters["answered"] += 1
        return terms

    def heard(self, peer: NodeId, answer: Quoted | Refused) -> bool:
        """False if this answers no quote that we asked for."""
        future = self._waiting.get((peer, answer.stream))
        if future is None:
            return isinstance(answer, Quoted)  # late
        if not future.done():
            self._answered(peer, answer, future)
        return True

    def _answered(self, peer: NodeId, answer: Quoted | Refused, future: asyncio.Future[Terms]) -> None:
        if isinstance(answer, Refused):
            future.set_exception(self._read_refusal(answer.refusal, peer, answer.stream))
            return
        try:
            future.set_result(self._read(answer.quote, peer, answer.stream))
        except EnvelopeRefused as error:
            self.counters["invalid"] += 1
            future.set_exception(WorkerLost(f"the quote of {short(peer)} is not valid: {error}"))

    # -- peers' ----------------------------------------------------------------------------------

    def asked(self, peer: NodeId, quote: Quote) -> None:
        if self._making.get(peer, 0) >= PER_PEER:
            self._refuse(peer, quote, AllBusy("too many quotes at once", retry_after=1.0))
            return
        self._making[peer] = self._making.get(peer, 0) + 1
        ask = FindQuote(quote.model, "local", origin=peer, slots=quote.slots, number=quote.stream)
        self._scheduler.ask(ask).then(lambda r: self._io.call(self._found, peer, quote, r))

    def released(self, peer: NodeId, message: Released) -> None:
        self._scheduler.tell(SlotsReleased(peer, message.stream))

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
            if found.held:
                self._scheduler.tell(SlotsReleased(peer, quote.stream))
            self._made(peer, quote, unsecured)
            return
        model = found.model
        terms = Terms(
            self._offer(),
            model.price.prompt,
            model.price.completion,
            unsecured,
            max(0, found.free_slots),
            found.held,
            int(HOLD_S * 1000) if found.held else 0,
            found.position,
            int(found.start_s * 1000),
            int(model.prompt_tps * 1000),
            int(1000 * (model.loaded_tps or model.generate_tps if found.busy else model.generate_tps)),
        )
        self._made(peer, quote, terms)

    def _made(self, peer: NodeId, quote: Quote, answer: Terms | OpenGatewayError) -> None:
        self._making[peer] -= 1
        if not self._making[peer]:
            del self._making[peer]
        self.counters["made"] += 1
        if isinstance(answer, Terms):
            self._send(peer, Quoted(quote.stream, self._sign(peer, quote.stream, answer)))
        else:
            self._refuse(peer, quote, answer)

    def _refuse(self, peer: NodeId, quote: Quote, error: OpenGatewayError) -> None:
        self._send(peer, Refused(quote.stream, self._refuse_signed(peer, quote.stream, error)))


def _value(reply: Reply[Any]) -> Any:
    try:
        return reply.get(timeout=0)
    except OpenGatewayError as error:
        return error
    except Exception as error:
        return RequestError(f"no quote can be made now: {error}", retry_after=1.0)
