"""This node as a relay: it passes sealed frames on between two nodes that have sessions with it.

It sees who talks to whom and how much, nothing else, and keeps nothing: a piece is held until the next
hop takes it, at most a window for each direction of a circuit. Everything is bounded, since whoever asks
for it is a stranger: reservations, circuits per node and in all, bytes per second, and time without a frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from opengateway.units import NodeId
from opengateway.wire.lanes import Intake, Lane, Lanes, Numbers, cost_of
from opengateway.wire.relay_messages import (
    Carried,
    Closed,
    Credit,
    NotReserved,
    Open,
    Opened,
    RelayMessage,
    Reserve,
    Reserved,
)

_COUNTED = ("reserved", "opened", "refused", "faults", "frames", "bytes")


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What one relay gives."""

    reservations: int = 64
    """Nodes that are reached through us. Each costs a session that it keeps anyway."""
    circuits: int = 128
    """At once. With a window of 256 KiB in each direction they hold 64 MiB at the very most."""
    circuits_per_node: int = 16
    """That one node may have open to others: it talks to that many peers behind NAT at once."""
    bytes_per_s: int = 2_500_000
    """For all circuits together: 20 Mbit/s, half of a common uplink. One answer takes 1 to 5 kB/s.
    0 is without limit."""
    share_per_node: float = 0.5
    """Of `bytes_per_s`, what the circuits that one node opened may take in each direction."""
    idle_s: float = 60.0
    """Without a frame. A live session pings every 2 s."""
    life_s: int = 900
    """Of a reservation; it is renewed after a third of that."""


