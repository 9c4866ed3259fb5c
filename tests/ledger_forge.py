"""A forger's bench: exports taken apart, changed, re-signed with the author's own key, put together again."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import cbor2
from ledger_world import NET, Node

from opengateway.identity import Identity
from opengateway.ledger.entry import (
    EARN,
    GENESIS,
    OPEN,
    SETTLE,
    VOID,
    ZERO32,
    Entry,
    Signed,
    leaf_of,
    read_body,
    sign,
)
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.ogwl import FORMAT, LENGTH, MAGIC, TRAILER, Reader, pieces


@dataclass
class Record:
    body: bytes
    signature: bytes
    half: list[bytes] = field(default_factory=list)

    net: bytes = NET

    @property
    def entry(self) -> Entry:
        return read_body(self.body, self.net)

    @property
    def other(self) -> Entry:
        return read_body(self.half[0], self.net)


class Forge:
    """One node's export, to be falsified. `keys` are the identities whose signatures the forger can make."""

    def __init__(self, node: Node, folder: Path) -> None:
        path = folder / "forged.ogwl"
        path.write_bytes(node.export())
        self._load(node.identity, path)

    @classmethod
    def of(cls, author: Identity, path: Path) -> Forge:
        """Of a file that is there; it is written over."""
        forge = cls.__new__(cls)
        forge._load(author, path)
        return forge

    def _load(self, author: Identity, path: Path) -> None:
        self.author, self.path = author, path
        with Reader(path) as reader:
            self.header = reader.header
            found = [pieces(record) for _, record in reader.records()]
            trailer = reader.trailer()
        self.records = [Record(parts[0], parts[1], parts[2:], self.header.net) for parts in found]
        self.vouchers, self.notes, self.proofs = trailer.vouchers, trailer.checkpoints, trailer.proofs

    def find(self, kind: int, after: int = 0) -> int:
        return next(i for i, r in enumerate(self.records) if i >= after and r.entry.kind == kind)

    def sign(self, place: int, **changes: Any) -> Entry:
        """Changes an own entry and signs it with the author's key, leaving the rest of the chain alone."""
        record = self.records[place]
        signed = sign(self.author, record.entry._replace(**changes))
        record.body, record.signature = signed.body, signed.signature
        return signed.entry

    def sign_half(self, place: int, by: Identity, **changes: Any) -> None:
        record = self.records[place]
        signed = sign(by, record.other._replace(**changes))
        record.half = [signed.body, signed.signature]

    def root(self, size: int) -> bytes:
        """Of the tree over the first entries, as they are now."""
        tree = Frontier()
        for record in self.records[:size]:
            tree.append(leaf_of(record.body))
        return tree.root()

    def note(self, size: int, *witnesses: Identity, root: bytes = b"", net: bytes = NET) -> str:
        """A checkpoint signed by the author, cosigned by witnesses."""
        return signed_note(self.author, net, size, root or self.root(size), *witnesses)

    def rechain(self, first: int = 0, *, totals: bool = True) -> None:
        """Renumbers, relinks and re-signs everything from `first` on, as an author would who rewrites its
        own history; `totals` also makes its running totals fit."""
        prev = leaf_of(self.records[first - 1].body) if first else ZERO32
        leaves: dict[bytes, bytes] = {}
        before = self._totals(first)
        for seq, record in enumerate(self.records[first:], first):
            entry = record.entry
            old = leaf_of(record.body)
            entry = entry._replace(seq=seq, prev=prev, link=leaves.get(entry.link, entry.link))
            if totals:
                entry = before(entry)
            signed = sign(self.author, entry)
            record.body, record.signature = signed.body, signed.signature
            prev = leaves[old] = signed.leaf

    def _totals(self, first: int) -> Callable[[Entry], Entry]:
        last = self.records[first - 1].entry if first else None
        state = [last.given, last.taken, last.held] if last else [0, 0, 0]
        pairs: dict[bytes, list[int]] = {}
        for record in self.records[:first]:
            pairs[record.entry.peer] = [record.entry.served, record.entry.consumed]

        def fit(entry: Entry) -> Entry:
            pair = pairs.setdefault(entry.peer, [0, 0])
            if entry.kind == OPEN:
                state[2] += entry.hold
            elif entry.kind == SETTLE:
                state[1] += entry.amount
                pair[1] += entry.amount
            elif entry.kind == EARN:
                state[0] += entry.amount
                pair[0] += entry.amount
            if entry.kind in (SETTLE, VOID):
                state[2] = max(0, state[2] - entry.hold)
            given, taken, held = state
            return entry._replace(given=given, taken=taken, held=held, served=pair[0], consumed=pair[1])

        return fit

    def save(self, *, tail: bytes = b"", entries: int | None = None) -> Path:
        """A well-formed file around whatever the records are; `tail` replaces the trailer and the digest."""
        out = BytesIO()
        out.write(MAGIC)
        count = len(self.records) if entries is None else entries
        _record(out, [FORMAT, self.header.net, self.header.author, self.header.created_ms, count])
        for record in self.records:
            _record(out, [record.body, record.signature, *record.half])
        if tail:
            out.write(tail)
        else:
            _record(out, [TRAILER, self.vouchers, self.notes, self.proofs])
            out.write(hashlib.sha256(out.getvalue()).digest())
        self.path.write_bytes(out.getvalue())
        return self.path


def signed_note(author: Identity, net: bytes, size: int, root: bytes, *witnesses: Identity) -> str:
    """A C2SP checkpoint with its signatures, written from the specifications (c2sp.org/signed-note,
    tlog-checkpoint, tlog-cosignature) and not with the product's code."""
    name = f"opengateway/{net.hex()}/{author.node_id.hex()}"
    text = f"{name}\n{size}\n{base64.b64encode(root).decode()}\n"
    lines = [_signature_line(name, author, 1, author.sign(text.encode()))]
    for place, witness in enumerate(witnesses):
        seconds = 1_700_000_100 + place
        cosigned = witness.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
        cosigner = f"opengateway/{witness.node_id.hex()}"
        lines.append(_signature_line(cosigner, witness, 4, seconds.to_bytes(8, "big") + cosigned))
    return text + "\n" + "".join(lines)


def _signature_line(name: str, by: Identity, kind: int, signature: bytes) -> str:
    key = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + by.node_id).digest()[:4]
    return f"— {name} {base64.b64encode(key + signature).decode()}\n"


def _record(out: BytesIO, value: list[Any]) -> None:
    data = cbor2.dumps(value)
    out.write(LENGTH.pack(len(data)) + data)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


__all__ = ["EARN", "GENESIS", "OPEN", "SETTLE", "Forge", "Signed", "flipped", "signed_note"]
