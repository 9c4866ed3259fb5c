"""One engine: started, watched, asked and ended here. One life of this actor is one life of the engine.

When the engine's process dies, this actor fails with it, and its supervisor starts both anew with
back-off: the world's faults are retried for ever. The answers themselves are given on the I/O loop
(runner.py), where the Scheduler, who counts the slots, hands them in.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.io_loop import IoLoop
from actors.kernel import Actor, Address
from actors.measuring import measure
from actors.messages import (
    EngineEnded,
    ModelsSeen,
    SchedulerMessage,
    SpeedSeen,
    Tick,
    WorkerMessage,
)
from actors.runner import Runner, Served
from opengateway.engines.protocol import Engine, ModelInfo
from opengateway.errors import EngineUnavailable, OpenGatewayError
from opengateway.models.speeds import Speeds
from opengateway.routing.views import Price, ServedModel, WorkerView

logger = logging.getLogger(__name__)

START_LIMIT = 300.0
"""Seconds for an engine to start: a 70B model is read from a slow disk in three to four minutes."""
CLOSE_LIMIT = 8.0
"""Seconds to end a child; it is killed after that."""
POLL = 10.0
"""Seconds between looks at what an engine serves: models are pulled and removed behind our back."""
SAVE_EVERY = 60.0
MEASURE_AFTER = 30.0
"""Seconds after its start in which an engine is asked by users, or is measured."""


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
        runners: dict[str, Runner],
        changed: Callable[[WorkerView], object],
        served: Served,
        speeds: Path | None = None,
    ) -> None:
        """`speeds`: the folder that remembers how fast engines are."""
        super().__init__()
        self._io = io
        self._engine = engine
        self._node = node
        self._node_name = node_name
        self._price_of = price_of
        self._scheduler = scheduler
        self._runners = runners
        self._changed = changed
        self._served_to = served
        self._runner: Runner | None = None
        self._folder = speeds
        self._speeds = Speeds()
        self._measured: set[str] = set()
        """Models that were measured in this life, or tried to."""
        self._saved = self._began = time.monotonic()
        self._infos: tuple[ModelInfo, ...] = ()
        self._view: WorkerView

    def on_start(self) -> None:
        if self._folder is not None:
            self._speeds.path = self._folder / f"{self.address.name}.json"
            self._speeds.load()
        self._view = WorkerView(self.address.name, self._engine.name, "starting")
        self._changed(self._view)
        self._io.run(self._engine.start(), START_LIMIT)
        self._infos = tuple(self._io.run(self._engine.models(), START_LIMIT))
        self._runner = self._runners[self.address.name] = Runner(
            self._io,
            self._engine,
            self.address.name,
            node=self._node,
            node_name=self._node_name,
            scheduler=self._scheduler,
            speed=self.address.tell,
            served=self._served_to,
        )
        self._io.spawn(self._watch())
        self._publish("running")
        self.address.tell_later(POLL, Tick(), replace=True)

    def on_exit(self) -> None:
        """Whatever was being answered is told so before the engine is ended."""
        down = str(self.failure or "stopped")
        self._changed(replace(self._view, state="down", detail=down))
        if self._runner is not None:
            self._runners.pop(self.address.name, None)
            with contextlib.suppress(Exception):
                self._io.run(self._runner.close(down), CLOSE_LIMIT)
        with contextlib.suppress(OSError):
            self._speeds.save()
        self._io.run(self._engine.close(), CLOSE_LIMIT)

    def on_receive(self, message: WorkerMessage) -> Any:
        match message:
            case EngineEnded(how):
                raise EngineDied(how)
            case SpeedSeen():
                self._speed(message)
            case ModelsSeen(models, error):
                self._seen(models, error)
            case Tick():
                self._io.spawn(self._poll())
                self._upkeep(time.monotonic())
        return None

    # -- on this actor's thread ----------------------------------------------------------

    def _publish(self, state: str, detail: str = "") -> None:
        models = tuple(self._served(info) for info in self._infos)
        self._view = WorkerView(
            self.address.name, self._engine.name, state, models, self._engine.slots, detail
        )
        self._changed(self._view)

    def _served(self, info: ModelInfo) -> ServedModel:
        speed = self._speeds.of(info.name)
        return ServedModel(
            name=info.name,
            context=info.context,
            parameters_m=round(info.parameters * 1000),
            prompt_tps=speed.prompt,
            generate_tps=speed.generate,
            loaded_tps=speed.loaded,
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

    def _speed(self, seen: SpeedSeen) -> None:
        speed = self._speeds.seen(
            seen.model, seen.prompt_tps, seen.generate_tps, at_once=seen.at_once, slots=self._engine.slots
        )
        # Neighbours plan with it, so they hear of a first figure and of real change, not of every answer. How
        # fast prompts are read is another figure for each length, and only embeddings are placed by it alone.
        told = next((one for one in self._view.models if one.name == seen.model), None)
        if told is not None and (
            _far(speed.generate, told.generate_tps, 0.2) or _far(speed.prompt, told.prompt_tps, 0.5)
        ):
            self._publish(self._view.state, self._view.detail)

    def _upkeep(self, now: float) -> None:
        """Write down what was learned, and measure what nobody has asked for yet."""
        if now - self._saved > SAVE_EVERY:
            self._saved = now
            with contextlib.suppress(OSError):  # a full disk: it is measured anew, and doctor says so
                self._speeds.save()
        runner = self._runner
        if runner is None or runner.busy or now - self._began < MEASURE_AFTER or not self._measurable():
            return
        [model] = self._infos
        self._measured.add(model.name)
        self._io.spawn(measure(self._engine, model.name, lambda: runner.busy, self.address.tell))

    def _measurable(self) -> bool:
        """Its one model is in memory anyway: an engine with many would have to load each for it."""
        if len(self._infos) != 1 or self._engine.name != "llama_server":
            return False
        [model] = self._infos
        speed = self._speeds.of(model.name)
        return (
            model.name not in self._measured
            and "completion" in model.abilities
            and not (speed.generate and speed.loaded)
        )

    # -- on the loop ---------------------------------------------------------------------------

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


def _far(speed: float, told: float, share: float) -> bool:
    """Whether the others reckon with a figure that is wrong by more than this share of it."""
    return speed > 0 and abs(speed - told) > share * told
