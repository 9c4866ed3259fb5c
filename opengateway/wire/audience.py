"""The handler, kept at arm's length: what goes wrong in it stays in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.messages import Message

log = logging.getLogger("opengateway.wire")


class Handler(Protocol):
    """Who hears of peers and their messages. All of it is called on the I/O loop."""

    def peer_up(self, peer: NodeId, record: bytes, endpoint: str | None, dialled: bool) -> None:
        """A session is up. `record` is the peer's signed node record, for the handler to verify."""

    def peer_down(self, peer: NodeId, reason: str) -> None:
        """The last session with this peer is gone. `reason` is for people."""

    def message(self, peer: NodeId, message: Message) -> None:
        """Never Ping, Pong, Moved or Bye."""

    def dial_failed(self, endpoint: str, reason: str) -> None:
        """`reason` is a sentence for people."""


class Audience:
    """Tells the handler. An exception in it is a bug of ours in one message of one peer: it is logged and
    counted, the tables of the wire stay whole, and everybody else is served."""

    def __init__(
        self, handler: Handler, count: dict[str, int], room: Callable[[NodeId], None] = lambda _peer: None
    ) -> None:
        """`room` hears of every peer that has read what we sent."""
        self._handler = handler
        self._room = room
        self._count = count
        count["handler_failed"] = 0

    def message(self, peer: NodeId, message: Message) -> None:
        try:
            self._handler.message(peer, message)
        except Exception as error:
            self._failed(type(message).__name__, peer, error)

    def peer_up(self, peer: NodeId, record: bytes, endpoint: str | None) -> None:
        log.info("session with %s is up", short(peer))
        self._tell(peer, self._handler.peer_up, peer, record, endpoint, endpoint is not None)

    def peer_down(self, peer: NodeId, reason: str) -> None:
        log.info("session with %s is down: %s", short(peer), reason)
        self._tell(peer, self._handler.peer_down, peer, reason)

    def dial_failed(self, endpoint: str, reason: str) -> None:
        log.info("cannot connect to %s: %s", endpoint, reason)
        self._tell(b"", self._handler.dial_failed, endpoint, f"cannot connect to {endpoint}: {reason}")

    def room(self, peer: NodeId) -> None:
        self._tell(peer, self._room, peer)

    def _tell(self, peer: bytes, what: Callable[..., Any], *args: Any) -> None:
        try:
            what(*args)
        except Exception as error:
            self._failed(what.__name__, peer, error)

    def _failed(self, what: str, peer: bytes, error: Exception) -> None:
        self._count["handler_failed"] += 1
        log.error("handling %s of %s failed", what, short(peer), exc_info=error)
