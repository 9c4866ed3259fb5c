"""What lies in another process's memory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

PIECE = 16 << 20


def holds(pid: int, needles: Iterable[bytes]) -> set[bytes]:
    """Which of these lie anywhere in the memory that the process can write. Needs the right to trace it."""
    wanted = set(needles)
    found: set[bytes] = set()
    overlap = max(len(needle) for needle in wanted) - 1
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _writable(pid):
            at = start
            while at < end:
                try:
                    memory.seek(at)
                    piece = memory.read(min(PIECE, end - at) + (overlap if at + PIECE < end else 0))
                except OSError:  # a page that is reserved, and not there
                    break
                found |= {needle for needle in wanted - found if needle in piece}
                at += PIECE
    return found


def _writable(pid: int) -> Iterable[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
        if match and "[v" not in line:  # vvar, vdso, vsyscall
            yield int(match[1], 16), int(match[2], 16)
