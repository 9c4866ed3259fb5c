"""Peers' requests at this node: read, handed to whoever serves them, and pumped back.

Runs on the I/O loop. A peer that stops reading costs one window of chunks a stream and blocks nobody:
its pump waits for a grant, the stream fills, the engine's adapter waits for room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from opengateway.engines.account import Account
from opengateway.engines.incoming import Incoming, frame_of, items_of, read_ask
from opengateway.engines.prompt_size import least_prompt
from opengateway.engines.stream import Chunk, Finished, Waits
from opengateway.errors import (
    AllBusy,
    Cancelled,
    OpenGatewayError,
    RequestError,
    VoucherMissing,
)
from opengateway.units import NodeId
from opengateway.wire.continue_messages import Continue, Continued
from opengateway.wire.limits import STREAMS_PER_PEER
from opengateway.wire.messages import (
    STREAM_WINDOW,
    Accepted,
    Ask,
    Cancel,
    Chunks,
    Ended,
    Failed,
    Grant,
    Message,
    Refused,
    Voucher,
)
from opengateway.wire.waiting_messages import Queued

CONGESTION_WAIT = 0.02
"""Seconds before a full connection is tried again: a few round trips on a LAN."""
CONGESTION_LIMIT = 30.0
"""Seconds that a connection may stay full before the answer is given up."""
VOUCHER_PATIENCE = 3.0
"""Seconds, beside a round trip, that an answer stands still for a voucher before it is broken off: its slot
is somebody else's by then. A requester signs within a millisecond, or it is gone."""
MOST_ETA_MS = 7 * 86_400_000
"""A week: what the wire can say."""
BROKEN_OFF = "broken off"
"""`Finished.reason` of an answer that did not come to its end."""


