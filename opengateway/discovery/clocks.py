"""Whose clock is wrong: ours, compared with those of all peers that have a session with us."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_high, median_low
from typing import Any, Final

NOTABLE_MS: Final = 10_000
"""A hundred times what NTP leaves to a home computer, far more than a slow line adds to the measurement."""
FIX: Final = "set this computer's clock (timedatectl set-ntp true)"


def own_error_ms(ahead_ms: Sequence[int]) -> int | None:
    """How far this node's clock is ahead of most; None where that cannot be told, because as many say one
    thing as the other. `ahead_ms` is how far each peer's is ahead of ours. A vote, ours included: one peer
    with a wrong clock does not make ours look wrong."""
    votes = [0, *ahead_ms]
    low, high = median_low(votes), median_high(votes)
    return -low if high - low <= NOTABLE_MS else None


def compared(ahead_ms: Sequence[int]) -> dict[str, Any]:
    """For `status` and `doctor`: `text` is a sentence about this computer's clock, `ok` whether it is right;
    `ahead_s` by how much not, or None where nobody can tell."""
    error_ms = own_error_ms(ahead_ms)
    total = len(ahead_ms)
    peers = f"{total} peer{'s' if total != 1 else ''}"
    wrong = sum(abs(each + (error_ms or 0)) > NOTABLE_MS for each in ahead_ms)
    ok = False
    if error_ms is None:
        text = f"it differs from that of {wrong} of {peers}: one of the two is wrong"
    elif abs(error_ms) > NOTABLE_MS:
        text = f"it is {how_far(error_ms)} those of most peers; beyond 120 s no credit can move"
    else:
        ok = True
        right = f"{total - wrong} of {peers}" if wrong else peers
        text = f"it agrees with {right}" if total else "no peer to compare it with"
    return {"ok": ok, "ahead_s": None if error_ms is None else error_ms / 1000, "peers": total, "text": text}


def how_far(ahead_ms: float) -> str:
    """ "3600 s ahead of", "40 s behind"."""
    return f"{abs(ahead_ms) / 1000:.0f} s {'ahead of' if ahead_ms > 0 else 'behind'}"
