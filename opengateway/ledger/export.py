"""Writing a chain as OGWL1 (format: ogwl.py)."""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO

import cbor2

from opengateway.ledger.audit_notes import origin
from opengateway.ledger.entry import CARRY, EARN, FOLLOW, leaf_of, read_body, read_wire
from opengateway.ledger.ogwl import FORMAT, LENGTH, MAGIC, TRAILER
from opengateway.ledger.requester import MINE
from opengateway.ledger.rotation import read_rotation
from opengateway.ledger.rows import Row
from opengateway.ledger.store import Store
from opengateway.ledger.successors import ROTATION
from opengateway.ledger.vouched import THEIRS
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


def write_export(out: BinaryIO, store: Store, net: NetworkId, author: NodeId, now_ms: int) -> int:
    """Streams what is committed, so a million receipts need no memory; the number of entries."""
    count = store.count()
    last = next(store.rows(count - 1), None) if count else None
    # Time never goes back on the chain; where the clock did, the file is as old as the last entry.
    created_ms = max(now_ms, read_body(last.body, net).t_ms) if last is not None else now_ms
    file = _Hashed(out)
    file.write(MAGIC)
    file.record([FORMAT, net, author, created_ms, count])
    papers = {
        read_rotation(one, net, known=True).rotate.leaf[:16]: one for _, one in store.documents(ROTATION)
    }
    written = 0
    for row in store.rows():
        if written == count:
            break
        beside = [item for item in row[4:6] if item is not None]
        if row.rid in papers and read_body(row.body, net).kind in (CARRY, FOLLOW):
            beside.append(papers[row.rid])
        file.record([row.body, row.signature, *(beside or _vouched(store, row, net))])
        written += 1
    file.record(
        [
            TRAILER,
            _vouchers(store),
            _notes(store, f"{origin(net, author)}\n"),
            [proof for _, _, proof in store.proofs()],
        ]
    )
    out.write(file.digest.digest())
    return written


def _notes(store: Store, first: str) -> list[str]:
    """The newest checkpoint, and the newest that others cosigned: often the same. Each begins with `first`,
    unless it is by a former version."""
    newest, cosigned = (store.document("checkpoint", key).decode() for key in (b"note", b"cosigned"))
    found = (cosigned, "" if newest and cosigned.startswith(newest) else newest)
    return [note for note in found if note.startswith(first)]


def _vouched(store: Store, row: Row, net: NetworkId) -> list[bytes]:
    """Of an EARN by voucher: the voucher and its OPEN, each with its signature."""
    opening = store.opening(row.peer, row.rid) if read_body(row.body, net).kind == EARN else None
    wire = store.document(THEIRS, leaf_of(opening.body)) if opening else b""
    return [*read_wire(wire), opening.body, opening.signature] if opening and wire else []


def _vouchers(store: Store) -> list[list[bytes]]:
    """What is vouched for and not settled: by this node, and to it (each with its OPEN)."""
    found = [list(read_wire(wire)) for _, wire in store.documents(MINE)]
    for opening in store.serving():
        wire = store.document(THEIRS, leaf_of(opening.body))
        if wire:
            found.append([*read_wire(wire), opening.body, opening.signature])
    return found
