"""Measures the machine: what it is at the start and on demand, how busy it is every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.kernel import Actor
from actors.messages import DescribeMachine, GaugeMessage, Measure, Tick
from opengateway.models.machine import Load, LoadMeter, Machine

LOAD_PERIOD = 5.0
"""Seconds between looks at the load: the owner's own work is to be noticed within 5 s."""
BUSY_PERCENT = 25.0
"""Of all cores, by programs that are not ours: a game or a compiler; a browser that is read stays below."""
QUIET_LOOKS = 3
"""Looks in a row without the owner before the machine is lent again: 15 s, the pauses of somebody typing."""


class Gauge(Actor[GaugeMessage]):
    """`owner_busy` is told of every change; None where the owner lends the machine in any case."""

    def __init__(
        self,
        folder: Path,
        *,
        measured: Callable[[Machine], object],
        owner_busy: Callable[[bool], object] | None = None,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._measured = measured
        self._meter = LoadMeter(folder)
        self._load = self._meter.read()
        self._machine: Machine
        self._at = 0.0
        self._owner_busy = owner_busy
        self._busy = False
        self._quiet = 0

    def on_start(self) -> None:
        self._measure()
        self.address.tell_later(LOAD_PERIOD, Tick(), replace=True)

    def on_receive(self, message: GaugeMessage) -> Any:
        match message:
            case Tick():
                self._load = self._meter.read()
                self._look_for_the_owner(self._load)
                self.address.tell_later(LOAD_PERIOD, Tick(), replace=True)
            case Measure():
                self._measure()
                return self._describe()
            case DescribeMachine():
                return self._describe()
        return None

    def _look_for_the_owner(self, load: Load) -> None:
        if self._owner_busy is None:
            return
        busy = load.owner_cpu_percent > BUSY_PERCENT or load.plugged is False
        self._quiet = 0 if busy else self._quiet + 1
        if busy == self._busy or (self._busy and self._quiet < QUIET_LOOKS):
            return
        self._busy = busy
        self._owner_busy(busy)

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
