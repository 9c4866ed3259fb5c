"""Writing a chain as OGWL1 (format: ogwl.py)."""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO

import cbor2

from opengateway.ledger.ogwl import FORMAT, LENGTH, MAGIC, TRAILER
from opengateway.ledger.store import Store
from opengateway.units import NetworkId, NodeId


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self.digest.update(data)

    def record(self, value: list[Any]) -> None:
        data = cbor2.dumps(value)
        self.write(LENGTH.pack(len(data)) + data)


def write_export(out: BinaryIO, store: Store, net: NetworkId, author: NodeId, created_ms: int) -> int:
    """Streams what is committed, so a million receipts need no memory; the number of entries."""
    count = store.count()
    file = _Hashed(out)
    file.write(MAGIC)
    file.record([FORMAT, net, author, created_ms, count])
    written = 0
    for row in store.rows():
        if written == count:
            break
        file.record([item for item in row[2:6] if item is not None])
        written += 1
    file.record([TRAILER, [], [], [proof for _, _, proof in store.proofs()]])
    out.write(file.digest.digest())
    return written
