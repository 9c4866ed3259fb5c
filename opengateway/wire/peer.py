"""One peer and the sessions with it: usually one, for a moment two when both dialled at once.

Two nodes that find each other on a LAN dial each other in the same millisecond. Dropping one connection
outright would lose what is already under way on it, and picking the "first" differs at the two ends. So:

- both ends keep receiving on both, go on with the one that they have until both have answered a Ping, and
  then agree without a word on which to keep (`rank`). One that never answers ends by itself, alone;
- whoever sends on the other says Moved there, its last message on that connection, then goes on;
- whoever receives holds everything back until one of the two has said Moved (or is lost), then takes what
  came on that one first: order is kept across the change, whichever came up first at either end;
- when both have said Moved, the connection is closed;
- a third connection is refused while two are settling: with three, the order could not be told.

Nobody is told "down" or "up". A new `instance` is another matter: the peer has restarted, and what we
had with its former life is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from opengateway.units import NodeId
from opengateway.wire.carrier import Link
from opengateway.wire.handshake import Established
from opengateway.wire.messages import Message

SESSIONS_PER_PEER = 4
"""Two happen by themselves. A third is refused at its HELLO, but may have been half open already when
the second came up; more is somebody playing."""


@dataclass(slots=True, eq=False)
class Session:
    """One sealed connection. Times are monotonic seconds."""

    link: Link
    keys: Established
    endpoint: str | None
    """What we dialled; None if the peer dialled us."""
    relay: NodeId | None
    """Through whom it leads; None if it is direct."""
    rank: tuple[bool, bytes, bytes]
    """(relayed, id of whoever dialled, transcript): once all have answered, the smallest of a peer's
    sessions is the one to send on. Both ends know all three."""
    up_since: float
    last_heard: float
    last_answer: float
    last_ping: float = -1e9
    pings: deque[tuple[int, int]] = field(default_factory=deque)
    """(t_us, `bytes_out` at that moment) of the pings that are not answered, oldest first."""
    pinged_at: int = 0
    """`bytes_out` at the last ping."""
    rtt_ms: float | None = None
    """None until it has answered."""
    best_ms: float | None = None
    """The shortest single round trip."""
    ahead_ms: int = 0
    """How far the peer's clock is ahead of ours."""
    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_read: int = 0
    """Of `bytes_out`, those that the peer is known to have read."""
    refusals: int = 0
    host: str = ""
    """The address that it comes from or leads to; "relay ..." where that is not the peer's own."""
    moved_in: bool = False
    moved_out: bool = False
    held: list[Message] = field(default_factory=list)
    outbox: list[bytes] = field(default_factory=list)
    """Encoded messages that wait for this turn of the loop to end."""
    outbox_bytes: int = 0
    stuck: bytes = b""
    """The last frame, if the carrier did not take it."""

    @property
    def queued(self) -> int:
        """Bytes sent and not yet known to be read."""
        return self.bytes_out - self.bytes_read


def session_of(
    us: NodeId,
    link: Link,
    keys: Established,
    *,
    endpoint: str | None,
    host: str,
    relay: NodeId | None,
    now: float,
) -> Session:
    """A session that has just been agreed upon."""
    keys.opener.gapless = relay is not None
    rank = (relay is not None, us if endpoint is not None else keys.peer, keys.transcript)
    return Session(link, keys, endpoint, relay, rank, now, now, now, host=host, ahead_ms=keys.ahead_ms)


class Tally:
    """What went over sessions, those that are over included."""

    def __init__(self) -> None:
        self._past = dict.fromkeys(("frames_in", "frames_out", "bytes_in", "bytes_out"), 0)

    def over(self, session: Session) -> None:
        for name in self._past:
            self._past[name] += getattr(session, name)

    def totals(self, live: Collection[Session]) -> dict[str, int]:
        sums = {name: past + sum(getattr(s, name) for s in live) for name, past in self._past.items()}
        return sums | {"sessions": len(live)}


@dataclass(slots=True, eq=False)
class Peer:
    node_id: NodeId
    instance: bytes
    sessions: list[Session] = field(default_factory=list)
    """In the order in which they came up here."""

    def best(self) -> Session | None:
        """The session to send on; None if every session that is left has been moved away from."""
        left = (s for s in self.sessions if not s.moved_out)
        return min(left, key=lambda s: s.rank, default=None) if self.settled else next(left, None)

    @property
    def settled(self) -> bool:
        """Whether all have answered: a second connection may be dead the moment it is made."""
        return all(s.rtt_ms is not None for s in self.sessions)

    def must_wait(self, session: Session) -> bool:
        """Whether older messages may still be under way on the other connection."""
        return len(self.sessions) > 1 and any(s is not session and not s.moved_in for s in self.sessions)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as the outside sees it (`opengateway peers`, /metrics)."""

    peer: NodeId
    endpoint: str | None
    relay: NodeId | None
    """Through whom it leads; None if it is direct."""
    dialled: bool
    rtt_ms: float | None
    """Smoothed round trip over the data path; None before the first answer."""
    best_ms: float | None
    """The shortest single one: the peer is no farther than light gets in half of it."""
    ahead_ms: int
    """How far the peer's clock is ahead of ours."""
    up_since: float
    """Monotonic seconds, as `last_heard`."""
    last_heard: float
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    queued: int
    """Bytes sent and not yet known to be read."""
    host: str
    """The address at which it is seen; "relay ..." where that is not its own."""


def info(session: Session) -> SessionInfo:
    return SessionInfo(
        peer=session.keys.peer,
        endpoint=session.endpoint,
        relay=session.relay,
        dialled=session.endpoint is not None,
        rtt_ms=session.rtt_ms,
        best_ms=session.best_ms,
        ahead_ms=session.ahead_ms,
        up_since=session.up_since,
        last_heard=session.last_heard,
        frames_in=session.frames_in,
        frames_out=session.frames_out,
        bytes_in=session.bytes_in,
        bytes_out=session.bytes_out,
        queued=session.queued,
        host=session.host,
    )
