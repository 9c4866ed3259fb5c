"""How long a caller of the HTTP port waits, and what it is told meanwhile."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from actors.messages import Job
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Stream
from opengateway.errors import BadRequest

HEADERS_AFTER: Final = 5.0
"""Seconds without a first token after which a streaming caller gets the headers and a sign of life: some
clients give up on a silent connection after ten. Until then an error still gets its status code."""
HEADERS_SOON: Final = 0.3
"""The same for a caller that shows its user where the request stands (`x-opengateway-waiting: 1`), and reads
errors from the stream as well."""
ALIVE_EVERY: Final = 5.0
"""Seconds between signs of life that say nothing new."""
LOOK_EVERY: Final = 0.5
MOST_DEADLINE: Final = 7 * 86_400.0
"""A week: what the wire can say."""


def read_deadline(value: str | None) -> float:
    """Seconds within which an answer must have begun, of `x-opengateway-deadline`; 0 where it is not sent.
    Raises `BadRequest`."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MOST_DEADLINE:  # NaN is neither
        raise BadRequest(
            "x-opengateway-deadline must be seconds, more than 0 and a week at most",
            hint="for example: x-opengateway-deadline: 30",
        )
    return seconds


def headers_after(value: str | None) -> float:
    return HEADERS_AFTER if value in (None, "", "0") else HEADERS_SOON


async def signs_of_life(stream: Stream, reading: asyncio.Future[Any]) -> AsyncIterator[str]:
    """While nothing has come: at once, with every change, and every few seconds, what to tell the caller."""
    told, told_at = "", 0.0
    while not reading.done():
        words, now = in_words(stream), time.monotonic()
        if (stream.waits is not None and words != told) or now - told_at >= ALIVE_EVERY:
            told, told_at = words, now
            yield words
        await asyncio.wait((reading,), timeout=LOOK_EVERY)


def in_words(stream: Stream) -> str:
    """ "2nd in queue, about 8 s", or what else is waited for."""
    if stream.waits is not None:
        return stream.waits.words()
    return f"waiting for the first token, {time.monotonic() - stream.created:.0f} s so far"


def waiting_job(request: GenerateRequest, scope: str, headers: Mapping[str, str], patience_s: float) -> Job:
    """A job that waits as long as its caller says, else `patience_s`. Raises `BadRequest`."""
    within = read_deadline(headers.get("x-opengateway-deadline"))
    deadline = time.monotonic() + (within or patience_s)
    return Job(request, Stream(), scope=scope, within=within, deadline=deadline)
