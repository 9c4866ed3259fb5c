"""Ways for credit to get to the node that refused us, over one or two others; on the I/O loop.

Who owes whom is nobody else's business. So the one who gains tells most: it names its own debtors to the
node that refused it, which asks those whom it owes whether they owe one of them. Only those who were
refused a moment ago may ask, once for each refusal, and only a debtor is answered by its creditor.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from actors.io_loop import IoLoop
from actors.kernel import Address, answer
from actors.messages import FindCreditors, LedgerMessage, OwedAmong
from opengateway.ledger.routes import (
    FOUND,
    Creditors,
    Route,
    read_nodes,
    read_routes,
    write_nodes,
    write_routes,
)
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.route_messages import AskOwed, FindRoute, Owed, RouteFound

logger = logging.getLogger(__name__)

Query: TypeAlias = FindRoute | RouteFound | AskOwed | Owed

PATIENCE = 4.0
"""Seconds for an answer: a round trip to V and one from there to its creditors, around the world."""
HOP_PATIENCE = 1.5
"""Seconds that V waits for its creditors."""
REFUSED_FOR = 150.0
"""Seconds after a refusal in which its requester may ask for a way: it tries everybody else first, and waits
in the queue for two minutes at most."""
REFUSED_KEPT = 1024
AT_ONCE = 4
"""Queries for others under way: each asks up to 16 nodes."""
PER_MINUTE = 30
"""Questions of one debtor that are answered."""


class Pathfinder:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        me: NodeId,
        *,
        send: Callable[[NodeId, Message], bool],
        connected: Callable[[], Collection[NodeId]],
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._me = me
        self._send = send
        self._connected = connected
        self._last = 0
        self._finding: dict[tuple[NodeId, int], asyncio.Future[RouteFound]] = {}
        self._asking: dict[tuple[NodeId, int], asyncio.Future[Owed]] = {}
        self._refused: OrderedDict[NodeId, float] = OrderedDict()
        self._heard: dict[NodeId, list[float]] = {}
        self._working = 0
        self.counters = {"asked": 0, "answered": 0, "not_refused": 0, "too_many": 0, "malformed": 0}

    def heard(self, peer: NodeId, message: Query) -> None:
        match message:
            case FindRoute():
                self._find_for(peer, message)
            case AskOwed():
                self._owed_to(peer, message)
            case RouteFound():
                _resolve(self._finding.get((peer, message.query)), message)
            case Owed():
                _resolve(self._asking.get((peer, message.query)), message)

    def lost(self, peer: NodeId) -> None:
        self._heard.pop(peer, None)

    def refused(self, peer: NodeId) -> None:
        """This node has just refused it for want of credit: it may ask for a way, once."""
        self._refused[peer] = time.monotonic()
        self._refused.move_to_end(peer)
        while len(self._refused) > REFUSED_KEPT:
            self._refused.popitem(last=False)

    # -- R: who wants credit ---------------------------------------------------------------------

    async def find(self, to: NodeId, amount: int, debtors: list[NodeId]) -> list[Route]:
        """Ways on which `to` could owe us; `debtors` owe us. Raises `TimeoutError` if it is silent."""
        self.counters["asked"] += 1
        ask = FindRoute(self._number(), amount, write_nodes(debtors))
        found = await self._answer(self._finding, to, ask, PATIENCE)
        return read_routes(found.routes, self._me, to, debtors)

    # -- V: who refused ----------------------------------------------------------------------------

    def _find_for(self, peer: NodeId, query: FindRoute) -> None:
        try:
            named = read_nodes(query.debtors)
        except ValueError:
            self.counters["malformed"] += 1
            return
        allowed = time.monotonic() - self._refused.pop(peer, -REFUSED_FOR) < REFUSED_FOR
        if not allowed or self._working >= AT_ONCE:
            self.counters["too_many" if allowed else "not_refused"] += 1
            self._send(peer, RouteFound(query.query, b""))
            return
        self._working += 1
        self._io.task(self._ways_for(peer, query, named))

    async def _ways_for(self, peer: NodeId, query: FindRoute, named: list[NodeId]) -> None:
        routes: list[Route] = []
        try:
            ask = FindCreditors(peer, query.amount, tuple(named), frozenset(self._connected()))
            said: Creditors = await answer(self._ledger.ask(ask), HOP_PATIENCE)
            found = await asyncio.gather(
                *(self._over(creditor, amount, query.debtors) for creditor, amount in said.others)
            )
            known = set(named)
            routes = [*said.routes, *(one for one in found if one is not None and one.first in known)]
        except Exception as error:  # the ledger is busy, or restarting
            logger.info("no way was looked for: %s", error)
        finally:
            self._working -= 1
            self.counters["answered"] += 1
            routes.sort(key=lambda one: -one.amount)
            self._send(peer, RouteFound(query.query, write_routes(routes[:FOUND])))

    async def _over(self, creditor: NodeId, amount: int, debtors: bytes) -> Route | None:
        """What one of our creditors says."""
        try:
            ask = AskOwed(self._number(), amount, debtors)
            owed = await self._answer(self._asking, creditor, ask, HOP_PATIENCE)
        except TimeoutError:
            return None
        if len(owed.creditor) != 32 or owed.creditor in (creditor, self._me) or owed.amount <= 0:
            return None
        return Route(NodeId(owed.creditor), creditor, min(amount, owed.amount))

    # -- X2: a creditor of V -------------------------------------------------------------------------

    def _owed_to(self, peer: NodeId, query: AskOwed) -> None:
        now = time.monotonic()
        recent = [at for at in self._heard.get(peer, []) if at > now - 60.0]
        self._heard[peer] = [*recent, now][-PER_MINUTE:]
        try:
            named = read_nodes(query.creditors)
        except ValueError:
            self.counters["malformed"] += 1
            return
        if len(recent) >= PER_MINUTE:
            self.counters["too_many"] += 1
            return
        self._io.task(self._say_owed(peer, query, named))

    async def _say_owed(self, peer: NodeId, query: AskOwed, named: list[NodeId]) -> None:
        here = self._connected()  # the transfer itself will have to come from that one to us
        ask = OwedAmong(peer, query.amount, tuple(one for one in named if one in here))
        try:
            found = await answer(self._ledger.ask(ask), HOP_PATIENCE)
        except Exception as error:
            logger.info("a creditor's question was not answered: %s", error)
            return
        creditor, amount = found or (b"", 0)
        self._send(peer, Owed(query.query, creditor, amount))

    # -- what all need -----------------------------------------------------------------------------

    def _number(self) -> int:
        self._last += 1
        return self._last

    async def _answer(
        self, waiting: dict[tuple[NodeId, int], Any], peer: NodeId, ask: FindRoute | AskOwed, patience: float
    ) -> Any:
        """Raises `TimeoutError`, also where nothing can be sent."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting[peer, ask.query] = future
        try:
            if not self._send(peer, ask):
                raise TimeoutError
            return await asyncio.wait_for(future, patience)
        finally:
            del waiting[peer, ask.query]


def _resolve(future: asyncio.Future[Any] | None, message: RouteFound | Owed) -> None:
    if future is not None and not future.done():
        future.set_result(message)
