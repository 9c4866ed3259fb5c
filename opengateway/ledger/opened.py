"""Entries of a ledger opened for somebody who holds its root: each with its way to the root.

    opened = [body, signature, path]      path: the hashes of RFC 6962's inclusion proof, one after the other

Which are opened is drawn by the witnesses' signatures under the tree: nobody knows them before they are
there, so nobody can make a tree for the draw.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from opengateway.ledger.audit_notes import Note
from opengateway.ledger.entry import EntryInvalid, Signed
from opengateway.ledger.evidence import genuine, read_signed
from opengateway.ledger.merkle_proofs import PROOF_HASHES, ProofWrong, root_by_inclusion
from opengateway.wire import cbor

SAMPLES = 16
"""Entries drawn. A ledger that is false in one place of ten is found out with 81 %."""
MOST = 32
"""Entries opened at once: 16 drawn, and those that are wanted by name."""
LIMIT = 1 << 16

_TAG = b"opengateway-openings/1\n"


class Opened(NamedTuple):
    signed: Signed
    path: list[bytes]

    @property
    def row(self) -> list[bytes]:
        return [self.signed.body, self.signed.signature, b"".join(self.path)]


def drawn(note: Note) -> set[int]:
    """Places of the entries to be opened, by the cosignatures under this tree. All, where there are few."""
    if note.size <= SAMPLES:
        return set(range(note.size))
    signatures = sorted((key, seconds, signature) for key, seconds, signature in note.cosigned)
    lines = b"".join(key + seconds.to_bytes(8, "big") + signature for key, seconds, signature in signatures)
    seed = hashlib.sha256(_TAG + note.text + lines).digest()
    draws = (hashlib.sha256(seed + bytes([number])).digest() for number in range(SAMPLES))
    return {int.from_bytes(draw[:8], "big") % note.size for draw in draws}


def write_opened(entries: list[Opened]) -> bytes:
    return cbor.encode([one.row for one in entries])


def read_opened(data: bytes, note: Note, net: bytes) -> dict[int, Signed]:
    """By their places: entries by the note's author, signed, and in its tree (0.1 ms each). Raises
    `ValueError`."""
    rows: Any = cbor.decode(data, limit=LIMIT)
    if type(rows) is not list or len(rows) > MOST:
        raise ValueError(f"not an array of at most {MOST}")
    return {found.entry.seq: found for found in (_read(row, note, net) for row in rows)}


def _read(row: Any, note: Note, net: bytes) -> Signed:
    if type(row) is not list or len(row) != 3 or any(type(one) is not bytes for one in row):
        raise ValueError("an opened entry is [body, signature, path]")
    body, signature, path = row
    if len(path) % 32 or len(path) > 32 * PROOF_HASHES:
        raise ValueError("a path is of hashes of 32 bytes")
    hashes = [path[at : at + 32] for at in range(0, len(path), 32)]
    try:
        signed = read_signed(body, signature, net)
        if signed.entry.author != note.author or not genuine(signed):
            raise ValueError("an entry that its author did not sign")
        if root_by_inclusion(signed.leaf, signed.entry.seq, note.size, hashes) != note.root:
            raise ValueError(f"entry {signed.entry.seq} is not in this tree")
    except (EntryInvalid, ProofWrong) as error:
        raise ValueError(str(error)) from error
    return signed
