"""The two clocks of the wire, so that a test can turn them by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Monotonic seconds: for everything that lasts."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC: for what other nodes read."""


class SystemClock:
    now = staticmethod(time.monotonic)

    @staticmethod
    def wall_ms() -> int:
        return time.time_ns() // 1_000_000
