"""What a batch asks for: a file in OpenAI's batch format, one request a line.

    {"custom_id": "a1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", ...}}

The whole file is looked at before anything is asked: a mistake in line 40,000 is no reason to have paid for
the 39,999 before it. Only where each line lies is kept, so a file may be larger than the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import orjson

from opengateway.errors import BadRequest

ROUTES: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
LINE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes: the most that the HTTP port takes of one request."""
MOST_LINES: Final = 1_000_000
"""Each costs some 200 bytes while the batch runs."""
ID_LIMIT: Final = 512
"""Characters of a custom_id; OpenAI's longest is shorter."""
MISTAKES: Final = 10
"""Mistakes that are named; the others are counted."""


class BatchInvalid(BadRequest):
    """The file is not a batch."""

    code = "invalid_batch"

    def __init__(
        self, message: str = "", *, mistakes: tuple[tuple[int, str], ...] = (), hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.mistakes = mistakes
        """(line, what is wrong with it), the first `MISTAKES`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One request of the file, still lying in it."""

    number: int
    """From 1, as editors count."""
    offset: int
    size: int
    custom_id: str
    url: str


def read_lines(file: BinaryIO, *, url: str = "", most: int = MOST_LINES) -> list[Line]:
    """Every request of the file, in its order. `url`: the only route that is allowed; any of `ROUTES` if
    empty.

    Raises `BatchInvalid` with the mistakes of all lines.
    """
    found: list[Line] = []
    mistakes: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    wrong = offset = 0
    for number, raw in enumerate(_raw(file), 1):
        here, offset = offset, offset + len(raw)
        if not raw.strip():
            continue
        if len(found) >= most:
            raise BatchInvalid(f"the batch has more than {most} requests", hint="split the file")
        try:
            custom_id, route = _checked(raw, url)
            if custom_id in seen:
                raise BatchInvalid(f"custom_id {custom_id!r} is that of line {seen[custom_id]}, too")
            seen[custom_id] = number
            found.append(Line(number, here, len(raw), custom_id, route))
        except BatchInvalid as mistake:
            wrong += 1
            if len(mistakes) < MISTAKES:
                mistakes.append((number, mistake.message))
    if wrong:
        listed = "".join(f"\n  line {number}: {what}" for number, what in mistakes)
        more = f"\n  and {wrong - len(mistakes)} more" if wrong > len(mistakes) else ""
        raise BatchInvalid(
            f"{wrong} line{'s' if wrong > 1 else ''} of the batch cannot be asked:{listed}{more}",
            mistakes=tuple(mistakes),
            hint='a line is {"custom_id": "1", "method": "POST", "url": "' + ROUTES[0] + '", "body": {...}}',
        )
    if not found:
        raise BatchInvalid("the batch has no requests")
    return found


def read_body(descriptor: int, line: Line, model: str = "") -> dict[str, Any]:
    """The request body of one line; `model` instead of the one in it, if given. Raises `BatchInvalid` if the
    file has been changed since it was read."""
    raw = os.pread(descriptor, line.size, line.offset)
    try:
        row = orjson.loads(raw)
        if row["custom_id"] != line.custom_id:
            raise ValueError
        body: dict[str, Any] = dict(row["body"])
    except (ValueError, KeyError, TypeError) as error:
        raise BatchInvalid(
            f"line {line.number} of the batch has changed while it was being answered",
            hint="leave the file alone until the batch is done",
        ) from error
    return body | {"model": model} if model else body


def _raw(file: BinaryIO) -> Iterator[bytes]:
    while raw := file.readline(LINE_LIMIT + 1):
        if len(raw) > LINE_LIMIT:
            raise BatchInvalid(f"a line has more than {LINE_LIMIT // 1024 // 1024} MiB")
        yield raw


def _checked(raw: bytes, only: str) -> tuple[str, str]:
    """(custom_id, url)."""
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BatchInvalid(f"it is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BatchInvalid("it is not a JSON object")
    custom_id, url, body = row.get("custom_id"), row.get("url"), row.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= ID_LIMIT:
        raise BatchInvalid(f"`custom_id` must be a text of 1 to {ID_LIMIT} characters")
    if row.get("method", "POST") != "POST":
        raise BatchInvalid("`method` must be POST")
    if url not in ROUTES:
        raise BatchInvalid(f"`url` must be one of {', '.join(ROUTES)}")
    if only and url != only:
        raise BatchInvalid(f"`url` is {url}, and the batch is for {only}")
    if not isinstance(body, dict):
        raise BatchInvalid("`body` must be an object")
    if body.get("stream"):
        raise BatchInvalid("`stream` cannot be true in a batch")
    return custom_id, str(url)