class Allowance:
    """A token bucket of bytes. `rate` 0 is without limit."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = max(rate / 2, 256 * 1024)
        """Half a second's worth: ticks, which wake the waiting, come every quarter."""
        self._left, self._at = self._burst, now

    def has(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left > 0 or not self._rate

    def spend(self, amount: int) -> None:
        self._left -= amount


@dataclass(slots=True, eq=False)
class Half:
    """One of the two halves of a circuit: towards `lane.peer`."""

    lane: Lane
    opener: NodeId
    intake: Intake = field(default_factory=Intake)
    other: Half = field(init=False)
    used_at: float = 0.0
    closing: bool = False
    """The other half is gone; what it had sent is still on its way to `lane.peer`. It counts until then:
    else whoever opens, fills and closes circuits to a node that does not read fills our memory."""


class Sessions(Protocol):
    def send(self, peer: NodeId, message: RelayMessage) -> bool: ...

    def direct(self, peer: NodeId) -> bool: ...

    def room(self, peer: NodeId) -> bool: ...


class Relay:
    """`endpoint` is where others reach us; empty while nobody can, and then we relay for nobody."""

    def __init__(
        self,
        sessions: Sessions,
        numbers: Numbers,
        now: Callable[[], float],
        count: dict[str, int],
        limits: RelayLimits,
    ) -> None:
        self._sessions = sessions
        self._numbers = numbers
        self._now = now
        self._count = count
        count |= dict.fromkeys((f"relay_{name}" for name in _COUNTED), 0)
        self.limits = limits
        self.endpoint = ""
        self.lanes = Lanes(sessions.send, sessions.room, self._allow)
        self._halves: dict[tuple[NodeId, int], Half] = {}
        self._reserved: dict[NodeId, float] = {}
        """Node -> until when."""
        self._everybody = Allowance(limits.bytes_per_s, now())
        self._each: dict[tuple[NodeId, bool], Allowance] = {}
        """By who opened the circuit, and whether it is towards that node: answers to a prompt of a megabyte
        must not wait until it has passed."""

    # -- what peers say ----------------------------------------------------------------

    def heard(self, peer: NodeId, message: Reserve | Open | Carried | Credit | Closed) -> bool:
        """False: about no circuit that passes here."""
        if isinstance(message, Reserve):
            self._reserve(peer)
            return True
        if isinstance(message, Open):
            self._open(peer, message)
            return True
        half = self._halves.get((peer, message.circuit))
        if half is None:
            return False
        half.used_at = half.other.used_at = self._now()
        if isinstance(message, Carried):
            self._carried(half, message)
        elif isinstance(message, Credit):
            self.lanes.credit(half.lane, message.amount)
        else:
            self._close(half, message.reason)
        return True

    def _reserve(self, peer: NodeId) -> None:
        full = len(self._reserved) >= self.limits.reservations and peer not in self._reserved
        reason = (
            "not_direct" if not self._sessions.direct(peer)
            else "unreachable" if not self.endpoint
            else "full" if full
            else ""
        )  # fmt: skip
        if reason:
            self._count["relay_refused"] += 1
            self._sessions.send(peer, NotReserved(reason))
            return
        if peer not in self._reserved:
            self._count["relay_reserved"] += 1
        self._reserved[peer] = self._now() + self.limits.life_s
        self._sessions.send(peer, Reserved(self.endpoint, self.limits.life_s))

    def _open(self, opener: NodeId, message: Open) -> None:
        target = NodeId(message.target)
        of_opener = Counter(half.opener for half in self._halves.values())[opener] // 2
        reason = (
            "the number of the circuit is wrong" if not self._numbers.fits(opener, message.circuit)
            else "the node is not reached through this relay" if target not in self._reserved
            else "a circuit leads from one node to another" if target == opener
            else "the session with the relay leads through a relay" if not self._sessions.direct(opener)
            else "too many circuits of this node" if of_opener >= self.limits.circuits_per_node
            else "the relay is full" if len(self._halves) >= 2 * self.limits.circuits
            else ""
        )  # fmt: skip
        number = -1
        if not reason:
            number = self._numbers.draw(target)
            if not self._sessions.send(target, Opened(number, opener)):
                reason = "the node takes nothing at the moment"
        if reason:
            self._count["relay_refused"] += 1
            self._sessions.send(opener, Closed(message.circuit, f"the relay refused: {reason}"))
            return
        self._count["relay_opened"] += 1
        near, far = Half(Lane(opener, message.circuit), opener), Half(Lane(target, number), opener)
        near.other, far.other = far, near
        for half in (near, far):
            half.used_at = self._now()
            half.lane.on_sent = lambda cost, half=half: self._sent(half, cost)
            self._halves[half.lane.peer, half.lane.number] = half

    def _carried(self, half: Half, piece: Carried) -> None:
        cost = cost_of(piece)
        if not half.intake.take(cost):
            self._count["relay_faults"] += 1
            self._sessions.send(half.lane.peer, Closed(half.lane.number, "more was sent than was granted"))
            self._close(half, "the other end broke the rules of the relay")
            return
        if half.closing:
            return
        self._count["relay_frames"] += 1
        self._count["relay_bytes"] += len(piece.data)
        lane = half.other.lane
        self.lanes.put(lane, Carried(lane.number, piece.last, piece.data))

    def _sent(self, half: Half, cost: int) -> None:
        """What came from the other half has left: it may send as much again."""
        if not cost:  # a Closed, the last there is
            self._forget(half)
        elif not half.closing:
            half.other.intake.owed += cost
            self._grant(half.other)

    def _grant(self, half: Half) -> None:
        peer, number = half.lane.peer, half.lane.number
        half.intake.grant(lambda amount: self._sessions.send(peer, Credit(number, amount)))

    def _allow(self, lane: Lane, cost: int) -> bool:
        half = self._halves.get((lane.peer, lane.number))
        if half is None or not cost:
            return True
        now = self._now()
        key = half.opener, half.opener == lane.peer
        each = self._each.get(key)
        if each is None:
            rate = self.limits.bytes_per_s * self.limits.share_per_node
            each = self._each[key] = Allowance(rate, now)
        if not each.has(now) or not self._everybody.has(now):
            return False
        each.spend(cost)
        self._everybody.spend(cost)
        return True

    # -- the end of a circuit ----------------------------------------------------------

    def _close(self, half: Half, reason: str) -> None:
        """`half.lane.peer` has closed it, or is gone: what it sent before still goes to the other end."""
        self._forget(half)
        if not half.closing:
            half.other.closing = True
            self.lanes.put(half.other.lane, Closed(half.other.lane.number, reason[:256]))

    def _forget(self, half: Half) -> None:
        self._halves.pop((half.lane.peer, half.lane.number), None)
        self.lanes.drop(half.lane)

    def down(self, peer: NodeId) -> None:
        self._reserved.pop(peer, None)
        self._each.pop((peer, True), None)
        self._each.pop((peer, False), None)
        for half in list(self._halves.values()):
            if half.lane.peer == peer:
                self._close(half, "the other end is gone from the relay")

    def tick(self) -> None:
        now = self._now()
        for peer in [peer for peer, until in self._reserved.items() if now > until]:
            del self._reserved[peer]
        for key, half in list(self._halves.items()):
            if key not in self._halves:
                continue
            if now - half.used_at > self.limits.idle_s:
                why = "the relay saw no frame for long"
                self._sessions.send(half.lane.peer, Closed(half.lane.number, why))
                self._close(half, why)
            elif not half.closing:
                self._grant(half)
        self.lanes.tick()

    def users(self) -> set[NodeId]:
        """Who is reached through this node, or has a circuit through it."""
        return {*self._reserved, *(half.lane.peer for half in self._halves.values())}

    def infos(self) -> dict[str, int]:
        held = sum(half.lane.queued for half in self._halves.values())
        return {
            "relay_reservations": len(self._reserved),
            "relay_circuits": len(self._halves) // 2,
            "relay_held_bytes": held,
        }
