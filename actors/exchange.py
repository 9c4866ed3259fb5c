"""Transfers of credit, on the I/O loop: what peers say of them, and those that this node wants.

The node that refused us is asked for ways to owe us what is missing (pathfinder.py). If it is silent, each
that owes us is tried in turn, the greatest debtor first: two round trips a try, and nothing is lost by one
that fails.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply, answer
from actors.messages import BeginTransfer, Claims, HearTransfer, LedgerMessage, MeetPeer
from actors.pathfinder import Pathfinder
from opengateway.errors import NotEnoughCredit, OpenGatewayError, PeerUnreachable
from opengateway.identity import short
from opengateway.ledger.handover import Outcome, Talk
from opengateway.ledger.routes import Route, largest
from opengateway.units import NodeId, show_credits
from opengateway.wire.messages import Sweep, Transfer

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for one try: two round trips around the world and a few commits."""
TRIES = 8
"""Debtors asked for one transfer."""
PER_MINUTE = 60
"""Transfers that one peer may ask of us: every one costs two entries and up to 0.3 ms of signatures."""
SWEEP_EVERY = 60.0
SWEEP_LEAST = 1000
"""ucr; below that a claim stays where it is: about one short answer of a small model."""


class Exchange:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        *,
        send: Callable[[NodeId, Talk], bool],
        paths: Pathfinder,
        connected: Callable[[], Collection[NodeId]],
        sweep_to: Callable[[], NodeId | None] = lambda: None,
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._send = send
        self._paths, self._connected = paths, connected
        self._sweep_to = sweep_to
        self._swept = 0.0
        self._ends: dict[bytes, asyncio.Future[str]] = {}
        """tid -> why it failed, or nothing."""
        self._asked: dict[NodeId, list[float]] = {}
        self.counters = {"heard": 0, "refused": 0, "too_many": 0, "moved": 0}

    # -- what peers say --------------------------------------------------------------------------

    def heard(self, peer: NodeId, message: Talk) -> None:
        self.counters["heard"] += 1
        if isinstance(message, Transfer) and self._too_many(peer):
            self.counters["too_many"] += 1
            return
        self._ledger.ask(HearTransfer(peer, message)).then(lambda r: self._io.call(self._act, r))

    def _too_many(self, peer: NodeId) -> bool:
        now = time.monotonic()
        recent = [at for at in self._asked.get(peer, []) if at > now - 60.0]
        self._asked[peer] = [*recent, now][-PER_MINUTE:]
        return len(recent) >= PER_MINUTE

    def met(self, peer: NodeId) -> None:
        """A new session: what the last one did not deliver."""
        self._ledger.ask(MeetPeer(peer)).then(lambda r: self._io.call(self._act, r))
        if self._sweep_to() == peer:
            self.sweep()

    def lost(self, peer: NodeId) -> None:
        self._asked.pop(peer, None)

    def _act(self, reply: Reply[Outcome]) -> None:
        try:
            outcome = reply.get(timeout=0)
        except Exception as error:
            self.counters["refused"] += 1
            logger.info("a message about a transfer was refused: %s", error)
            return
        self._carry_out(outcome)

    def _carry_out(self, outcome: Outcome) -> bool:
        sent = [self._send(to, message) for to, message in outcome.sends]
        for tid, why in ((outcome.done, ""), (outcome.failed, outcome.why or "refused")):
            end = self._ends.get(tid)
            if end is not None and not end.done():
                end.set_result(why)
        return all(sent)

    # -- what this node wants ----------------------------------------------------------------------

    async def move(self, amount: int, via: tuple[NodeId, ...], to: NodeId) -> None:
        """One transfer; returns when it is done. Raises `OpenGatewayError` with the reason."""
        tid = secrets.token_bytes(16)
        end = self._ends[tid] = asyncio.get_running_loop().create_future()
        try:
            outcome = await answer(self._ledger.ask(BeginTransfer(tid, amount, via, to)), PATIENCE)
            if not self._carry_out(outcome):
                raise PeerUnreachable(
                    f"{short(via[0])} is not connected, and nobody else can sign for it",
                    hint="try again when it is back: opengateway peers",
                )
            why = await asyncio.wait_for(end, PATIENCE)
        except TimeoutError as error:
            raise PeerUnreachable(
                "the transfer was not answered in time; if it is carried out later, the ledger will show it",
                hint="opengateway ledger peers",
            ) from error
        finally:
            self._ends.pop(tid, None)
        if why:
            raise NotEnoughCredit(f"the transfer was refused: {why}", hint="try another peer that owes you")
        self.counters["moved"] += 1

    async def gather(self, amount: int, to: NodeId) -> int:
        """Moves up to `amount` (ucr) from whoever owes us to `to`; how much was moved."""
        claims: dict[NodeId, int] = await answer(self._ledger.ask(Claims()), PATIENCE)
        debtors = sorted(
            ((owed, peer) for peer, owed in claims.items() if owed > 0 and peer != to), reverse=True
        )
        moved = 0
        for owed, debtor in debtors[:TRIES]:
            part = min(owed, amount - moved)
            try:
                await self.move(part, (debtor,), to)
            except OpenGatewayError as error:
                logger.info("no credit moves over %s: %s", short(debtor), error)
                continue
            moved += part
            if moved >= amount:
                break
        return moved

    async def _follow(self, routes: list[Route], claims: dict[NodeId, int], amount: int, to: NodeId) -> int:
        """Moves up to `amount` (ucr) on these ways; how much was moved."""
        left, moved = dict(claims), 0
        for route in routes:
            part = min(route.amount, left[route.first], amount - moved)
            if part <= 0:
                continue
            try:
                await self.move(part, route.via, to)
            except OpenGatewayError as error:
                logger.info("no credit moves over %s: %s", ", ".join(map(short, route.via)), error)
                continue
            left[route.first] -= part
            moved += part
        return moved

    async def cover(self, price: int, peer: NodeId) -> bool:
        """Credit at `peer` for a request that may cost `price`; whether asking again makes sense. Less than
        all of it may do: `peer` alone knows how far it trusts us."""
        claims: dict[NodeId, int] = await answer(self._ledger.ask(Claims()), PATIENCE)
        missing = price - claims.get(peer, 0)
        debtors = largest(claims, set(self._connected()) - {peer})
        if missing <= 0 or not debtors:
            return False
        try:
            routes = await self._paths.find(peer, missing, debtors)
        except TimeoutError:
            moved = await self.gather(missing, peer)
        else:
            moved = await self._follow(routes, claims, missing, peer)
        if moved:
            logger.info("%s credits are now owed by %s", show_credits(moved), short(peer))
        return moved > 0

    def sweep(self) -> None:
        """Once a minute at most: what others owe this node goes to its owner's main node."""
        now = time.monotonic()
        main = self._sweep_to()
        if main is None or now - self._swept < SWEEP_EVERY:
            return
        self._swept = now
        self._io.task(self._sweep(main))

    async def _sweep(self, main: NodeId) -> None:
        claims: dict[NodeId, int] = await answer(self._ledger.ask(Claims()), PATIENCE)
        for debtor, owed in claims.items():
            if owed >= SWEEP_LEAST and debtor != main and not self._send(main, Sweep(debtor, owed)):
                return
