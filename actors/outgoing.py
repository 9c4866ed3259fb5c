"""Our requests at peers, on the I/O loop: asked, watched over while they are answered, and paid for."""

from __future__ import annotations

import time
from collections.abc import Callable

from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.messages import Dispatch, LedgerMessage, SchedulerMessage
from actors.paying import Paying
from actors.recount import FindEngine
from actors.tabs import Tabs
from opengateway.engines.asking import Asker
from opengateway.engines.stream import Route
from opengateway.engines.tab import MARK, naming
from opengateway.engines.vigil import Vigil
from opengateway.identity import short
from opengateway.units import NetworkId, NodeId
from opengateway.wire.messages import Message
from opengateway.wire.roll import Roll


class Outgoing:
    def __init__(
        self,
        io: IoLoop,
        net: NetworkId,
        ledger: Address[LedgerMessage],
        scheduler: Address[SchedulerMessage],
        *,
        same_model: FindEngine,
        send: Callable[[NodeId, Message], bool],
        hang_up: Callable[[NodeId, str], None],
        roll: Callable[[], Roll],
        round_trip: Callable[[NodeId], float],
        tabs: Tabs,
    ) -> None:
        """`roll`: the sessions that there are; asked for later, as the wire is made after us."""
        self._io = io
        self.asker = Asker(net, send, hang_up)
        self.paying = Paying(io, ledger, scheduler, self.asker, same_model=same_model, send=send, tabs=tabs)
        self.vigil = Vigil(
            self.asker,
            probe=lambda peer: roll().probe(peer),
            heard=lambda peer: roll().heard(peer),
            round_trip=round_trip,
            later=self._later,
            now=time.monotonic,
        )

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._io.loop.call_later(seconds, call)

    def dispatch(self, order: Dispatch) -> None:
        job = order.job
        route = Route(short(order.peer), order.peer_name, order.ring, job.request.model)
        counted = self.paying.recounted(order)
        self.asker.ask(
            order.peer,
            job.request,
            job.stream,
            route,
            deadline_ms=job.patience_ms(),
            opening=_opening(order),
            tab=order.tab,
            salt=order.rid,
            ended=lambda ticket: self.paying.ended(order, ticket, counted),
            vouch=(lambda ticket: self.paying.vouch(order, ticket)) if order.held else None,
        )
        self.vigil.watch()


def _opening(order: Dispatch) -> bytes:
    """How the request says what it is paid with."""
    if order.tab is None:
        return order.entry
    return MARK + order.entry if order.entry else naming(order.tab.leaf, order.rid)
