"""ZeroMQ sockets on an asyncio loop: one ROUTER that everybody dials, a DEALER per endpoint that we dial.

Why not zmq.asyncio: it makes a future and a poll per message; a plain reader on the socket's file
descriptor, draining in batches, carries several times as much on the same loop. That descriptor
is edge-triggered: it becomes readable once when something changes, and any call on the socket, a send
too, may consume the edge. So after every send and every full batch another drain is scheduled, and a
drain only ends when `recv` itself has said "nothing more".
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket as net
from collections.abc import Callable
from typing import Any, Final, Protocol

import zmq
from zmq.backend import Socket as _Backend
from zmq.utils.monitor import recv_monitor_message

from opengateway.errors import ConfigInvalid, PortTaken
from opengateway.transport.endpoint import is_literal, parse_endpoint
from opengateway.wire.carrier import Link, Receiver
from opengateway.wire.limits import Limits

log = logging.getLogger("opengateway.wire")

_BATCH: Final = 64
"""Frames read before others on the loop have their turn: 1 ms of work."""
_SEND_HWM: Final = 20_000
"""Messages to one peer inside ZeroMQ, 5 MB with small ones. The bound in bytes is the core's."""
_RECEIVE_HWM: Final = 100
"""Per connection, until the loop has read them. At 1,000 one stranger who sends large frames faster than
we refuse them could fill 2 GB; at 100 small chunks are only a tenth slower (105,000/s against 121,000)."""
LINGER_MS: Final = 200
"""For a goodbye to leave. A peer that does not read delays our closing by this at most."""
_EHOSTUNREACH: Final = zmq.EHOSTUNREACH

