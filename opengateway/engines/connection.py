"""HTTP/1.1 to an engine: connections that are kept, and one response at a time on each.

With aiohttp's client the I/O thread took 313 us of CPU for a short answer, with this 200 (docs/PROFILES.md).
An engine needs none of what makes the difference: no cookies, no redirects, no proxies, no compressed bodies.
The parser is llhttp, in the package httptools.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import httptools

if TYPE_CHECKING:
    from opengateway.engines.pool import Pool

PIECE: Final = 64 * 1024
"""Bytes of one read, some 300 chunks: how far a stream may run past its limit."""
HIGH: Final = 2 * PIECE
"""Bytes that wait for the reader before the engine does."""
MOST_HEADERS: Final = 64 * 1024
"""Bytes of all headers of one response."""


class BrokenOff(OSError):
    """The connection ended, or brought what is no HTTP, before the response was whole."""


class Closed(BrokenOff):
    """A connection was closed before it brought a byte of the response: the request may be sent again."""


class Response(asyncio.Protocol):
    """One connection, and the response that is being read from it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser
        self._waiting: asyncio.Future[None] | None = None
        self._error: BrokenOff | None = None
        self._paused = False
        self._keep = True
        self.idle_since = 0.0
        self.alive = False
        """Connected, and nothing has gone wrong."""
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        """0 until the headers are there."""
        self.headers: dict[str, str] = {}
        """By their names in small letters."""
        self.complete = False
        """The body has come to its end."""
        self._body: list[bytes] = []
        self._size = self._header_bytes = 0
        self._begun = False
        """A byte of it has come."""

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def at_eof(self) -> bool:
        """All of the body has been read."""
        return self.complete and not self._body

    async def ask(self, head: bytes, body: bytes, *, keep: bool) -> None:
        """Send a request and wait for the headers of its response. Raises `BrokenOff`."""
        self._reset()
        self._keep = keep
        if self._transport is None:
            raise Closed("the connection was closed")
        self._transport.write(head + body)
        while not self.status:
            await self._more()

    async def some(self) -> bytes:
        """The next of the body, at most `PIECE` bytes; none at its end. Raises `BrokenOff`."""
        while not self._body:
            if self.complete:
                return b""
            await self._more()
        data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = [data[PIECE:]] if len(data) > PIECE else []
        self._size = len(data) - PIECE if self._body else 0
        if self._paused and self._size < PIECE and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data[:PIECE]

    def close(self) -> None:
        """Done with it: after the end of the body the connection is kept, else it is cut."""
        if self.complete and self._keep and self.alive and not self._paused:
            self._pool.give_back(self)
        else:
            self.abort()

    def abort(self) -> None:
        self.alive = False
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _broken(self, error: BrokenOff) -> None:
        if self.complete:  # it concerns what came behind the response
            self._wake()
        else:
            self._error = self._error or error
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_exception(self._error)
        self.abort()

    # -- what the loop calls -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.alive = True

    def data_received(self, data: bytes) -> None:
        if self.complete:  # nobody has asked for that
            self.abort()
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._broken(BrokenOff("it wants another protocol"))
        except httptools.HttpParserError as error:
            self._broken(BrokenOff(f"what it sent is no HTTP: {error}"))
        else:
            if self._size > HIGH and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            if self.status:
                self._wake()

    def eof_received(self) -> None:
        # A body without a length ends here. llhttp cannot be told so through httptools, but knows whether it
        # waits for more: only what has neither length nor chunks is whole now.
        if self.status and not self.complete and not _framed(self.headers):
            self.complete, self._keep = True, False
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        self.eof_received()
        if not self.complete:
            kind = BrokenOff if self._begun else Closed
            self._broken(kind(str(error) if error else "the connection was closed"))
        self._pool.forget(self)
        self._transport = None

    # -- what the parser calls ---------------------------------------------------------------

    def on_status(self, reason: bytes) -> None:
        self._count(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name + value)
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def _count(self, data: bytes) -> None:
        self._header_bytes += len(data) + 1
        if self._header_bytes > MOST_HEADERS:
            raise httptools.HttpParserError("its headers have no end")

    def on_headers_complete(self) -> None:
        if self.complete:
            raise httptools.HttpParserError("it answers twice")
        status = self._parser.get_status_code()
        if status >= 200:  # what comes before is a sign of life
            self.status = status
        else:
            self.headers = {}

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._size += len(data)

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True
            self._keep = self._keep and self._parser.should_keep_alive()


def _framed(headers: dict[str, str]) -> bool:
    return "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
