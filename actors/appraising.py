"""What this node says to "would you do this, and when?": to its own users, and to peers who want slots."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from actors.in_flight import InFlight
from actors.messages import Appraisal, FindQuote, SlotsReleased
from opengateway.errors import AllBusy, EngineUnavailable, OpenGatewayError
from opengateway.units import NodeId


class Appraising:
    def __init__(self, flight: InFlight, *, closed: Callable[[], str], lend: int, private: bool) -> None:
        self._flight = flight
        self._closed = closed
        self._lend = lend or sys.maxsize
        self._private = private

    def appraise(self, ask: FindQuote) -> Appraisal | OpenGatewayError:
        """Where this request would go now, and what a token costs there; the error that it would get."""
        market = self._flight.market
        if ask.origin is not None:
            return self._for_peer(ask, ask.origin)
        choice = market.choose(ask.model, ask.scope, now=time.monotonic(), tried=frozenset())
        if isinstance(choice, OpenGatewayError):
            return choice
        view = None if isinstance(choice.place, str) else market.peer(choice.place)
        name = view.name if view is not None else ""
        return Appraisal(choice.place, choice.ring, name, choice.model, market.slots() - market.busy())

    def released(self, message: SlotsReleased) -> None:
        if self._flight.market.reserved.release(message.peer, message.number):
            self._flight.turns.drain()

    def free(self, model: str, peer: NodeId, now: float) -> int:
        """Slots that this peer could have now."""
        lent = self._lend - self._flight.of_peers()
        return max(0, min(lent, self._flight.market.free_here(model, peer, now)))

    def _for_peer(self, ask: FindQuote, peer: NodeId) -> Appraisal | OpenGatewayError:
        if why := self._closed():
            return EngineUnavailable(why, hint="ask another node")
        market, now = self._flight.market, time.monotonic()
        choice = market.choose_here(ask.model, peer, private=self._private)
        served = market.served_here(ask.model)
        if served is None or (isinstance(choice, OpenGatewayError) and not isinstance(choice, AllBusy)):
            return choice if isinstance(choice, OpenGatewayError) else AllBusy(retry_after=1.0)
        free = self.free(served.name, peer, now)
        held = (
            market.reserved.hold(peer, ask.number, served.name, wanted=ask.slots, free=free, now=now)
            if ask.slots
            else 0
        )
        waiting = 0 if free else len(self._flight.waiting)
        start_s = 0.0 if free else market.start_here(served.name, waiting, now)
        return Appraisal("", "local", "", served, free, held, waiting, start_s, market.busy() > 0)
