"""Units as types: a bare number never says whether it is seconds or milliseconds.

`NewType` costs nothing at run time and lets mypy refuse a sum of different things.
"""

from __future__ import annotations

from typing import NewType

NodeId = NewType("NodeId", bytes)
"""An Ed25519 public key, 32 bytes: who a node is. Shown as `short(id)`."""

NetworkId = NewType("NetworkId", bytes)
"""8 bytes: SHA-256(network name and optional secret), cut. See `identity.network_id`."""

Seconds = NewType("Seconds", float)
Milliseconds = NewType("Milliseconds", int)
"""Wall-clock times on the wire and in the ledger: milliseconds since 1970, UTC."""

MicroCredits = NewType("MicroCredits", int)
"""1 credit = 1,000,000 ucr. Integers only: money is never a float."""

CREDIT = MicroCredits(1_000_000)

MIB = 1024 * 1024
GIB = 1024 * MIB


def show_credits(amount: int) -> str:
    """`1500000` -> `1.5`; at most six decimals, because a ucr is the smallest amount there is."""
    sign, whole = ("-" if amount < 0 else ""), abs(amount)
    text = f"{whole // CREDIT}.{whole % CREDIT:06d}".rstrip("0").rstrip(".")
    return sign + text
