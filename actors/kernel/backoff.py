"""How often and how fast to try again."""

from __future__ import annotations

import random
from dataclasses import dataclass

# 2 ** 1024 does not fit a float, and whoever tries for ever gets there: 64 doublings are plenty.
_MOST_DOUBLINGS = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Wait `first` seconds, then twice as long each time, up to `limit` seconds.

    After `tries` failures in a row, give up and escalate (None: never; for the world's
    faults, such as a peer that is away, where our own bugs should escalate). A life of
    `settled` seconds forgives the failures before it.
    """

    first: float = 0.1
    limit: float = 30.0
    tries: int | None = 5
    settled: float = 60.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after the n-th failure in a row; +-20 %, so that nobody returns in step."""
        doubled = self.first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)
        return min(self.limit, doubled) * random.uniform(0.8, 1.2)  # noqa: S311  no secret


class Escalated(Exception):
    """A supervisor ran out of tries with a child, and fails in its place."""
