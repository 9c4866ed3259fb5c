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
from typing import Any, TypeAlias

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


class Stream:
    """See the module. Nothing here may be called from another thread."""

    def __init__(self, limit: int = STREAM_LIMIT) -> None:
        self.route: Route | None = None
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
        self.cost: int | None = None
        """Micro-credits that the answer cost us, once settled; None if it cost nothing or is open."""
        self.on_cancel: Callable[[], object] | None = None
        """Set by whoever produces. Called once, on the loop, when the reader goes away."""
        self.on_drain: Callable[[int], object] | None = None
        """Called with the number of chunks that the reader has taken: flow control across the wire."""
        self.waits: Waits | None = None
        """Where it stands in a queue; None: in none."""
        self.on_waits: Callable[[Waits | None], object] | None = None
        """Called with every change of `waits`, and with the same again as a sign of life."""
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
        if self.first_at is None:
            self.first_at = self.moved_at
        self._waiting.extend(chunks)
        self._wake_reader()
        return len(self._waiting) < self._limit

    async def room(self) -> None:
        """Wait until the reader has caught up, or has gone."""
        while len(self._waiting) >= self._limit and not self.done:
            self._producer = asyncio.get_running_loop().create_future()
            await self._producer

    def finish(self, finished: Finished) -> None:
        if not self.done:
            self.finished = finished
            self.ended_at = time.monotonic()
            self._wake_reader()

    def fail(self, error: OpenGatewayError) -> None:
        if not self.done:
            self.error = error
            self.ended_at = time.monotonic()
            self._wake_reader()

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
