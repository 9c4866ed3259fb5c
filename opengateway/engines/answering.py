"""Peers' requests at this node: read, handed to whoever serves them, and pumped back.

Runs on the I/O loop. A peer that stops reading costs one window of chunks a stream and blocks nobody:
its pump waits for a grant, the stream fills, the engine's adapter waits for room.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import orjson

from opengateway.engines.protocol import GenerateRequest, Kind
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import AllBusy, BadRequest, Cancelled, EngineFailed, OpenGatewayError, RequestError
from opengateway.units import NodeId
from opengateway.wire.limits import FRAME_LIMIT, STREAMS_PER_PEER
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
)

FRAME_CHARS = 64 * 1024
"""Characters of text in one frame; with 4 bytes each it stays far below the frame limit of 1 MiB."""
DELTA_LIMIT = FRAME_LIMIT - 16 * 1024
"""Bytes of a delta that is not text, and so cannot be cut: the embeddings of some 60 texts."""
CONGESTION_WAIT = 0.02
"""Seconds before a full connection is tried again: a few round trips on a LAN."""
CONGESTION_LIMIT = 30.0
"""Seconds that a connection may stay full before the answer is given up."""


@dataclass(eq=False, slots=True)
class Incoming:
    """One request of one peer."""

    peer: NodeId
    number: int
    request: GenerateRequest
    opening: bytes
    deadline_s: float
    stream: Stream = field(default_factory=Stream)
    window: int = STREAM_WINDOW
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    job: object = None
    """Whatever the node wants to find again; the wire does not look at it."""


@dataclass(slots=True)
class Answerer:
    """All requests of all peers."""

    send: Callable[[NodeId, Message], bool]
    hang_up: Callable[[NodeId, str], None]
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    asked: Callable[[Incoming], None]
    """Hand the request on. Whoever gets it opens, fills and ends `incoming.stream`."""
    delivered: Callable[[Incoming, Finished], None]
    """The whole answer has been sent; called before the peer is told so."""
    refusal: Callable[[NodeId, int, OpenGatewayError], bytes]
    counters: dict[str, int] = field(default_factory=lambda: {"served": 0, "refused": 0, "failed": 0})
    _incoming: dict[NodeId, dict[int, Incoming]] = field(default_factory=dict)

    def heard(self, peer: NodeId, message: Ask | Cancel | Grant) -> None:
        mine = self._incoming.setdefault(peer, {})
        match message:
            case Ask() as ask:
                self._ask(peer, mine, ask)
            case Cancel(stream=number):
                if incoming := mine.get(number):
                    incoming.stream.cancel()
                    incoming.granted.set()
            case Grant(stream=number, chunks=chunks):
                if incoming := mine.get(number):
                    incoming.window = min(incoming.window + chunks, STREAM_WINDOW)
                    incoming.granted.set()

    def lost(self, peer: NodeId) -> None:
        """The peer is gone: nobody reads these answers any more, so their slots are freed."""
        for incoming in list(self._incoming.pop(peer, {}).values()):
            incoming.stream.cancel()
            incoming.granted.set()

    def in_flight(self) -> int:
        return sum(map(len, self._incoming.values()))

    def _ask(self, peer: NodeId, mine: dict[int, Incoming], ask: Ask) -> None:
        if ask.stream in mine:
            self.hang_up(peer, "protocol error: a stream number was used twice")
            return
        try:
            if len(mine) >= STREAMS_PER_PEER:
                raise AllBusy(f"more than {STREAMS_PER_PEER} requests at once from one node", retry_after=1.0)
            incoming = _read(peer, ask)
        except RequestError as error:
            self._refuse(peer, ask.stream, error)
            return
        mine[ask.stream] = incoming
        self.spawn(self._pump(incoming))
        self.asked(incoming)

    def _refuse(self, peer: NodeId, number: int, error: OpenGatewayError) -> None:
        self.counters["refused"] += 1
        self.send(peer, Refused(number, self.refusal(peer, number, error)))

    async def _pump(self, incoming: Incoming) -> None:
        peer, number, stream = incoming.peer, incoming.number, incoming.stream
        accepted = False
        try:
            route = await stream.wait_opened()
            first = await stream.read()  # an engine that says no does so before its first token
            await self._push(incoming, Accepted(number, 0, 0, route.engine))
            accepted = True
            await self._chunks(incoming, first)
            finished = cast(Finished, stream.finished)
            self.delivered(incoming, finished)
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
            stream.cancel()
            mine = self._incoming.get(peer, {})
            if mine.get(number) is incoming:  # a peer that has restarted begins at 1 again
                del mine[number]

    async def _chunks(self, incoming: Incoming, batch: list[Chunk]) -> None:
        sent = 0
        while batch:
            items = _items(batch)
            start = 0
            while start < len(items):
                while incoming.window == 0:
                    incoming.granted.clear()
                    await incoming.granted.wait()
                    if incoming.stream.error is not None:
                        raise incoming.stream.error
                part = _frame(items, start, incoming.window)
                await self._push(incoming, Chunks(incoming.number, sent, part))
                incoming.window -= len(part)
                start, sent = start + len(part), sent + len(part)
            batch = await incoming.stream.read()

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


def _read(peer: NodeId, ask: Ask) -> Incoming:
    if ask.kind not in get_args(Kind):
        raise BadRequest(f"unknown kind of request: {ask.kind[:20]!r}", hint="upgrade this node")
    body: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        body = orjson.loads(ask.body)
    if not isinstance(body, dict):
        raise BadRequest("the request body is not a JSON object")
    if _links_away(body):
        raise BadRequest(
            "images must come inside the request (data: URLs)",
            hint="an address would make this node fetch what a stranger names",
        )
    request = GenerateRequest(cast(Kind, ask.kind), ask.model, body, ask.streaming)
    return Incoming(peer, ask.stream, request, ask.opening, ask.deadline_ms / 1000)


def _items(batch: list[Chunk]) -> list[str | bytes]:
    """The chunks as they travel: texts that are too long for a frame in parts."""
    items: list[str | bytes] = []
    for chunk in batch:
        if not isinstance(chunk, str):
            items.append(orjson.dumps(chunk))
            if len(items[-1]) > DELTA_LIMIT:
                hint = "ask for less at once, or ask a node that serves the model itself"
                raise EngineFailed("a part of the answer is too large to travel between nodes", hint=hint)
        elif len(chunk) <= FRAME_CHARS:
            items.append(chunk)
        else:
            items += [chunk[start : start + FRAME_CHARS] for start in range(0, len(chunk), FRAME_CHARS)]
    return items


def _links_away(body: dict[str, Any]) -> bool:
    """Whether an image of a message is an address that somebody would have to fetch."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("content") if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else ():
            image = part.get("image_url") if isinstance(part, dict) else None
            url = image.get("url") if isinstance(image, dict) else image
            if url is not None and not str(url).startswith("data:"):
                return True
    return False


def _frame(items: list[str | bytes], start: int, window: int) -> list[str | bytes]:
    """As many items as fit into one frame; at least one."""
    part: list[str | bytes] = []
    total = 0
    for item in items[start : start + window]:
        total += len(item)
        if part and total > FRAME_CHARS:  # a delta may be larger: it goes alone
            break
        part.append(item)
    return part


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
