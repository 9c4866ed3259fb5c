"""Measures the machine: what it is at the start and on demand, how busy it is every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from actors.kernel import Actor
from actors.messages import DescribeMachine, GaugeMessage, Measure, Tick
from opengateway.models.idle import Lending, Policy
from opengateway.models.machine import LoadMeter, Machine

LOAD_PERIOD = 2.5
"""Seconds between looks at the load: the owner's own work is to be noticed within 5 s, also if it began in
the middle of a look and was half of it only."""
CALM_PERIOD = 10.0
"""The same where the load decides nothing, only the battery and the hour: each look goes through all
processes of the machine, which took an idle node a fifth of its CPU time."""


class Gauge(Actor[GaugeMessage]):
    """`paused` is told why the machine is not lent, and "" when it is again."""

    def __init__(
        self,
        folder: Path,
        *,
        measured: Callable[[Machine], object],
        policy: Policy,
        paused: Callable[[str], object],
        engines_elsewhere: bool = False,
    ) -> None:
        """`engines_elsewhere`: engines run that we have not started; what they use is not the owner's
        work."""
        super().__init__()
        self._folder = folder
        self._measured = measured
        self._meter = LoadMeter(folder, engines_elsewhere=engines_elsewhere)
        self._read()
        self._machine: Machine
        self._at = 0.0
        self._lending, self._paused = Lending(policy), paused
        self._period = LOAD_PERIOD if policy.when == "idle" else CALM_PERIOD

    def on_start(self) -> None:
        self._measure()
        self._look()
        self.address.tell_later(self._period, Tick(), replace=True)

    def on_exit(self) -> None:
        self._meter.close()

    def on_receive(self, message: GaugeMessage) -> Any:
        match message:
            case Tick():
                self._read()
                self._look()
                self.address.tell_later(self._period, Tick(), replace=True)
            case Measure():
                self._measure()
                return self._describe()
            case DescribeMachine():
                if time.monotonic() - self._read_at > LOAD_PERIOD:
                    self._read()
                return self._describe()
        return None

    def _read(self) -> None:
        self._load, self._read_at = self._meter.read(), time.monotonic()

    def _look(self) -> None:
        if self._lending.look(self._load, datetime.now().astimezone()):
            self._paused(self._lending.why)

    def _measure(self) -> None:
        self._machine = Machine.measure(self._folder)
        self._read()
        self._at = time.monotonic()
        self._measured(self._machine)

    def _describe(self) -> dict[str, Any]:
        return {
            "machine": self._machine.as_json(),
            "load": self._load.as_json(),
            "paused": self._lending.why,
            "measured_s_ago": time.monotonic() - self._at,
        }
