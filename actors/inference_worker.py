"""One engine: started, watched, asked and ended here. One life of this actor is one life of the engine.

When the engine's process dies, this actor fails with it, and its supervisor starts both anew with
back-off: the world's faults are retried for ever. The Scheduler counts the slots; here everything that
arrives is started at once. The answer itself flows engine -> stream on the I/O loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from actors.io_loop import IoLoop
from actors.kernel import Actor, Address
from actors.messages import (
    EngineEnded,
    Generate,
    Job,
    JobEnded,
    ModelsSeen,
    SchedulerMessage,
    SpeedSeen,
    Tick,
    WorkerMessage,
)
from opengateway.engines.protocol import Engine, ModelInfo
from opengateway.engines.stream import Finished, Route
from opengateway.errors import Cancelled, EngineFailed, EngineUnavailable, OpenGatewayError
from opengateway.routing.views import Price, ServedModel, WorkerView

logger = logging.getLogger(__name__)

START_LIMIT = 300.0
"""Seconds for an engine to start: a 70B model is read from a slow disk in three to four minutes."""
CLOSE_LIMIT = 8.0
"""Seconds to end a child; it is killed after that."""
POLL = 10.0
"""Seconds between looks at what an engine serves: models are pulled and removed behind our back."""
SMOOTHING = 0.3
"""Weight of the newest speed in the running mean: three answers outweigh all before them."""


class EngineDied(Exception):
    """The engine's process ended by itself."""


class InferenceWorker(Actor[WorkerMessage]):
    def __init__(
        self,
        io: IoLoop,
        engine: Engine,
        *,
        node: str,
        node_name: str,
        price_of: Callable[[ModelInfo], Price],
        scheduler: Address[SchedulerMessage],
        changed: Callable[[WorkerView], object],
    ) -> None:
        super().__init__()
        self._io = io
        self._engine = engine
        self._node = node
        self._node_name = node_name
        self._price_of = price_of
        self._scheduler = scheduler
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._speeds: dict[str, tuple[float, float]] = {}
        self._infos: tuple[ModelInfo, ...] = ()
        self._view: WorkerView

    def on_start(self) -> None:
        self._view = WorkerView(self.address.name, self._engine.name, "starting")
        self._changed(self._view)
        self._io.run(self._engine.start(), START_LIMIT)
        self._infos = tuple(self._io.run(self._engine.models(), START_LIMIT))
        self._io.spawn(self._watch())
        self._publish("running")
        self.address.tell_later(POLL, Tick(), replace=True)

    def on_exit(self) -> None:
        """Whatever was being answered is told so before the engine is ended."""
        down = str(self.failure or "stopped")
        self._changed(replace(self._view, state="down", detail=down))
        with contextlib.suppress(Exception):
            self._io.run(self._cancel_all(), CLOSE_LIMIT)
        self._io.run(self._engine.close(), CLOSE_LIMIT)

    def on_receive(self, message: WorkerMessage) -> Any:
        match message:
            case Generate(job):
                self._io.call(self._begin, job)
            case EngineEnded(how):
                raise EngineDied(how)
            case SpeedSeen(model, prompt_tps, generate_tps):
                self._speed(model, prompt_tps, generate_tps)
            case ModelsSeen(models, error):
                self._seen(models, error)
            case Tick():
                self._io.spawn(self._poll())
        return None

    # -- on this actor's thread ----------------------------------------------------------

    def _publish(self, state: str, detail: str = "") -> None:
        models = tuple(self._served(info) for info in self._infos)
        self._view = WorkerView(
            self.address.name, self._engine.name, state, models, self._engine.slots, detail
        )
        self._changed(self._view)

    def _served(self, info: ModelInfo) -> ServedModel:
        prompt_tps, generate_tps = self._speeds.get(info.name, (0.0, 0.0))
        return ServedModel(
            name=info.name,
            context=info.context,
            parameters_m=round(info.parameters * 1000),
            prompt_tps=prompt_tps,
            generate_tps=generate_tps,
            price=self._price_of(info),
            demo=info.demo,
            digest=info.digest,
            quantisation=info.quantisation,
            size=info.size,
            abilities=tuple(sorted(info.abilities)),
        )

    def _seen(self, models: tuple[ModelInfo, ...], error: OpenGatewayError | None) -> None:
        self.address.tell_later(POLL, Tick(), replace=True)
        if error is not None and self._view.state == "running":
            logger.warning("%s does not answer: %s", self.address.name, error)
            self._publish("down", error.message)
        elif error is None and (self._view.state != "running" or models != self._infos):
            self._infos = models
            self._publish("running")

    def _speed(self, model: str, prompt_tps: float, generate_tps: float) -> None:
        before = self._speeds.get(model)
        old_prompt, old_generate = before or (prompt_tps, generate_tps)
        mean = (_mean(old_prompt, prompt_tps), _mean(old_generate, generate_tps))
        self._speeds[model] = mean
        # Neighbours plan with it, so they hear of a first figure and of real change, not of every answer.
        if before is None or abs(mean[1] - self._advertised(model)) > 0.2 * self._advertised(model):
            self._publish(self._view.state, self._view.detail)

    def _advertised(self, model: str) -> float:
        return next((m.generate_tps for m in self._view.models if m.name == model), 0.0)

    # -- on the loop -----------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        task = self._io.task(self._answer(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        job.stream.on_cancel = task.cancel
        if job.stream.done:
            task.cancel()

    async def _answer(self, job: Job) -> None:
        error: OpenGatewayError | None = None
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
            error = job.stream.error or Cancelled()
        except OpenGatewayError as failure:
            error = failure
        except Exception as failure:
            logger.exception("%s failed in an unexpected way", self._engine.name)
            error = EngineFailed(f"the engine {self._engine.name} failed: {type(failure).__name__}")
        finally:
            self._scheduler.tell(JobEnded(job, self.address.name, job.stream.finished, error))
        if error is None:
            self._note_speed(job)

    def _note_speed(self, job: Job) -> None:
        finished, stream = job.stream.finished, job.stream
        if (
            finished is None
            or stream.first_at is None
            or stream.ended_at is None
            or finished.completion_tokens < 8
        ):
            return  # too short to tell a speed from a hiccup
        seconds = finished.generate_seconds or stream.ended_at - stream.first_at
        prompt_seconds = finished.prompt_seconds
        prompt_tps = finished.prompt_tokens / prompt_seconds if prompt_seconds > 0 else 0.0
        if seconds > 0:
            generate_tps = finished.completion_tokens / seconds
            self.address.tell(SpeedSeen(job.request.model, prompt_tps, generate_tps))

    async def _watch(self) -> None:
        self.address.tell(EngineEnded(await self._engine.ended()), express=True)

    async def _poll(self) -> None:
        try:
            seen = ModelsSeen(tuple(await self._engine.models()))
        except OpenGatewayError as error:
            seen = ModelsSeen((), error)
        except Exception as error:
            seen = ModelsSeen((), EngineUnavailable(f"{self._engine.name}: {type(error).__name__}"))
        self.address.tell(seen)

    async def _cancel_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _mean(old: float, new: float) -> float:
    return old + SMOOTHING * (new - old) if old and new else new or old
