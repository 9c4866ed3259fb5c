"""OGWL1: a whole chain in one file that can be checked without the node.

    magic    "OGWL" 0x01
    header   u32 length, CBOR ["ogwl/1", net, author, created_ms, count]
    entries  count times: u32 length, CBOR [body, signature], or that and what the counterparty signed:
             [.., its half, signature]; of an EARN by voucher [.., voucher, signature, its OPEN, signature]
    trailer  u32 length, CBOR ["ogwl-trailer/1", vouchers, checkpoints, proofs]
    digest   SHA-256 of everything before

Integers are big-endian, CBOR is canonical. The digest catches accidents; the signatures catch the rest.
Reading needs cbor2 and nothing of a node; writing is export.py's.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import cbor2

from opengateway.wire import cbor

MAGIC = b"OGWL\x01"
FORMAT = "ogwl/1"
TRAILER = "ogwl-trailer/1"
LENGTH = struct.Struct(">I")
RECORD_LIMIT = 4096
"""Bytes of a record: two bodies of at most 1024 with their signatures take half of it."""
TRAILER_LIMIT = 16 << 20
"""Bytes of the trailer: 16,000 fault proofs of 1 kB."""


class Unreadable(Exception):
    """This is not an OGWL1 file."""


class Torn(Exception):
    """The file ends, or stops making sense, before everything that its header promises."""

    def __init__(self, offset: int, detail: str) -> None:
        super().__init__(detail)
        self.offset = offset


class Header(NamedTuple):
    net: bytes
    author: bytes
    created_ms: int
    entries: int


class Trailer(NamedTuple):
    vouchers: list[Any]
    checkpoints: list[Any]
    proofs: list[Any]
    intact: bool
    """The digest fits and nothing follows it."""


class Reader:
    """Reads front to back once, in little memory: header, then `records`, then `trailer`."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`, `Unreadable`."""
        self._file = path.open("rb")
        self._digest = hashlib.sha256()
        self.offset = 0
        try:
            if self._take(len(MAGIC)) != MAGIC:
                raise Unreadable("it does not begin with the letters OGWL and the version 1")
            self.header = _header(_strict(self._record(RECORD_LIMIT)))
        except Torn as error:
            self._file.close()
            raise Unreadable("it has no readable header") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Offset and bytes of each. Raises `Torn`."""
        for _ in range(self.header.entries):
            offset = self.offset
            yield offset, self._record(RECORD_LIMIT)

    def trailer(self) -> Trailer:
        """Raises `Torn`."""
        offset = self.offset
        value = _strict(self._record(TRAILER_LIMIT))
        if type(value) is not list or len(value) != 4 or value[0] != TRAILER:
            raise Torn(offset, "there is no trailer after the entries")
        if not all(type(item) is list for item in value[1:]):
            raise Torn(offset, "the trailer is malformed")
        expected = self._digest.digest()
        found = self._file.read(len(expected) + 1)
        return Trailer(value[1], value[2], value[3], found == expected)

    def _record(self, limit: int) -> bytes:
        offset = self.offset
        (length,) = LENGTH.unpack(self._take(LENGTH.size))
        if length > limit:
            raise Torn(offset, f"a record of {length} bytes, more than {limit}")
        return self._take(length)

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise Torn(self.offset, f"the file ends {count - len(data)} bytes too early")
        self._digest.update(data)
        self.offset += count
        return data


CHUNK = 2048
"""Entries that are audited at a time: 1 MB of them, 0.2 s of work."""


class Skim(NamedTuple):
    """A first look over a whole file."""

    header: Header
    chunks: list[Chunk]
    trailer: Trailer | None
    torn: Torn | None


class Chunk(NamedTuple):
    first: int
    """Position of its first entry in the file."""
    entries: int
    offset: int
    before: int
    """Offset of the record before it; -1 for the first."""


def skim(path: Path) -> Skim:
    """Where everything is, and whether the digest fits. Raises `OSError`, `Unreadable`."""
    chunks: list[Chunk] = []
    count, start, last, before = 0, -1, -1, -1
    trailer, torn = None, None
    with Reader(path) as reader:
        try:
            for offset, _ in reader.records():
                if count % CHUNK == 0:
                    if count:
                        chunks.append(Chunk(count - CHUNK, CHUNK, start, before))
                    start, before = offset, last
                last = offset
                count += 1
            trailer = reader.trailer()
        except Torn as error:
            torn = error
        rest = count - len(chunks) * CHUNK
        if rest:
            chunks.append(Chunk(count - rest, rest, start, before))
        return Skim(reader.header, chunks, trailer, torn)


def records_at(path: Path, offset: int, count: int) -> Iterator[tuple[int, bytes]]:
    """`count` records from `offset` on, known to be there."""
    with path.open("rb") as file:
        file.seek(offset)
        for _ in range(count):
            (length,) = LENGTH.unpack(file.read(LENGTH.size))
            yield offset, file.read(length)
            offset += LENGTH.size + length


def record_at(path: Path, offset: int) -> list[bytes]:
    """The pieces of the record at this offset, for a second look at it."""
    with path.open("rb") as file:
        file.seek(offset)
        (length,) = LENGTH.unpack(file.read(LENGTH.size))
        return pieces(file.read(min(length, RECORD_LIMIT)))


def pieces(record: bytes) -> list[bytes]:
    """`[body, signature]`; with the counterparty's half four, with its voucher and OPEN six; with the
    papers of a change of keys one more. Raises `ValueError`."""
    value = _decode(record)
    if type(value) is not list or not 2 <= len(value) <= 6 or any(type(x) is not bytes for x in value):
        raise ValueError("a record is not [body, signature] or that and the counterparty's")
    return value


def _header(value: Any) -> Header:
    kinds = [str, bytes, bytes, int, int]
    if type(value) is not list or [type(item) for item in value] != kinds or value[0] != FORMAT:
        raise Unreadable(f"its header is not that of {FORMAT}")
    header = Header._make(value[1:])
    if len(header.net) != 8 or len(header.author) != 32 or min(header[2:]) < 0 or max(header[2:]) >= 1 << 62:
        raise Unreadable("its header is malformed")
    return header


def _decode(data: bytes) -> Any:
    """Canonical CBOR or None, which no caller takes for an array."""
    try:
        value = cbor2.loads(data)
        return value if cbor2.dumps(value) == data else None
    except Exception:  # cbor2 raises many kinds on hostile input, RecursionError included
        return None


def _strict(data: bytes) -> Any:
    """The same by a decoder that knows nothing but the five kinds of item that may stand here."""
    try:
        return cbor.decode(data, limit=TRAILER_LIMIT)
    except cbor.NotCanonical:
        return None
