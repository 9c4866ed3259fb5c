"""When a peer is dialled again."""

from __future__ import annotations

from typing import Final

FIRST_REDIAL_MS: Final = 1_000

SOON_MS: Final = 16_000
"""The longest wait while a loss is fresh: with jitter 20 s. A partition that heals within minutes is over for
everybody half a minute later, whatever the back-off had come to."""

FRESH_MS: Final = 15 * 60 * 1000
"""For so long a loss is fresh: a router that is restarted, a computer that installs updates, a flaky line."""

SLOWER: Final = 10
"""After that the wait is a tenth of the time since the peer last answered."""

REDIAL_LIMIT_MS: Final = 30 * 60 * 1000
JITTER: Final = 0.25
"""Share by which each wait varies: a hundred nodes that lost the same peer must not return in step."""


def redial_wait_ms(failures: int, chance: float, since_ms: int | None = None) -> int:
    """1, 2, 4, 8, 16, 16 ... seconds in the first quarter of an hour after it last answered (`since_ms`
    ago), then a tenth of that time, half an hour at most; times 0.75 to 1.25 by `chance` in [0, 1).
    Of a stranger (None), who has never answered, 1, 2, 4 ... seconds up to half an hour."""
    wait = FIRST_REDIAL_MS << min(failures, 20)
    if since_ms is not None:
        wait = min(wait, SOON_MS) if since_ms < FRESH_MS else since_ms // SLOWER
    return int(min(wait, REDIAL_LIMIT_MS) * (1 - JITTER + 2 * JITTER * chance))
