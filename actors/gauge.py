"""Measures the machine: what it is at the start and on demand, how busy it is every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.kernel import Actor
from actors.messages import DescribeMachine, GaugeMessage, Measure, Tick
from opengateway.models.machine import LoadMeter, Machine

LOAD_PERIOD = 5.0
"""Seconds between looks at the load: the owner's own work is to be noticed within 5 s."""


class Gauge(Actor[GaugeMessage]):
    def __init__(self, folder: Path, *, measured: Callable[[Machine], object]) -> None:
        super().__init__()
        self._folder = folder
        self._measured = measured
        self._meter = LoadMeter(folder)
        self._load = self._meter.read()
        self._machine: Machine
        self._at = 0.0

    def on_start(self) -> None:
        self._measure()
        self.address.tell_later(LOAD_PERIOD, Tick(), replace=True)

    def on_receive(self, message: GaugeMessage) -> Any:
        match message:
            case Tick():
                self._load = self._meter.read()
                self.address.tell_later(LOAD_PERIOD, Tick(), replace=True)
            case Measure():
                self._measure()
                return self._describe()
            case DescribeMachine():
                return self._describe()
        return None

    def _measure(self) -> None:
        self._machine = Machine.measure(self._folder)
        self._load = self._meter.read()
        self._at = time.monotonic()
        self._measured(self._machine)

    def _describe(self) -> dict[str, Any]:
        return {
            "machine": self._machine.as_json(),
            "load": self._load.as_json(),
            "measured_s_ago": time.monotonic() - self._at,
        }
