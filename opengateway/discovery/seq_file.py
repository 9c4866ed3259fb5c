"""`record.seq` in the home: no sequence number that this node has used is ever used again.

Numbers are milliseconds of the clock where that works, so a file is needed only for a clock that went back.
It is written ahead, `AHEAD` numbers at a time: a record changes with every measured speed, and a write that
reaches the disk costs milliseconds.
"""

from __future__ import annotations

import logging
from pathlib import Path

from opengateway.errors import SetupError
from opengateway.home import write_atomically

log = logging.getLogger(__name__)

AHEAD = 600_000
"""Ten minutes of milliseconds."""


class SeqFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserved = self._read()
        self._floor = self._reserved + 1

    def floor(self) -> int:
        """The least number that may be used first in this run."""
        return self._floor

    def reserve(self, seq: int) -> None:
        """`seq` is about to be used. A disk that takes nothing is logged; the node goes on."""
        if seq <= self._reserved:
            return
        self._reserved = seq + AHEAD
        try:
            write_atomically(self._path, b"%d\n" % self._reserved)
        except SetupError as error:
            log.warning("the record's sequence number is not kept: %s", error.message)

    def _read(self) -> int:
        try:
            text = self._path.read_bytes()[:32].strip()
        except OSError:
            return 0
        return int(text) if text.isdigit() and len(text) < 17 else 0
