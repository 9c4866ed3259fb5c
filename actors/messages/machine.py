"""What those hear who own a part of the machine: an InferenceWorker its engine, the Gauge what there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from actors.kernel import Request
from actors.messages.job import Tick
from opengateway.engines.protocol import ModelInfo
from opengateway.errors import OpenGatewayError


@dataclass(frozen=True, slots=True)
class EngineEnded:
    """The engine's process is gone. `how` is a sentence."""

    how: str


@dataclass(frozen=True, slots=True)
class ModelsSeen:
    """What the engine serves, asked again; `error` if it does not answer."""

    models: tuple[ModelInfo, ...]
    error: OpenGatewayError | None = None


@dataclass(frozen=True, slots=True)
class SpeedSeen:
    """An answer was finished at these speeds, in tokens/s; 0 where unknown."""

    model: str
    prompt_tps: float
    generate_tps: float
    at_once: int = 1
    """Answers that the engine gave at the same time, this one included."""


WorkerMessage: TypeAlias = EngineEnded | ModelsSeen | SpeedSeen | Tick


@dataclass(frozen=True, slots=True)
class Measure(Request[dict[str, Any]]):
    """Measure the machine anew."""


@dataclass(frozen=True, slots=True)
class DescribeMachine(Request[dict[str, Any]]):
    pass


GaugeMessage: TypeAlias = Measure | DescribeMachine | Tick
