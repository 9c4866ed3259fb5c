"""What a request is called on its way: one id for its user, for the peer that answers, and in both logs.

The id is 8 random bytes. When a peer is asked for a price, both ledgers know that by a rid of 16 bytes,
never used before: the id's 8 and 8 more, and the peer reads the id off it. The asker makes it up, so it is a
name to search logs by and nothing to rely on. Random and no counter: a peer shall not learn how much its
neighbour asks.
"""

from __future__ import annotations

import os
from typing import Final

BYTES: Final = 8
PREFIX: Final = "req-"


def new() -> str:
    """`req-` and 16 hexadecimal digits."""
    return PREFIX + os.urandom(BYTES).hex()


def rid(request_id: str) -> bytes:
    """For one more peer to be asked: 16 bytes, never used before."""
    return bytes.fromhex(request_id.removeprefix(PREFIX)) + os.urandom(BYTES)


def read(rid: bytes) -> str:
    """The id that the asker gave it."""
    return PREFIX + rid[:BYTES].hex()
