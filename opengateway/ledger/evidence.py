"""Entries that an audit may look at again: kept as a few bytes each, read from their file when needed."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from opengateway.ledger.entry import Signed, leaf_of, read_body, signed_by_author
from opengateway.ledger.ogwl import record_at


class Held(NamedTuple):
    """An entry that somebody else holds: its leaf, and how to get at it."""

    leaf: bytes
    read: Callable[[], Signed]


def read_signed(body: bytes, signature: bytes, net: bytes) -> Signed:
    """Form only. Raises `EntryInvalid`."""
    return Signed(read_body(body, net), body, leaf_of(body), signature)


def genuine(signed: Signed) -> bool:
    """Signed by its author, by libsodium's rules (50 us)."""
    return signed_by_author(signed.entry.author, signed.leaf, signed.signature)


def reread(path: Path, offset: int, first: int, net: bytes) -> Signed:
    """A second look at an entry (`first` 0) or a counterparty's half (2, 4) that could be read before."""
    body, signature = record_at(path, offset)[first : first + 2]
    return read_signed(body, signature, net)


class Columns:
    """A short name, a short leaf and the place of many signed entries: 24 bytes each, so that a million
    receipts fit into memory."""

    def __init__(self) -> None:
        self._names, self._leaves, self._places = array("Q"), array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: bytes, leaf: bytes, place: int) -> None:
        self._names.append(int.from_bytes(hashlib.sha256(name).digest()[:8], "big"))
        self._leaves.append(int.from_bytes(leaf[:8], "big"))
        self._places.append(place)

    def extend(self, more: Columns) -> None:
        self._names.extend(more._names)
        self._leaves.extend(more._leaves)
        self._places.extend(more._places)

    def twice(self) -> Iterator[tuple[int, int]]:
        """Places of two different entries under one name. Sorting bare numbers first, and looking for
        places only where one came twice, takes a quarter of the memory of sorting places by name."""
        double = {a for a, b in pairwise(sorted(self._names)) if a == b}
        if not double:
            return
        seen: dict[int, tuple[int, int]] = {}
        for name, leaf, place in zip(self._names, self._leaves, self._places, strict=True):
            if name in double:
                before = seen.get(name)
                if before is not None and before[0] != leaf:
                    yield before[1], place
                seen[name] = leaf, place
