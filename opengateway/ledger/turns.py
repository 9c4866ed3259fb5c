"""How often strangers may have something checked: keys are free, so no flood of them may cost much."""

from __future__ import annotations


class Turns:
    """So many a second, and so many at once."""

    def __init__(self, per_s: float, at_once: float, now_ms: int) -> None:
        self._per_s, self._at_once = per_s, at_once
        self._left, self._filled_ms = at_once, now_ms

    def take(self, now_ms: int) -> bool:
        passed = max(0, now_ms - self._filled_ms) / 1000
        self._left, self._filled_ms = min(self._at_once, self._left + passed * self._per_s), now_ms
        if self._left < 1:
            return False
        self._left -= 1
        return True
