"""One answer on its way: bounded, one producer, one reader, both on the I/O loop.

A job hands its stream over once; after that chunks flow engine -> HTTP or engine -> wire without
passing through a mailbox. The reader takes everything that is waiting in one go, so a burst of 50
tokens costs one wake-up and one write, and a slow reader makes `room()` wait: that is the whole of
back-pressure, end to end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from opengateway.errors import Cancelled, OpenGatewayError

Chunk: TypeAlias = str | dict[str, Any]
"""Usually a piece of text (`delta.content`). A dict is a whole OpenAI delta with more than text in
it (tool calls, reasoning); its `logprobs`, if any, belong beside the delta in the choice. For an
embedding it is the whole response."""

STREAM_LIMIT = 256
"""Chunks that wait for the reader before the producer does; about 2 s of a fast engine."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How an answer ended: `reason` as OpenAI has it (stop, length, tool_calls, content_filter)."""

    reason: str
    prompt_tokens: int
    completion_tokens: int
    prompt_seconds: float = 0.0
    """Time the engine took to read the prompt; 0 where it does not say."""
    generate_seconds: float = 0.0
    partial_tokens: int = 0
    """Of `prompt_tokens`, those of `GenerateRequest.partial`; 0 where the engine does not tell them apart."""


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers: `node` is a short id, `name` what its owner calls it, `ring` local, lan, ..."""

    node: str
    name: str
    ring: str
    model: str
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Waits:
    """Where a request stands in a queue, here or at a peer."""

    position: int
    """1 is next."""
    eta_s: float | None = None
    """Seconds until it begins; None where nobody can say."""

    def words(self) -> str:
        """For people: "2nd in queue, about 8 s"."""
        when = "" if self.eta_s is None else f", about {_seconds(self.eta_s)}"
        return f"{ordinal(self.position)} in queue{when}"


def ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else endings.get(number % 10, 'th')}"


def _seconds(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"


class Seam(Protocol):
    """Where somebody else goes on with an answer that broke off: see engines/seam.py."""

    stopped: bool
    """The answer is complete with what `take` gave last, whatever else may come."""

    def take(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Those that are new to the reader. Raises `OpenGatewayError` where they do not fit."""

    def whole(self, finished: Finished) -> Finished:
        """The end of the whole answer. Raises `OpenGatewayError` where it came too early."""


