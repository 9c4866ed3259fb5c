"""The ledger's clock: one that jumps ahead is not believed at once.

Time never goes back on a chain, so one entry signed while the clock was an hour ahead dates all that follow:
nobody takes a request of this node until that hour has come. A step ahead is therefore believed once it has
stood for `DOUBT_S`; peers, who have measured it by then, are asked for nothing that needs credit. A step
back is believed at once, and so is a return to where the clock was before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

DOUBT_S: Final = 60.0
STEP_MS: Final = 5_000
"""Less than this is a clock that is being adjusted, or a machine that was busy between two readings."""
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux: counts while the machine sleeps. macOS' monotonic clock of `clock_gettime` does so by itself."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def since_boot_s() -> float:
    """Monotonic, and not stopped by a sleep where the system has such a clock."""
    if _BOOT is not None:
        return time.clock_gettime(_BOOT)
    if hasattr(time, "CLOCK_MONOTONIC"):
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()  # Windows


class SteadyClock:
    def __init__(
        self, wall_ms: Callable[[], int] = wall_ms, since_boot_s: Callable[[], float] = since_boot_s
    ) -> None:
        self._wall_ms, self._since_boot_s = wall_ms, since_boot_s
        self._believed_ms = self._before_ms = self._offset_ms()
        self._doubted_ms: int | None = None
        self._doubted_at_s = 0.0

    def now_ms(self) -> int:
        """Since 1970 UTC."""
        now_s = self._since_boot_s()
        offset_ms = self._offset_ms()
        if self._credible(offset_ms, now_s):
            if abs(offset_ms - self._believed_ms) > STEP_MS:
                self._before_ms = self._believed_ms
            self._believed_ms, self._doubted_ms = offset_ms, None
        return self._believed_ms + int(now_s * 1000)

    def _credible(self, offset_ms: int, now_s: float) -> bool:
        if offset_ms - self._believed_ms <= STEP_MS or abs(offset_ms - self._before_ms) <= STEP_MS:
            return True
        if self._doubted_ms is None or abs(offset_ms - self._doubted_ms) > STEP_MS:
            self._doubted_ms, self._doubted_at_s = offset_ms, now_s
        return now_s - self._doubted_at_s >= DOUBT_S

    def _offset_ms(self) -> int:
        """The wall clock when the machine began."""
        return self._wall_ms() - int(self._since_boot_s() * 1000)
