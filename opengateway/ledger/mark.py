"""The high-water mark: which position this node has signed last, kept outside of the database.

A damaged WAL makes SQLite open silently at an older, valid state (1 to 61 committed entries were missing
after 150 damaged files). A node that signs on from there forks itself. The mark is written after every
commit and before anything is sent, so a database that is behind it has lost something.

Two slots of 64 bytes, written in turn, so that a torn write leaves the other:
magic 4 | reserved 4 | count of entries 8 | leaf of the last 32 | writes 8 | reserved 4 | CRC-32 4
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from opengateway.errors import HomeBusy
from opengateway.ledger.entry import ZERO32

SLOT = struct.Struct(">4s4xQ32sQ4x")
SLOT_BYTES = 64
_MAGIC = b"OGWM"
sync_file = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
"""The contents of this open file are durable when it returns. Raises `OSError`."""
_AT_ONCE = getattr(os, "O_DSYNC", 0)
"""Every write is durable when it returns: one system call and one wait for the interpreter, not two."""


class Position(NamedTuple):
    entries: int = 0
    leaf: bytes = ZERO32


class Mark:
    """An open mark file, locked: two writers of one ledger would be a fork."""

    def __init__(self, path: Path) -> None:
        """Raises `HomeBusy` if another process writes this ledger."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | _AT_ONCE, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise HomeBusy(
                f"another process writes the ledger beside {path}",
                hint="stop the other node (opengateway stop), or give this one its own --home",
            ) from error
        self.fresh = os.fstat(self._file).st_size == 0
        """The file was not there, or never written: right for a new ledger, wrong for an old one."""
        self._writes = 0
        self.position: Position | None = None
        """None: there is a file, but no readable slot in it."""
        if self.fresh:
            self.write(Position())
            sync_folder(path.parent)
        else:
            self._read()

    def _read(self) -> None:
        data = os.pread(self._file, 2 * SLOT_BYTES, 0)
        for start in (0, SLOT_BYTES):
            slot = data[start : start + SLOT_BYTES]
            if len(slot) < SLOT_BYTES or int.from_bytes(slot[-4:], "big") != zlib.crc32(slot[:-4]):
                continue
            magic, entries, leaf, writes = SLOT.unpack(slot[: SLOT.size])
            if magic == _MAGIC and writes >= self._writes:
                self._writes, self.position = writes, Position(entries, leaf)

    def write(self, position: Position) -> None:
        """Durable when it returns. Raises `OSError`."""
        self._writes += 1
        slot = SLOT.pack(_MAGIC, position.entries, position.leaf, self._writes)
        slot += zlib.crc32(slot).to_bytes(4, "big")
        os.pwrite(self._file, slot, SLOT_BYTES * (self._writes % 2))
        if not _AT_ONCE:
            sync_file(self._file)
        self.position = position

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def sync_folder(folder: Path) -> None:
    """The names of the files in it are durable when this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
