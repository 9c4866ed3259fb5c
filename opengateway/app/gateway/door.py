"""Connections before they have said anything: who takes his time, and how many there may be.

An HTTP request begins with a few hundred bytes, which no honest client spreads over a quarter of a minute.
aiohttp sets no limit to the first request of a connection, so it is set here: a connection that has not
brought one within `HEADERS_S` is closed. 2,000 of them that send a byte a second cost 20 MB for that long,
and nobody else anything (tests/app/gateway/test_slow_clients.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final

from aiohttp import web

from opengateway.app.gateway import garbled
from opengateway.app.gateway.callers import is_local
from opengateway.errors import OpenGatewayError

HEADERS_S: Final = 15.0
"""Seconds until the first request's headers must be there: ten round trips through a bad mobile network."""
KEEP_S: Final = 75.0
"""Seconds that a connection may be idle between two requests, and in which the headers of a later one must
come: longer than what clients keep theirs for, so that the client closes first."""
BODY_S: Final = 20.0
BODY_RATE: Final = 64 * 1024
"""Bytes/s that a body must come with on average, after its first `BODY_S` seconds."""
MOST: Final = 4096
"""Connections at once."""
PER_ADDRESS: Final = 256
"""Of one address that is not this machine."""
SWEEP_S: Final = 1.0


class TooSlow(OpenGatewayError):
    """The request did not come in time."""

    code = "request_timeout"
    status = 408


class Door:
    """Makes the protocol of each connection: what `loop.create_server` wants."""

    def __init__(self, make: web.Server) -> None:
        self._make = make
        self._fresh: dict[Any, float] = {}
        """Connections without a request yet, oldest first, and since when."""
        self._open = 0
        """About how many there are; counted anew with every sweep."""
        self.counters: Counter[str] = Counter()
        self._speaker = garbled.speaker(self._garbled)

    def __call__(self) -> asyncio.BaseProtocol:
        if self._open >= MOST:
            self.counters["turned_away"] += 1
            return _Full()
        self._open += 1
        handler = self._make()
        garbled.become(handler, self._speaker)
        self._fresh[handler] = time.monotonic()
        return handler

    def _garbled(self) -> None:
        self.counters["malformed"] += 1

    def began(self, protocol: Any) -> None:
        """This connection has brought a request."""
        self._fresh.pop(protocol, None)

    def sweep(self, now: float, limit_s: float = HEADERS_S) -> None:
        for handler, since in list(self._fresh.items()):
            if handler.transport is not None and now - since < limit_s:
                break  # the others came later
            del self._fresh[handler]
            if handler.transport is not None:
                self.counters["slow_headers"] += 1
                handler.force_close()
        connections = self._make.connections
        self._open = len(connections)
        self._thin_out(connections)

    def _thin_out(self, connections: list[Any]) -> None:
        """One address must not have all of them. The newest go: what is being answered stays."""
        found: Counter[str] = Counter()
        for handler in connections:
            peer = handler.transport.get_extra_info("peername") if handler.transport is not None else None
            address = str(peer[0]) if isinstance(peer, tuple) else ""
            if not address or is_local(address):
                continue
            found[address] += 1
            if found[address] > PER_ADDRESS:
                self.counters["too_many_of_one"] += 1
                handler.force_close()


class _Full(asyncio.Protocol):
    """One connection too many: closed before it costs anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def body_of(request: web.Request) -> bytes:
    """The whole body. Raises `TooSlow`; what is too large aiohttp refuses."""
    if request.content.is_eof():  # it came with the headers, as nearly every prompt does
        return await request.read()
    size = request.content_length or 0
    try:
        async with asyncio.timeout(BODY_S + size / BODY_RATE):
            return await request.read()
    except TimeoutError:
        raise TooSlow(
            "the body did not come in time", hint=f"send at least {BODY_RATE // 1024} KiB a second"
        ) from None
