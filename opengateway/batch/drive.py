"""Ask all requests of a batch, as many at once as the network has room for, and keep every answer.

Runs in one event loop; whoever calls says how one request is asked (over HTTP, or inside the node).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from opengateway.batch.lines import Line
from opengateway.batch.output import Output, answered, unanswered
from opengateway.errors import OpenGatewayError

MOST_AT_ONCE: Final = 256
"""Requests in flight, whatever capacity there is: each holds a connection to the node."""
AHEAD: Final = 2
"""Requests beyond the capacity, so that a slot which gets free finds the next one waiting in the node's
queue."""
TRIES: Final = 5
"""Times that a request is asked which fails for a reason that passes."""
PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 60.0
LOOK_EVERY_S: Final = 2.0
"""Between looks at the capacity, and between syncs of the output."""
WINDOW_S: Final = 30.0
"""Seconds that the rate is measured over."""


class Reply(NamedTuple):
    """What came of one request."""

    status: int
    request_id: str
    body: Any
    retry_after: float | None = None


Ask = Callable[[Line], Awaitable[Reply]]
"""Raises `OpenGatewayError` for what ends the whole batch: the node is gone, the file has changed."""


@dataclass(slots=True)
class Progress:
    total: int
    done: int = 0
    failed: int = 0
    resumed: int = 0
    """Of the done ones, those that an earlier run had answered."""
    running: int = 0
    capacity: int = 0
    _ends: deque[float] = field(default_factory=deque)

    def ended(self, *, failed: bool) -> None:
        now = time.monotonic()
        self.done += 1
        self.failed += failed
        self._ends.append(now)
        while self._ends and now - self._ends[0] > WINDOW_S:
            self._ends.popleft()

    @property
    def rate(self) -> float:
        """Answers a second, lately; 0 until there is something to measure."""
        if len(self._ends) < 2:
            return 0.0
        return (len(self._ends) - 1) / max(0.001, self._ends[-1] - self._ends[0])

    @property
    def eta_s(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None


class Drive:
    """One batch under way."""

    def __init__(
        self,
        lines: Iterable[Line],
        output: Output,
        ask: Ask,
        *,
        name: str,
        capacity: Callable[[], Awaitable[int]],
        changed: Callable[[Progress], object] = lambda _: None,
    ) -> None:
        """`name` makes the ids of the answers; `capacity`: how many requests can be answered at once now."""
        every = list(lines)
        self._left = deque(line for line in every if line.custom_id not in output.done)
        resumed = len(every) - len(self._left)
        failed = sum(1 for line in every if line.custom_id in output.failed)
        self.progress = Progress(len(every), resumed, failed, resumed)
        self._output, self._ask, self._name = output, ask, name
        self._capacity, self._changed = capacity, changed
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Progress:
        """Until every request has its line. Raises what `ask` raises; whatever has come by then is kept.
        Being cancelled leaves the answers in flight to be asked again."""
        looking = asyncio.create_task(self._look())
        try:
            await self._first_look()
            while self._left or self._tasks:
                while self._left and len(self._tasks) < self._at_once():
                    self._tasks.add(asyncio.create_task(self._one(self._left.popleft())))
                self.progress.running = len(self._tasks)
                ended, self._tasks = await asyncio.wait(
                    self._tasks, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended:
                    task.result()
        finally:
            for task in (looking, *self._tasks):
                task.cancel()
            await asyncio.gather(looking, *self._tasks, return_exceptions=True)
            self._output.sync()
        self._changed(self.progress)
        return self.progress

    def _at_once(self) -> int:
        return max(1, min(MOST_AT_ONCE, self.progress.capacity + AHEAD))

    async def _first_look(self) -> None:
        self.progress.capacity = await self._capacity()
        self._changed(self.progress)

    async def _look(self) -> None:
        """How much room there is now, and what was written is on the disk."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self.progress.capacity = await self._capacity()
            except OpenGatewayError:
                self.progress.capacity = 0  # the next request says what is wrong
            await asyncio.to_thread(self._output.sync)
            self._changed(self.progress)

    async def _one(self, line: Line) -> None:
        reply = await self._ask(line)
        for tried in range(1, TRIES):
            if reply.status not in PASSING:
                break
            await asyncio.sleep(min(MOST_PAUSE_S, reply.retry_after or PAUSE_S * 2**tried))
            reply = await self._ask(line)
        failed = reply.status != 200
        if reply.status:
            row = answered(self._name, line.custom_id, reply.status, reply.request_id, reply.body)
        else:
            row = unanswered(self._name, line.custom_id, "request_failed", str(reply.body))
        self._output.add(line.custom_id, row, failed=failed)
        self.progress.ended(failed=failed)
        self._changed(self.progress)