@dataclass(slots=True)
class Answerer:
    """All requests of all peers."""

    send: Callable[[NodeId, Message], bool]
    hang_up: Callable[[NodeId, str], None]
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    asked: Callable[[Incoming], None]
    """Hand the request on. Whoever gets it opens, fills and ends `incoming.stream`."""
    delivered: Callable[[Incoming, Finished | None], None]
    """The answer has been sent, whole (called before the peer is told so) or as far as it came; None:
    nothing of it was."""
    refusal: Callable[[NodeId, int, OpenGatewayError], bytes]
    lead: Callable[[Incoming], int] = lambda _: 0
    """How far this answer may run ahead of its vouchers; asked when it begins."""
    vouched: Callable[[NodeId, Account, bytes], object] = lambda _peer, _account, _voucher: None
    """A voucher has come: check and keep it, then say so with `promised`."""
    tab: Callable[[NodeId, int], Account | None] = lambda _peer, _number: None
    """The account of the tab that this stream has begun, though its answer may have ended."""
    round_trip: Callable[[NodeId], float] = lambda _: 0.0
    """Seconds."""
    counters: dict[str, int] = field(
        default_factory=lambda: {"served": 0, "refused": 0, "failed": 0, "not_vouched": 0}
    )
    _incoming: dict[NodeId, dict[int, Incoming]] = field(default_factory=dict)

    def heard(self, peer: NodeId, message: Ask | Continue | Cancel | Grant | Voucher) -> None:
        mine = self._incoming.setdefault(peer, {})
        match message:
            case Ask() | Continue() as ask:
                self._ask(peer, mine, ask)
            case Cancel(stream=number):
                if incoming := mine.get(number):
                    incoming.stream.cancel()
                    incoming.granted.set()
            case Grant(stream=number, chunks=chunks):
                if incoming := mine.get(number):
                    incoming.window = min(incoming.window + chunks, STREAM_WINDOW)
                    incoming.granted.set()
            case Voucher(stream=number, voucher=voucher):
                incoming = mine.get(number)
                if account := incoming.account if incoming is not None else self.tab(peer, number):
                    self._voucher(peer, account, voucher)

    def _voucher(self, peer: NodeId, account: Account, voucher: bytes) -> None:
        account.vouchers += 1
        if account.vouchers > account.tokens:  # each costs a signature check, so no more than tokens
            self.hang_up(peer, "protocol error: more vouchers than tokens")
        elif account.lead:
            self.vouched(peer, account, voucher)

    def waits(self, peer: NodeId, account: Account) -> bool:
        """An answer on it is still being sent."""
        return any(one.account is account for one in self._incoming.get(peer, {}).values())

    def promised(self, peer: NodeId, account: Account, tokens: int) -> None:
        """The requester has vouched for so many completion tokens."""
        account.vouched = max(account.vouched, tokens)
        for incoming in self._incoming.get(peer, {}).values():
            if incoming.account is account:
                incoming.granted.set()

    def lost(self, peer: NodeId) -> None:
        """The peer is gone: nobody reads these answers any more, so their slots are freed."""
        for incoming in list(self._incoming.pop(peer, {}).values()):
            incoming.stream.cancel()
            incoming.granted.set()

    def in_flight(self) -> int:
        return sum(map(len, self._incoming.values()))

    def _ask(self, peer: NodeId, mine: dict[int, Incoming], ask: Ask | Continue) -> None:
        if ask.stream in mine:
            self.hang_up(peer, "protocol error: a stream number was used twice")
            return
        try:
            if len(mine) >= STREAMS_PER_PEER:
                raise AllBusy(f"more than {STREAMS_PER_PEER} requests at once from one node", retry_after=1.0)
            incoming = read_ask(peer, ask)
        except RequestError as error:
            self._refuse(peer, ask.stream, error)
            return
        mine[ask.stream] = incoming
        incoming.stream.on_waits = lambda waits: self._waits(incoming, waits)
        self.spawn(self._pump(incoming))
        self.asked(incoming)

    def _waits(self, incoming: Incoming, waits: Waits | None) -> None:
        """Tell the peer where its request stands. What a full connection loses is said again."""
        position, eta = (waits.position, waits.eta_s) if waits is not None else (0, None)
        eta_ms = 0 if eta is None else min(MOST_ETA_MS, max(1, int(eta * 1000)))
        self.send(incoming.peer, Queued(incoming.number, position, eta_ms))

    def _refuse(self, peer: NodeId, number: int, error: OpenGatewayError) -> None:
        self.counters["refused"] += 1
        self.send(peer, Refused(number, self.refusal(peer, number, error)))

    async def _pump(self, incoming: Incoming) -> None:
        peer, number, stream = incoming.peer, incoming.number, incoming.stream
        accepted = complete = False
        try:
            route = await stream.wait_opened()
            first = await stream.read()  # an engine that says no does so before its first token
            lead = incoming.account.lead = self.lead(incoming)
            await self._push(incoming, Accepted(number, 0, 0, route.engine, lead))
            accepted = True
            await self._chunks(incoming, first)
            finished = cast(Finished, stream.finished)
            complete = True
            self.delivered(incoming, finished)
            if finished.partial_tokens:
                await self._push(incoming, Continued(number, finished.partial_tokens))
            await self._push(incoming, _ended(number, finished))
            self.counters["served"] += 1
        except Cancelled:
            pass  # the peer asked for silence, or is gone
        except OpenGatewayError as error:
            if not accepted:
                self._refuse(peer, number, error)
            else:
                self.counters["failed"] += 1
                self.send(peer, _failed(number, error))
        finally:
            if not complete:
                self.delivered(incoming, _so_far(incoming) if incoming.tokens else None)
            stream.cancel()
            mine = self._incoming.get(peer, {})
            if mine.get(number) is incoming:  # a peer that has restarted begins at 1 again
                del mine[number]

    async def _chunks(self, incoming: Incoming, batch: list[Chunk]) -> None:
        while batch:
            items = items_of(batch)
            start = 0
            while start < len(items):
                part = frame_of(items, start, await self._room(incoming))
                await self._push(incoming, Chunks(incoming.number, incoming.sent, part))
                before = incoming.tokens
                incoming.window -= len(part)
                incoming.sent += len(part)
                incoming.sent_bytes += sum(map(len, part))
                incoming.account.tokens += incoming.tokens - before
                start += len(part)
            batch = await incoming.stream.read()

    async def _room(self, incoming: Incoming) -> int:
        """Chunks that may be sent now, once there are any: what the reader granted, and not beyond the
        lead. Raises `VoucherMissing` when nobody vouches, so that the slot is not held for nothing."""
        while incoming.window == 0:
            incoming.granted.clear()
            await incoming.granted.wait()
            _require_wanted(incoming)
        account = incoming.account
        if not account.lead:
            return incoming.window
        while account.tokens >= account.vouched + account.lead:
            await self._wait_voucher(incoming)
        return min(incoming.window, account.vouched + account.lead - account.tokens)

    async def _wait_voucher(self, incoming: Incoming) -> None:
        account = incoming.account
        patience = VOUCHER_PATIENCE + self.round_trip(incoming.peer)
        try:
            async with asyncio.timeout(patience):
                while account.tokens >= account.vouched + account.lead:
                    incoming.granted.clear()
                    await incoming.granted.wait()
                    _require_wanted(incoming)
        except TimeoutError:
            self.counters["not_vouched"] += 1
            raise VoucherMissing(
                f"{account.tokens} tokens were sent, {account.vouched} vouched for, and no voucher came "
                f"for {patience:.1f} s",
                hint="the answer is broken off here; vouch for what came, and ask for the rest",
            ) from None

    async def _push(self, incoming: Incoming, message: Message) -> None:
        """Send, waiting while the connection is full."""
        waited = 0.0
        while not self.send(incoming.peer, message):
            if incoming.stream.error is not None:
                raise Cancelled
            if waited > CONGESTION_LIMIT:
                # It could not be told of a failure either, and would wait for the rest for ever.
                self.hang_up(incoming.peer, f"nothing could be sent for {CONGESTION_LIMIT:.0f} s")
                raise Cancelled
            await asyncio.sleep(CONGESTION_WAIT)
            waited += CONGESTION_WAIT


def _require_wanted(incoming: Incoming) -> None:
    if incoming.stream.error is not None:
        raise incoming.stream.error


def _so_far(incoming: Incoming) -> Finished:
    return Finished(BROKEN_OFF, least_prompt(incoming.request), incoming.tokens)


def _ended(number: int, finished: Finished) -> Ended:
    return Ended(
        number,
        finished.reason,
        finished.prompt_tokens,
        finished.completion_tokens,
        int(finished.prompt_seconds * 1e6),
        int(finished.generate_seconds * 1e6),
    )


def _failed(number: int, error: OpenGatewayError) -> Failed:
    retry = -1 if error.retry_after is None else int(error.retry_after * 1000)
    return Failed(number, error.code, error.message[:1000], error.hint[:1000], retry)