class Stream:
    """See the module. Nothing here may be called from another thread."""

    def __init__(self, limit: int = STREAM_LIMIT) -> None:
        self.route: Route | None = None
        self.routes: list[Route] = []
        """All that gave some of it, in order."""
        self.finished: Finished | None = None
        self.error: OpenGatewayError | None = None
        self.created = time.monotonic()
        self.first_at: float | None = None
        """Monotonic seconds of the first chunk: time to first token is `first_at - created`."""
        self.moved_at = self.created
        """Monotonic seconds of the newest chunk: an answer that does not move holds a slot for nothing."""
        self.ended_at: float | None = None
        self.passed = 0
        """Chunks that the reader has taken."""
        self.shown: list[Chunk] | None = None
        """All chunks so far, where somebody may have to go on from them; None: not kept."""
        self.on_cancel: Callable[[], object] | None = None
        """Set by whoever produces. Called once, on the loop, when the reader goes away."""
        self.on_drain: Callable[[int], object] | None = None
        """Called with the number of chunks that the reader has taken: flow control across the wire."""
        self.waits: Waits | None = None
        """Where it stands in a queue; None: in none."""
        self.on_waits: Callable[[Waits | None], object] | None = None
        """Called with every change of `waits`, and with the same again as a sign of life."""
        self.on_first: Callable[[], object] | None = None
        """Called once, with the first chunk."""
        self.on_end: Callable[[], object] | None = None
        """Called once, when nothing more may be put, however that came about."""
        self._costs: dict[bytes, int] = {}
        self._seam: Seam | None = None
        self._limit = limit
        self._waiting: list[Chunk] = []
        self._reader: asyncio.Future[None] | None = None
        self._producer: asyncio.Future[None] | None = None
        self._cancelled = False

    # -- the producer ----------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Nothing more may be put."""
        return self.finished is not None or self.error is not None

    def opened(self, route: Route) -> None:
        """Somebody has accepted the request."""
        self.route = route
        self._wake_reader()

    def queued(self, waits: Waits | None) -> None:
        """It waits, or begins now (None)."""
        if not self.done:
            self.waits = waits
            if self.on_waits is not None:
                self.on_waits(waits)

    def put(self, chunks: Iterable[Chunk]) -> bool:
        """Append. False means that the reader is behind: `await room()` before the next."""
        if self.done:
            return True
        self.moved_at = time.monotonic()
        if self._seam is not None and not (chunks := self._joined(self._seam, chunks)):
            return True
        if self.first_at is None:
            self.first_at = self.moved_at
            if self.on_first is not None:
                self.on_first()
        if self.route is not None and (not self.routes or self.routes[-1] is not self.route):
            self.routes.append(self.route)
        self._waiting.extend(chunks)
        if self.shown is not None:
            self.shown.extend(chunks)
        self._wake_reader()
        return len(self._waiting) < self._limit

    def _joined(self, seam: Seam, chunks: Iterable[Chunk]) -> list[Chunk]:
        try:
            new = seam.take(chunks)
        except OpenGatewayError as error:
            self.give_up(error)
            return []
        if seam.stopped:
            asyncio.get_running_loop().call_soon(self._stop)
        return new

    def _stop(self) -> None:
        """The words that end it have come, half from one and half from the other: whoever makes more of
        it is told to leave off."""
        tokens = len(self.shown or ())
        producer, self.on_cancel = self.on_cancel, None
        self.finish(Finished("stop", 0, tokens))
        if producer is not None:
            producer()

    def resume(self, seam: Seam) -> None:
        """Another is going to produce the rest."""
        self._seam = seam
        self.moved_at = time.monotonic()

    async def room(self) -> None:
        """Wait until the reader has caught up, or has gone."""
        while len(self._waiting) >= self._limit and not self.done:
            self._producer = asyncio.get_running_loop().create_future()
            await self._producer

    def finish(self, finished: Finished) -> None:
        if self.done:
            return
        if self._seam is not None:
            try:
                finished = self._seam.whole(finished)
            except OpenGatewayError as error:
                self.fail(error)
                return
        if self.route is not None and not self.routes:
            self.routes.append(self.route)
        self.finished = finished
        self._end()

    def charge(self, rid: bytes, amount: int) -> None:
        """The request `rid`, one of those that it took, costs this; said again where it is known better."""
        self._costs[rid] = amount

    @property
    def cost(self) -> int | None:
        """Micro-credits that the answer cost us; None if it cost nothing or is open."""
        return sum(self._costs.values()) if self._costs else None

    def fail(self, error: OpenGatewayError) -> None:
        if not self.done:
            self.error = error
            self._end()

    def _end(self) -> None:
        self.ended_at = time.monotonic()
        self._wake_reader()
        if self.on_end is not None:
            self.on_end()

    # -- the reader ------------------------------------------------------------------

    async def wait_opened(self) -> Route:
        """Wait until somebody answers. Raises the error if nobody does."""
        while self.route is None:
            if self.error is not None:
                raise self.error
            await self._wait()
        return self.route

    async def read(self) -> list[Chunk]:
        """All chunks that wait; [] at the end, after which `finished` is set. Raises the error
        that ended the answer, once the chunks before it have been read."""
        while not self._waiting:
            if self.error is not None:
                raise self.error
            if self.finished is not None:
                return []
            await self._wait()
        taken, self._waiting = self._waiting, []
        if self._producer is not None and not self._producer.done():
            self._producer.set_result(None)
        self.passed += len(taken)
        if self.on_drain is not None:
            self.on_drain(len(taken))
        return taken

    def cancel(self) -> None:
        """The reader goes away. What it has not read is dropped; the producer is told once."""
        if self._cancelled:
            return
        self._cancelled = True
        ended_before = self.done
        self.fail(Cancelled())
        self._waiting.clear()
        if self._producer is not None and not self._producer.done():
            self._producer.set_result(None)
        if not ended_before and self.on_cancel is not None:
            self.on_cancel()

    def give_up(self, error: OpenGatewayError) -> None:
        """The answer has come to a standstill: end it with this error, and let go of what makes it."""
        if self.done:
            return
        self.fail(error)
        if self._producer is not None and not self._producer.done():
            self._producer.set_result(None)
        if self.on_cancel is not None:
            self.on_cancel()

    async def _wait(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
