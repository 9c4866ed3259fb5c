"""The engines of this node and their workers: those that the start finds, and those found later."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from actors.inference_worker import InferenceWorker
from actors.io_loop import IoLoop
from actors.kernel import Address, Backoff
from actors.messages import WorkerMessage
from actors.runner import Runner
from opengateway.engines.choose import NOTHING_FOUND, EngineSetting, choose
from opengateway.engines.protocol import Engine
from opengateway.errors import EngineUnavailable, SetupError
from opengateway.home import Home
from opengateway.routing.views import WorkerView
from opengateway.sections import EngineConfig
from opengateway.units import Seconds

CHOOSE_LIMIT = Seconds(10.0)
MAILBOX = 1024


@dataclass(slots=True)
class Engines:
    home: Home
    config: EngineConfig
    backoff: Backoff
    make_worker: Callable[[Engine], InferenceWorker]
    cpu_percent: int = 100
    """Of the cores, for an engine that we start and that has no number of threads of its own."""
    workers: dict[str, Address[WorkerMessage]] = field(default_factory=dict)
    running: dict[str, Engine] = field(default_factory=dict)
    views: dict[str, WorkerView] = field(default_factory=dict)
    """What each worker last said of itself; read from all threads, replaced as a whole."""
    runners: dict[str, Runner] = field(default_factory=dict)
    hint: str = ""
    """What to do if there is none."""

    async def look(self) -> list[Engine]:
        """Those that the configuration allows and that are there now. Raises `EngineUnavailable`."""
        return await choose(self._setting(), models_dir=self.home.models, log_dir=self.home.logs)

    def first(self, io: IoLoop) -> list[Address[WorkerMessage]]:
        """Workers for the engines that are there. Raises `SetupError` if the configured engine cannot be
        used as configured; one that is only not running yet is no reason not to start."""
        try:
            engines = io.run(self.look(), CHOOSE_LIMIT)
        except EngineUnavailable as error:
            self.hint = f"{error.message} {error.hint}".strip()
            if error.retry_after is None:
                raise SetupError(error.message, hint=error.hint) from error
            return []
        if not engines and self.config.kind == "auto":
            self.hint = NOTHING_FOUND
        return [self._employ(engine) for engine in engines]

    def with_digest(self, digest: str) -> Engine | None:
        """One that serves these very weights now, under whatever name."""
        for view in list(self.views.values()):
            if view.state == "running" and any(model.digest == digest for model in view.models):
                return self.running.get(view.name)
        return None

    def add(self, engine: Engine) -> Address[WorkerMessage] | None:
        """A worker for an engine that was found later. None if it has one."""
        return None if _label(engine) in self.workers else self._employ(engine)

    def drop(self, file: Path) -> Address[WorkerMessage] | None:
        """Forget the engine that serves this file. Its worker, still to be ended; None if there is none."""
        name = f"engine-{file.stem}"
        self.running.pop(name, None)
        self.views.pop(name, None)
        return self.workers.pop(name, None)

    def _employ(self, engine: Engine) -> Address[WorkerMessage]:
        worker: Address[WorkerMessage] = Address(
            _label(engine),
            lambda: self.make_worker(engine),
            backoff=self.backoff,
            mailbox=MAILBOX,
            patience=10.0,
        )
        self.workers[worker.name] = worker
        self.running[worker.name] = engine
        return worker

    def _setting(self) -> EngineSetting:
        given = self.config
        return EngineSetting(
            given.kind,  # type: ignore[arg-type]  # the schema allows these words only
            given.url,
            given.api_key,
            given.model,
            given.slots or None,
            given.threads or self._share(),
            given.context or None,
            given.abilities,
        )

    def _share(self) -> int | None:
        if self.cpu_percent >= 100:
            return None
        return max(1, (os.cpu_count() or 1) * self.cpu_percent // 100)


def _label(engine: Engine) -> str:
    """An actor's name for an engine: llama.cpp serves one file a process, the others are one server."""
    model = getattr(engine, "model", "") if engine.name == "llama_server" else ""
    return f"engine-{model or engine.name}"
