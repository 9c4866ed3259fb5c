"""The I/O thread: one asyncio loop that owns every socket of the node.

Sockets of HTTP, engines and peers share one loop on purpose. A token then goes from the engine to the
browser or to the peer without changing threads; with a thread for each, the hand-over alone (wake-up
plus a switch of the GIL) cost 20-30 us of the 60 us that a token may take.

Actors reach it with `call` (tell the loop something) and `run` (wait for the loop to do something).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

R = TypeVar("R")

logger = logging.getLogger(__name__)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class IoLoop:
    """Started by the node before its actors, stopped after them."""

    def __init__(self, host: IoLoop | None = None) -> None:
        """`host`: whose thread this one lives on, where many nodes share a process (tools/crowd.py). It is
        started and stopped by itself; here only what this node began ends with it."""
        self._host = host
        self.loop: asyncio.AbstractEventLoop = _new_loop() if host is None else host.loop
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._live, name="io", daemon=True)

    def start(self) -> None:
        if self._host is None:
            self._thread.start()

    def stop(self, patience: float = 5.0) -> None:
        """Cancel what still runs, and end the thread."""
        if self._host is not None:
            with contextlib.suppress(FutureTimeout):
                self.run(self._cancel(self._tasks), timeout=patience)
            return
        if not self._thread.is_alive():
            return
        with contextlib.suppress(FutureTimeout):
            self.run(self._cancel_all(), timeout=patience)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(patience)
        if not self._thread.is_alive():
            self.loop.close()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Have the loop call this soon. Quietly does nothing once the node is gone."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(function, *args)

    def run(self, work: Coroutine[Any, Any, R], timeout: float | None = None) -> R:
        """Do this on the loop and wait for it. On a timeout the work is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout)
        except FutureTimeout:
            future.cancel()
            raise

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have the loop do this on the side. An error in it is logged, never lost."""
        self.call(self.task, work)

    def task(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """As `spawn`, for those who are on the loop already."""
        task = self.loop.create_task(work)
        self._tasks.add(task)  # asyncio itself keeps only weak references
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task on the I/O loop failed", exc_info=error)

    def _live(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _cancel_all(self) -> None:
        await self._cancel(asyncio.all_tasks())

    async def _cancel(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        others = [task for task in tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
