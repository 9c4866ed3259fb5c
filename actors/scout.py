"""Looks for engines that were not there when the node started: an Ollama that is started later, a GGUF
file that is put into the models folder. Each that is found becomes a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from actors.io_loop import IoLoop
from actors.kernel import Actor, Address, Adopt, Release
from actors.messages import Tick, WorkerMessage
from opengateway.engines.protocol import Engine
from opengateway.errors import EngineUnavailable

logger = logging.getLogger(__name__)

LOOK_EVERY = 10.0
"""Seconds. One look is one HTTP request to Ollama's port and a listing of a folder."""


@dataclass(frozen=True, slots=True)
class Found:
    engines: tuple[Engine, ...]


@dataclass(frozen=True, slots=True)
class Dismiss:
    """This engine's model is being removed: end it."""

    worker: Address[WorkerMessage]


class Scout(Actor[Tick | Found | Dismiss]):
    def __init__(
        self,
        io: IoLoop,
        *,
        choose: Callable[[], Coroutine[Any, Any, list[Engine]]],
        add: Callable[[Engine], Address[WorkerMessage] | None],
        inference: Address[Any],
    ) -> None:
        super().__init__()
        self._io = io
        self._choose = choose
        self._add = add
        self._inference = inference

    def on_start(self) -> None:
        self.address.tell_later(LOOK_EVERY, Tick(), replace=True)

    def on_receive(self, message: Tick | Found | Dismiss) -> Any:
        match message:
            case Dismiss(worker):
                self._inference.tell(Release(worker))
            case Tick():
                self._io.spawn(self._look())
            case Found(engines):
                self.address.tell_later(LOOK_EVERY, Tick(), replace=True)
                for engine in engines:
                    added = self._add(engine)
                    if added is not None:
                        logger.info("found %s", added.name)
                        self._inference.tell(Adopt(added))

    async def _look(self) -> None:
        try:
            found = Found(tuple(await self._choose()))
        except EngineUnavailable:
            found = Found(())  # not there yet
        self.address.tell(found)
