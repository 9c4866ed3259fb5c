"""The answers of a batch, one line each, in the order in which they came: OpenAI's output format.

The file is the only record of what is done: a line is there or it is not, so there is nothing that a kill
could leave half noted. A line is written with one call; what a kill or a full disk tore off is cut away when
the file is opened again, and that request is asked again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import orjson

from opengateway.errors import HomeBusy, SetupError
from opengateway.home import cannot_write, write_atomically

PIECE: Final = 1 << 20
"""Bytes that are read at a time."""


class OutputBusy(HomeBusy):
    """Another batch writes this file."""

    code = "output_busy"


class OutputForeign(SetupError):
    """The file holds something else than answers of this batch."""

    code = "output_foreign"


class Output:
    """The output file, open and locked; `done` are the custom_ids that it has answers for."""

    def __init__(self, path: Path) -> None:
        """Raises `OutputBusy`, `OutputForeign`, `SetupError`."""
        self.path = path
        self.done: set[str] = set()
        self.failed: set[str] = set()
        """Those of them that are errors."""
        self.torn = False
        """Something was cut away at the end."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            _lock(self._fd, path)
            self._size = self._mend()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, custom_id: str, row: dict[str, Any], *, failed: bool) -> None:
        """Append one answer. Raises `SetupError` (`DiskFull`), and then nothing of it is in the file."""
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        try:
            written = os.write(self._fd, line)
            if written < len(line):  # the disk is nearly full: the rest shows the error
                os.write(self._fd, line[written:])
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise cannot_write(self.path, error) from error
        self._size += len(line)
        self.done.add(custom_id)
        if failed:
            self.failed.add(custom_id)

    def sync(self) -> None:
        """What was added survives a power cut from here on. May be called from any thread."""
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1

    def _mend(self) -> int:
        """Read what is there, cut off a torn end. The size."""
        whole = 0
        for number, raw in enumerate(_lines(self._fd), 1):
            row = _row(raw)
            if row is None:
                if not raw.endswith(b"\n"):
                    break
                raise OutputForeign(
                    f"{self.path} is not the output of a batch: line {number} is none",
                    hint="choose another file, or remove this one",
                )
            if not raw.endswith(b"\n"):
                break
            custom_id = str(row["custom_id"])
            self.done.add(custom_id)
            if is_failure(row):
                self.failed.add(custom_id)
            whole += len(raw)
        if whole < os.fstat(self._fd).st_size:
            self.torn = True
            os.ftruncate(self._fd, whole)
        return whole


def forget_failures(path: Path) -> int:
    """Take the errors out of an output file, so that their requests are asked again. How many there were.
    The file has no half-way state."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        _lock(descriptor, path)
        kept, dropped = [], 0
        for raw in _lines(descriptor):
            row = _row(raw)
            if row is not None and is_failure(row):
                dropped += 1
            else:
                kept.append(raw)
    finally:
        os.close(descriptor)
    if dropped:
        write_atomically(path, b"".join(kept))
    return dropped


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "wait for it, or choose another file"
        raise OutputBusy(f"another batch writes {path} now", hint=hint) from error


def is_failure(row: dict[str, Any]) -> bool:
    response = row.get("response")
    return not isinstance(response, dict) or response.get("status_code") != 200


def answered(batch: str, custom_id: str, status: int, request_id: str, body: Any) -> dict[str, Any]:
    """What HTTP answered, good or bad."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    return {"id": _id(batch, custom_id), "custom_id": custom_id, "response": response, "error": None}


def unanswered(batch: str, custom_id: str, code: str, message: str) -> dict[str, Any]:
    """Nobody answered it."""
    error = {"code": code, "message": message}
    return {"id": _id(batch, custom_id), "custom_id": custom_id, "response": None, "error": error}


def _id(batch: str, custom_id: str) -> str:
    return "batch_req_" + sha256(f"{batch}\n{custom_id}".encode()).hexdigest()[:24]


def _lines(descriptor: int) -> Iterator[bytes]:
    """The lines, the last one perhaps without its end."""
    at, rest = 0, b""
    while piece := os.pread(descriptor, PIECE, at):
        at += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def _row(raw: bytes) -> dict[str, Any] | None:
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    known = isinstance(row, dict) and isinstance(row.get("custom_id"), str) and "response" in row
    return row if known else None
