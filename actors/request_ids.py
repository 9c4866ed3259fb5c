"""What a request is called on its way: one id for its user, for the peer that answers, and in both logs.

The id is 8 bytes: 26 bits of time, 64 ms each, and 38 random ones. When a peer is asked for a price, both
ledgers know that by a rid of 16 bytes, never used before: the id's 8 and 8 more, and the peer reads the id
off it. The asker makes it up, so it is a name to search logs by and nothing to rely on.

Time comes first because both ledgers keep an index by rid. Where rids are all random every entry touches
another page of 4096 bytes, which is written to the log and once more to the database: two fifths of what a
receipt cost SQLite. Ids of one moment share a page. It tells a peer when the request came, where the OPEN
tells when it was sent on. There is no counter: a peer shall not learn how much its neighbour asks.
"""

from __future__ import annotations

import os
import time
from typing import Final

BYTES: Final = 8
PREFIX: Final = "req-"
TICK_MS: Final = 64
"""Coarse, because a peer need not know how long a request waited for it here."""
RANDOM_BITS: Final = 38
_TICKS: Final = 1 << (8 * BYTES - RANDOM_BITS)
"""After 50 days they begin again, which costs nothing: the pages of that moment are filled up."""


def new(now_ms: int | None = None) -> str:
    """`req-` and 16 hexadecimal digits."""
    if now_ms is None:
        now_ms = time.time_ns() // 1_000_000
    ticks = now_ms // TICK_MS % _TICKS
    chance = int.from_bytes(os.urandom(BYTES), "big") >> (8 * BYTES - RANDOM_BITS)
    return f"{PREFIX}{ticks << RANDOM_BITS | chance:0{2 * BYTES}x}"


def rid(request_id: str) -> bytes:
    """For one more peer to be asked: 16 bytes, never used before."""
    return bytes.fromhex(request_id.removeprefix(PREFIX)) + os.urandom(BYTES)


def read(rid: bytes) -> str:
    """The id that the asker gave it."""
    return PREFIX + rid[:BYTES].hex()
