"""Room on the disk for the entries that must still be written when it is full.

A node that cannot write a SETTLE or an EARN breaks its word, so it stops taking on requests while there is
still room, and keeps a ballast file that it can let go of to finish those in flight.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from opengateway.errors import DiskFull
from opengateway.units import MIB

BALLAST_BYTES = 8 * MIB
"""Room for some 10,000 receipts: more than can be in flight."""
FREE_BYTES = 64 * MIB
"""Below this no new request is opened or admitted."""
LOOK_EVERY_MS = 1000


class Space:
    def __init__(self, path: Path, *, free_bytes: int = FREE_BYTES) -> None:
        self._path = path
        self._free_bytes = free_bytes
        self._looked_ms: int | None = None
        self._scarce = False

    def require(self, now_ms: int) -> None:
        """Raises `DiskFull` where a new request should not begin. Looks once a second."""
        if self._looked_ms is None or not 0 <= now_ms - self._looked_ms < LOOK_EVERY_MS:
            self._looked_ms = now_ms
            held = 0 if self._path.exists() else BALLAST_BYTES
            self._scarce = self._free() < self._free_bytes + held
            if held and not self._scarce:
                self._scarce = not self._take()
        if self._scarce:
            raise DiskFull(
                f"less than {self._free_bytes // MIB} MiB are free on the disk of {self._path.parent}",
                hint="make room there; requests in flight are still settled, new ones wait until there is",
            )

    def release(self) -> bool:
        """Lets the ballast go. False if there was none."""
        self._looked_ms = None
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _free(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def _take(self) -> bool:
        try:
            with self._path.open("wb") as file:
                if sys.platform == "linux":
                    os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
                else:  # a compressing file system stores zeros as nothing
                    file.write(os.urandom(BALLAST_BYTES))
                    os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            return False
        return True
