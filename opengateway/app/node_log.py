"""A log file that stays bounded: the stderr of a background node.

The whole of stderr, and not only what goes through `logging`: an abort in a C library or a fatal error
of the interpreter is what one looks for in a log. So the file itself is descriptor 1 and 2, and on
rotation both move to the new file; a RotatingFileHandler would leave them on the one renamed away.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 5_000_000
KEPT: Final = 3
"""Older files, node.log.1 the youngest: 20 MB of history in all."""


class LogStream(io.TextIOBase):
    """Text that goes to stderr, which is `path`; at `most` bytes the file is renamed and begun anew."""

    def __init__(self, path: Path, most: int = MOST_BYTES, descriptors: tuple[int, ...] = (2, 1)) -> None:
        self._path, self._most, self._descriptors = path, most, descriptors
        self._size = os.fstat(descriptors[0]).st_size
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptors[0]

    def write(self, text: str) -> int:
        content = text.encode("utf-8", "replace")
        # A full disk loses lines of the log, and nothing else: the node goes on.
        with self._lock, contextlib.suppress(OSError):
            if self._size + len(content) > self._most:
                self._rotate()
            os.write(self._descriptors[0], content)
            self._size += len(content)
        return len(text)

    def _rotate(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._older(number).replace(self._older(number + 1))
        self._path.replace(self._older(1))
        fresh = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            for descriptor in self._descriptors:
                os.dup2(fresh, descriptor)
        finally:
            os.close(fresh)
        self._size = 0

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def bound_log(path: Path) -> None:
    """Keep stderr within bounds if it is `path`, as it is for a background node; else leave it alone."""
    try:
        ours = os.path.samestat(os.fstat(2), path.stat())
    except OSError:
        return
    if ours:
        sys.stdout = sys.stderr = LogStream(path)
