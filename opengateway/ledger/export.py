"""OGWL1: a whole chain in one file that can be checked without the node.

    magic    "OGWL" 0x01
    header   u32 length, CBOR ["ogwl/1", net, author, created_ms, count]
    entries  count times: u32 length, CBOR [body, signature] or [body, signature, peer body, peer signature]
    trailer  u32 length, CBOR ["ogwl-trailer/1", vouchers, checkpoints, proofs]
    digest   SHA-256 of everything before

Integers are big-endian, CBOR is canonical. The digest catches accidents; the signatures catch the rest.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, BinaryIO

import cbor2

from opengateway.ledger.store import Store
from opengateway.units import NetworkId, NodeId

MAGIC = b"OGWL\x01"
FORMAT = "ogwl/1"
TRAILER = "ogwl-trailer/1"
LENGTH = struct.Struct(">I")


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
