"""The wire over ZeroMQ: one ROUTER that everybody dials, one DEALER for each endpoint that we dial.

Why every connection is its own link and never reconnects: ZeroMQ's silent reconnect would put a sealed
session onto a connection whose other end has never heard of it. Losing a link is said at once; who
dials again, and when, is decided by whoever keeps the peers.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Final

import zmq

from opengateway.identity import Identity
from opengateway.transport.zmq_channel import LINGER_MS, Dialled, Listener
from opengateway.units import NetworkId
from opengateway.wire.carrier import Link, Receiver
from opengateway.wire.clock import Clock
from opengateway.wire.hub import Handler, Wire
from opengateway.wire.limits import Limits
from opengateway.wire.relay import RelayLimits

_TICK_S: Final = 0.25


def zmq_wire(
    identity: Identity,
    network: NetworkId,
    secret: str,
    *,
    record: Callable[[], bytes],
    handler: Handler,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    relay: RelayLimits = RelayLimits(),  # noqa: B008 - frozen
    clock: Clock | None = None,
) -> Wire:
    """A node's wire over ZeroMQ, ready to `start`."""
    carrier = ZmqCarrier(limits)
    return Wire(
        identity,
        network,
        secret,
        record=record,
        handler=handler,
        carrier=carrier,
        limits=limits,
        relay=relay,
        clock=clock,
    )


class ZmqCarrier:
    """`opengateway.wire.carrier.Carrier` over ZeroMQ."""

    loop: asyncio.AbstractEventLoop
    receiver: Receiver

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
        self.trusted: set[Link] = set()
        self._listener: Listener | None = None
        self._dialled: set[Dialled] = set()
        self._ticker: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int, receiver: Receiver) -> int:
        self.loop = asyncio.get_running_loop()
        self.receiver = receiver
        self.context.set(zmq.MAX_SOCKETS, 4 * self.limits.sessions)
        self._listener = Listener(self)
        try:
            bound = self._listener.bind(host, port)
        except Exception:
            await self.close()
            raise
        self._tick()
        return bound

    def dial(self, endpoint: str) -> Link:
        try:
            channel = Dialled(self, endpoint)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            raise OSError("no file descriptor is left for another connection") from error
        self._dialled.add(channel)
        return channel

    def send(self, link: Link, frame: bytes) -> bool:
        if type(link) is bytes:
            return self._listener is not None and self._listener.send(link, frame)
        if type(link) is not Dialled or link.closed:
            return False
        return link.send(frame)

    def soon(self, what: Callable[[], object]) -> None:
        self.loop.call_soon(what)

    def host_of(self, link: Link) -> str:
        return link.address if isinstance(link, Dialled) else ""

    def trust(self, link: Link) -> None:
        self.trusted.add(link)

    def shut(self, link: Link) -> None:
        trusted = link in self.trusted
        self.trusted.discard(link)
        if isinstance(link, Dialled):
            self._dialled.discard(link)
            link.shut(LINGER_MS if trusted else 0)

    async def close(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for link in list(self._dialled):
            self.shut(link)
        if self._listener is not None:
            self._listener.shut(LINGER_MS)
            self._listener = None
        # Not `term`: it would wait for ever for a socket that somebody has forgotten, and the loop with it.
        self.context.destroy(LINGER_MS)

    def report_lost(self, link: Link, reason: str) -> None:
        """Soon: never from inside a call of the core."""
        self.loop.call_soon(self._lost, link, reason)

    def _lost(self, link: Link, reason: str) -> None:
        if isinstance(link, Dialled) and link.closed:
            return
        self.receiver.lost(link, reason)
        self.shut(link)

    def _tick(self) -> None:
        self._ticker = self.loop.call_later(_TICK_S, self._tick)
        self.receiver.tick()
