"""Owns the HTTP port: opens it when the rest of the node stands, closes it first.

The requests themselves run on the I/O loop (opengateway/app/gateway); they become Jobs for the
Scheduler, and their answers never come back through here.
"""

from __future__ import annotations

from typing import Any, Protocol

from actors.io_loop import IoLoop
from actors.kernel import Actor, Refused

OPEN_LIMIT = 10.0
CLOSE_LIMIT = 5.0
"""Seconds for the answers in flight to end before their connections are cut."""


class Server(Protocol):
    async def start(self) -> None:
        """Listen. Raises `PortTaken`."""

    async def close(self) -> None: ...


class Gateway(Actor[Any]):
    def __init__(self, io: IoLoop, server: Server) -> None:
        super().__init__()
        self._io = io
        self._server = server

    def on_start(self) -> None:
        self._io.run(self._server.start(), OPEN_LIMIT)

    def on_exit(self) -> None:
        self._io.run(self._server.close(), CLOSE_LIMIT)

    def on_receive(self, message: Any) -> Any:
        """Nobody tells it anything: it lives, or it is restarted."""
        raise Refused(f"the gateway does not know {type(message).__name__}")