_OPTIONS: Final = {
    zmq.LINGER: 0,
    zmq.IPV6: 1,  # and IPv4: the socket is dual-stack
    zmq.SNDHWM: _SEND_HWM,
    zmq.RCVHWM: _RECEIVE_HWM,
    zmq.HANDSHAKE_IVL: 5_000,  # ms for ZeroMQ's own greeting: who connects and says nothing is cut off
    # For connections that no session is left on; a session has its own Pings, ten times as often.
    zmq.HEARTBEAT_IVL: 20_000,
    zmq.HEARTBEAT_TIMEOUT: 40_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
}
_DIALLED_EVENTS: Final = (
    zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class Owner(Protocol):
    """What a channel needs of its carrier."""

    loop: asyncio.AbstractEventLoop
    receiver: Receiver
    context: zmq.Context[zmq.Socket[bytes]]
    limits: Limits
    trusted: set[Link]

    def report_lost(self, link: Link, reason: str) -> None:
        """The link's connection is gone."""


class Channel:
    """One ZeroMQ socket on the loop."""

    def __init__(self, owner: Owner, kind: int) -> None:
        self.owner = owner
        self.socket: zmq.Socket[bytes] = owner.context.socket(kind)
        self.closed = False
        for option, value in _OPTIONS.items():
            self.socket.setsockopt(option, value)
        # Twice the limit, so that what is a little too long is refused by name; ZeroMQ cuts off the rest
        # before it has read it.
        self.socket.setsockopt(zmq.MAXMSGSIZE, 2 * owner.limits.frame)
        # pyzmq's own Socket.send spends 0.6 us on tracking and copy thresholds before it calls this.
        self.write: Callable[..., Any] = _Backend.send.__get__(self.socket)
        self.read: Callable[..., Any] = self.socket.recv
        self._fd = int(self.socket.getsockopt(zmq.FD))
        self._scheduled = False
        owner.loop.add_reader(self._fd, self.drain)

    def schedule(self) -> None:
        """Drain soon: a call on the socket may have consumed the edge."""
        if not self._scheduled:
            self._scheduled = True
            self.owner.loop.call_soon(self.drain)

    def drain(self) -> None:
        self._scheduled = False
        for _ in range(_BATCH):
            if self.closed:
                return
            try:
                self.receive()
            except zmq.Again:
                return
            except zmq.ZMQError as error:
                if error.errno in (zmq.ENOTSOCK, zmq.ETERM):  # closed by what was received
                    return
                log.warning("receiving failed: %s", error)
                break
            except Exception:  # a bug must not cost us the edge, and with it every other peer
                log.exception("handling a frame failed")
        self.schedule()

    def receive(self) -> None:
        """Read one frame and hand it on. Raises `zmq.Again` when there is none."""
        raise NotImplementedError

    def shut(self, linger_ms: int) -> None:
        if not self.closed:
            self.closed = True
            self.owner.loop.remove_reader(self._fd)
            self.socket.close(linger=linger_ms)


class Listener(Channel):
    """The ROUTER. Its links are routing ids, which it draws itself, one per connection."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner, zmq.ROUTER)
        # Without it a ROUTER drops what it cannot deliver: 16,500 of 20,000 messages to a slow peer.
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.setsockopt(zmq.BACKLOG, 256)

    def bind(self, host: str, port: int) -> int:
        where = f"tcp://{f'[{host}]' if ':' in host else host}:{port or '*'}"
        try:
            self.socket.bind(where)
        except zmq.ZMQError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                why = "is in use by another program" if error.errno == errno.EADDRINUSE else "needs root"
                raise PortTaken(
                    f"the port for peers {port} on {host} {why}",
                    hint="end that program, or choose another port: opengateway config set wire.port 0",
                ) from error
            if error.errno == errno.EAFNOSUPPORT and self.socket.getsockopt(zmq.IPV6):
                self.socket.setsockopt(zmq.IPV6, 0)  # a kernel without IPv6
                return self.bind(host, port)
            raise ConfigInvalid(
                f"cannot listen on {host}: {error.strerror}",
                hint='wire.host must be an address of this machine, or "*" for all',
            ) from error
        return int(self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1])

    def send(self, link: bytes, frame: bytes) -> bool:
        self.schedule()
        try:
            self.write(link, zmq.SNDMORE | zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == _EHOSTUNREACH:
                self.owner.report_lost(link, "the connection was closed")
                return False
            raise
        self.write(frame, zmq.NOBLOCK)
        return True

    def receive(self) -> None:
        link = self.read(zmq.NOBLOCK)
        address = ""
        if link in self.owner.trusted:
            frame = self.read(zmq.NOBLOCK)
        else:
            part = self.read(zmq.NOBLOCK, False)
            frame, address = part.bytes, _address(part)
        if self.socket.getsockopt(zmq.RCVMORE):
            while self.socket.getsockopt(zmq.RCVMORE):
                self.read(zmq.NOBLOCK)
            self.owner.receiver.malformed("multipart")
            return
        self.owner.receiver.received(link, frame, address)


class Dialled(Channel):
    """A DEALER with one connection; the object itself is the link."""

    def __init__(self, owner: Owner, endpoint: str) -> None:
        self.host, self.port = parse_endpoint(endpoint)
        self.address = ""
        """The host, once its name is resolved."""
        super().__init__(owner, zmq.DEALER)
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self._first: list[bytes] | None = []
        """Frames that wait for the name to be resolved: the HELLO."""
        try:
            self._monitor = self.socket.get_monitor_socket(_DIALLED_EVENTS)
        except BaseException:  # it needs descriptors of its own
            super().shut(0)
            raise
        self._monitor_fd = int(self._monitor.getsockopt(zmq.FD))
        owner.loop.add_reader(self._monitor_fd, self._watch)
        self._resolving: asyncio.Task[None] | None = None
        if is_literal(self.host):
            self._connect(self.host)
        else:
            # libzmq would resolve on its I/O thread and stop all traffic for as long as DNS takes.
            self._resolving = owner.loop.create_task(self._resolve())

    async def _resolve(self) -> None:
        try:
            found = await self.owner.loop.getaddrinfo(self.host, self.port, type=net.SOCK_STREAM)
        except OSError:
            self.owner.report_lost(self, f"there is no host called {self.host}")
            return
        if not self.closed:
            self._connect(str(found[0][4][0]))

    def _connect(self, host: str) -> None:
        self.address = host
        self.socket.connect(f"tcp://{f'[{host}]' if ':' in host else host}:{self.port}")
        waiting, self._first = self._first or [], None
        for frame in waiting:
            self.send(frame)
        self.schedule()
        self.owner.loop.call_soon(self._watch)

    def send(self, frame: bytes) -> bool:
        if self._first is not None:
            self._first.append(frame)
            return len(self._first) == 1
        self.schedule()
        try:
            self.write(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self) -> None:
        self.owner.receiver.received(self, self.read(zmq.NOBLOCK), "")

    def _watch(self) -> None:
        while not self.closed:
            try:
                event = recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]
            except zmq.Again:
                return
            self.drain()  # what came before the end is still to be read
            if event == zmq.EVENT_DISCONNECTED:
                self.owner.report_lost(self, "the connection was closed")
            elif event == zmq.EVENT_CLOSED:
                self.owner.report_lost(self, "nothing listens there (connection refused or no route)")
            else:
                self.owner.report_lost(self, "something listens there, but it is no OpenGateway node")

    def shut(self, linger_ms: int) -> None:
        if self.closed:
            return
        if self._resolving is not None:
            self._resolving.cancel()
        self.owner.loop.remove_reader(self._monitor_fd)
        self.socket.disable_monitor()
        self._monitor.close(linger=0)
        super().shut(linger_ms)


def _address(part: Any) -> str:
    try:
        address = str(part.get("Peer-Address"))
    except (zmq.ZMQError, KeyError):
        return ""
    return address.removeprefix("::ffff:")
