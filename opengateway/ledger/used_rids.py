"""Which request ids a table may hold, so that "never used before" is mostly answered without asking the disk.

Every OPEN, and every SETTLE that is earned, needs that answer, and it is yes but for a few. SQLite took 12 us
for it, two thirds of them to lock and unlock the file. This takes 0.4: a Bloom filter (Burton Bloom, 1970)
with two bits for each id. "No" is certain; a "perhaps", one in 70 of the ids that are new, asks the table.

A ledger of a million entries is not read through at start. Until a filter has seen the whole table it answers
"perhaps", and each commit lets it see some more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Key = tuple[Any, ...]
Read = Callable[[Key | None, int], Sequence[Key]]
"""The next keys of the table after this one (None: from the first), in its order, at most so many. Whatever
else a key has, its last field is the request id."""

BITS_PER_ID = 16
FIRST_BITS = 1 << 16
MOST_BITS = 1 << 28
"""32 MiB, for 16 million ids. With more it says "perhaps" more often."""
AT_ONCE = 512
"""Keys read with one commit: 0.2 ms, from some ten pages."""


class UsedRids:
    """`add` what is written, ask `may_hold`, and `read_on` with every commit. What was added and rolled back
    stays in it: that costs a question to the table, no more."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._begin(FIRST_BITS)

    def _begin(self, bits: int) -> None:
        self._mask = bits - 1
        self._bits = bytearray(bits >> 3)
        self._ids = 0
        self._read_to: Key | None = None
        self._reading = True

    def may_hold(self, rid: bytes) -> bool:
        """False: this id is surely not in the table."""
        if self._reading:
            return True
        bits, mask, hashed = self._bits, self._mask, hash(rid)
        first, second = hashed & mask, hashed >> 32 & mask
        return bool(bits[first >> 3] >> (first & 7) & 1 and bits[second >> 3] >> (second & 7) & 1)

    def add(self, rid: bytes) -> None:
        bits, mask, hashed = self._bits, self._mask, hash(rid)
        first, second = hashed & mask, hashed >> 32 & mask
        if not (bits[first >> 3] >> (first & 7) & 1 and bits[second >> 3] >> (second & 7) & 1):
            bits[first >> 3] |= 1 << (first & 7)
            bits[second >> 3] |= 1 << (second & 7)
            self._ids += 1

    def read_on(self) -> None:
        """Learns some more of what was in the table before; begins again, twice as large, when it is full."""
        if self._ids * BITS_PER_ID > self._mask and self._mask < MOST_BITS - 1:
            self._begin(2 * (self._mask + 1))
        if self._reading:
            page = self._read(self._read_to, AT_ONCE)
            for key in page:
                self.add(key[-1])
            self._reading = len(page) == AT_ONCE
            if page:
                self._read_to = page[-1]
