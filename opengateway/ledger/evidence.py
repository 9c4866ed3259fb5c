"""Entries that an audit may look at again: kept as a few bytes each, read from their file when needed."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from opengateway.ledger.entry import Signed, leaf_of, read_body
from opengateway.ledger.ogwl import record_at


class Held(NamedTuple):
    """An entry that somebody else holds: its leaf, and how to get at it."""

    leaf: bytes
    read: Callable[[], Signed]


def reread(path: Path, offset: int, first: int, net: bytes) -> Signed:
    """A second look at an entry (`first` 0) or a counterparty's half (2) that could be read before."""
    body, signature = record_at(path, offset)[first : first + 2]
    return Signed(read_body(body, net), body, leaf_of(body), signature)


class Columns:
    """A short name, a short leaf and the offset of many signed entries: 24 bytes each, so that a million
    receipts fit into memory."""

    def __init__(self) -> None:
        self._names, self._leaves, self._offsets = array("Q"), array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: bytes, leaf: bytes, offset: int) -> None:
        self._names.append(int.from_bytes(hashlib.sha256(name).digest()[:8], "big"))
        self._leaves.append(int.from_bytes(leaf[:8], "big"))
        self._offsets.append(offset)

    def twice(self) -> Iterator[tuple[int, int]]:
        """Offsets of two different entries under one name."""
        names, leaves, offsets = self._names, self._leaves, self._offsets
        order = sorted(range(len(names)), key=names.__getitem__)
        for a, b in pairwise(order):
            if names[a] == names[b] and leaves[a] != leaves[b]:
                yield offsets[a], offsets[b]
