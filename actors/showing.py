"""Our ledger for those who serve a stranger on trust only if they see it, on the I/O loop.

    Wanted came -> a request with an OPEN: the ledger is cosigned with it by whom they named -> Present -> Ask

One round trip more, to the witnesses, and only where a peer has refused us without and its debts to us do not
cover what is asked. Who does not know those witnesses is introduced by who named them, and dials them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable

from actors.io_loop import IoLoop
from actors.kernel import Address, answer
from actors.messages import BeginShowing, CoveredAt, Dispatch, LedgerMessage, Showable
from opengateway.errors import OpenGatewayError
from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.witness_messages import Wanted

logger = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds for witnesses to answer, and for those to be met who are not here yet. Then the peer is asked as it
is, and says no."""
AGAIN = 0.25
"""Seconds between looks at who has come."""


class Showing:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        *,
        send: Callable[[NodeId, Message], bool],
        peers: Callable[[], list[NodeId]],
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._send = send
        self._peers = peers
        self._wanted: dict[NodeId, Wanted] = {}
        self._came = asyncio.Event()
        self.counters: Counter[str] = Counter()

    def heard(self, peer: NodeId, wanted: Wanted) -> None:
        """A peer names its witnesses: it has just refused us, or is about to."""
        self._wanted[peer] = wanted

    def lost(self, peer: NodeId) -> None:
        self._wanted.pop(peer, None)

    def came(self) -> None:
        """A cosignature, perhaps."""
        self._came.set()

    def before(self, order: Dispatch, ask: Callable[[Dispatch], None]) -> None:
        """Has the peer asked, at once or when our ledger has been shown to it."""
        if order.entry and order.peer in self._wanted:
            self._io.task(self._show_and_ask(order, ask))
        else:
            ask(order)

    async def _show_and_ask(self, order: Dispatch, ask: Callable[[Dispatch], None]) -> None:
        try:
            await self._show(order)
        except (OpenGatewayError, TimeoutError) as error:
            logger.info("our ledger was not shown to %s: %s", short(order.peer), error)
        finally:
            ask(order)

    async def _show(self, order: Dispatch) -> None:
        wanted, until = self._wanted[order.peer], time.monotonic() + PATIENCE
        refused = order.job.wants_head == order.peer
        if not refused and await answer(self._ledger.ask(CoveredAt(order.peer)), PATIENCE):
            return
        anchors = tuple(NodeId(wanted.anchors[at : at + 32]) for at in range(0, len(wanted.anchors), 32))
        asked: set[NodeId] = set()
        while True:
            self._came.clear()
            await self._ask_witnesses(order, anchors, asked)
            showable = Showable(order.peer, order.rid, anchors, wanted.known)
            present = await answer(self._ledger.ask(showable, express=True), PATIENCE)
            if present is not None:
                self.counters["shown"] += self._send(order.peer, present)
                return
            if time.monotonic() > until:
                self.counters["too_few_witnesses"] += 1
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), AGAIN)

    async def _ask_witnesses(self, order: Dispatch, anchors: tuple[NodeId, ...], asked: set[NodeId]) -> None:
        here = tuple(one for one in anchors if one not in asked and one in self._peers())
        if not here:
            return
        asked.update(here)
        begin = BeginShowing(order.peer, order.rid, here)
        for witness, message in await answer(self._ledger.ask(begin, express=True), PATIENCE):
            self._send(witness, message)
