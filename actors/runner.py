"""The answers that one engine is giving now. Lives on the I/O loop, for one life of its InferenceWorker.

The Scheduler reaches it directly: a request that also went through the worker's mailbox would wake one
more thread, and at 2,000 requests/s each wake-up costs the I/O thread 15 us of waiting for the GIL.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TypeAlias

from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.messages import Job, JobEnded, SchedulerMessage, SpeedSeen
from opengateway.engines.protocol import Engine
from opengateway.engines.stream import Finished, Route
from opengateway.errors import AllBusy, Cancelled, EngineFailed, OpenGatewayError

logger = logging.getLogger(__name__)

SHORTEST = 8
"""Completion tokens from which an answer tells a speed from a hiccup."""
SHORTEST_READ = 64
"""Tokens of texts from which embedding them tells how fast the engine reads, and not how far away it is."""


Served: TypeAlias = Callable[[Job, OpenGatewayError | None], object]
"""Told of every answer that an engine is done with, on the loop."""


def _nobody(_job: Job, _error: OpenGatewayError | None) -> None:
    """Nobody wants to know."""


class Runner:
    def __init__(
        self,
        io: IoLoop,
        engine: Engine,
        place: str,
        *,
        node: str,
        node_name: str,
        scheduler: Address[SchedulerMessage],
        speed: Callable[[SpeedSeen], object],
        served: Served = _nobody,
    ) -> None:
        self._io = io
        self._engine = engine
        self._place = place
        self._node = node
        self._node_name = node_name
        self._scheduler = scheduler
        self._speed = speed
        self._served = served
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = ""

    def begin(self, job: Job) -> None:
        """Answer this now. However it ends, the Scheduler hears of it exactly once."""
        if self._closed:
            error = AllBusy("the engine is being restarted", retry_after=1.0)
            self._scheduler.tell(JobEnded(job, self._place, None, error))
            return
        task = self._io.task(self._answer(job))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._done(task, job))
        job.stream.on_cancel = task.cancel
        if job.stream.done:
            task.cancel()

    def _done(self, task: asyncio.Task[None], job: Job) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # before its first step: nothing of `_answer` has run, not even its `finally`
            self._scheduler.tell(JobEnded(job, self._place, None, job.stream.error or self._ended()))

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    async def close(self, why: str) -> None:
        """Break off every answer; nothing begins any more."""
        self._closed = why
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, job: Job) -> None:
        error: OpenGatewayError | None = None
        began = time.monotonic()
        try:
            request, stream = job.request, job.stream
            stream.opened(Route(self._node, self._node_name, "local", request.model, self._engine.name))
            if request.kind == "embedding":
                response = await self._engine.embed(request)
                stream.put([response])
                stream.finish(Finished("stop", int(response.get("usage", {}).get("prompt_tokens", 0)), 0))
            else:
                await self._engine.generate(request, stream)
        except asyncio.CancelledError:
            # Either the caller went away, or the engine was ended under the answer.
            error = job.stream.error or self._ended()
        except OpenGatewayError as failure:
            error = failure
        except Exception as failure:
            logger.exception("%s failed in an unexpected way", self._place)
            error = EngineFailed(f"the engine {self._engine.name} failed: {type(failure).__name__}")
        finally:
            self._served(job, error)
            self._scheduler.tell(JobEnded(job, self._place, job.stream.finished, error))
        if error is None and job.broke is None:
            self._note_speed(job, began)

    def _ended(self) -> OpenGatewayError:
        if self._closed:
            return EngineFailed(
                f"the engine ended while it was answering: {self._closed}",
                hint="the node starts it again; repeat the request",
                retry_after=2.0,
            )
        return Cancelled()

    def _note_speed(self, job: Job, began: float) -> None:
        finished, stream = job.stream.finished, job.stream
        if finished is None or stream.first_at is None or stream.ended_at is None:
            return
        model, at_once = job.request.model, max(1, len(self._tasks))
        if job.request.kind == "embedding":
            if finished.prompt_tokens >= SHORTEST_READ:
                self._speed(
                    SpeedSeen(model, _rate(finished.prompt_tokens, stream.ended_at - began), 0.0, at_once)
                )
            return
        if finished.completion_tokens < SHORTEST:
            return
        # What comes in one piece comes in no time: then all of it counts, the reading of the prompt as well.
        since = stream.first_at if job.request.stream else began
        seconds = finished.generate_seconds or stream.ended_at - since
        prompt_tps = _rate(finished.prompt_tokens, finished.prompt_seconds)
        if tps := _rate(finished.completion_tokens, seconds):
            self._speed(SpeedSeen(model, prompt_tps, tps, at_once))


def _rate(tokens: int, seconds: float) -> float:
    """Tokens/s; 0 where no time has passed."""
    return tokens / seconds if seconds > 0 else 0.0
