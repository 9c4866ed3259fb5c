"""What moves frames: ZeroMQ (transport/zmq_wire.py), or a test internet in a dict (transport/memory.py).

The core of the wire knows nothing else of sockets, threads or time. A *link* is one connection, dialled
or accepted; it is a value that only its carrier understands, hashable, never used again once lost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeAlias

Link: TypeAlias = Hashable


class Receiver(Protocol):
    """The core, as its carrier sees it. All of it is called on the I/O loop, never from inside a call
    to the carrier."""

    def received(self, link: Link, frame: bytes, address: str) -> None:
        """One frame. `address` is the host it comes from; "" where the carrier cannot tell, or where
        `trust` said that nobody will ask."""

    def lost(self, link: Link, reason: str) -> None:
        """The connection is gone, or never came about. Not called for links that we shut."""

    def malformed(self, reason: str) -> None:
        """Something came that is not even one frame."""

    def tick(self) -> None:
        """Four times a second or more often."""


class Carrier(Protocol):
    """All methods are called on the I/O loop."""

    async def start(self, host: str, port: int, receiver: Receiver) -> int:
        """Listen; the port that was bound. Raises `errors.PortTaken`."""

    def dial(self, endpoint: str) -> Link:
        """Begin to connect; frames may be sent at once. Raises `ValueError` for a bad endpoint, `OSError`
        where this machine has no room for another connection."""

    def send(self, link: Link, frame: bytes) -> bool:
        """False: not now, its queue is full, or it is gone (then `lost` follows)."""

    def soon(self, what: Callable[[], object]) -> None:
        """Call this once what the loop is doing now is done: within its next turn."""

    def host_of(self, link: Link) -> str:
        """The host that a link which we dialled leads to, as an address; "" if there is none yet."""

    def trust(self, link: Link) -> None:
        """A session is up on this link: its address is no longer of interest."""

    def shut(self, link: Link) -> None:
        """Let go of it, once what was sent has left or a moment has passed."""

    async def close(self) -> None:
        """Shut everything; sockets are closed when this returns."""
