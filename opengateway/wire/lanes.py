"""How the frames of many circuits share one session fairly, and how nobody holds more than a window.

Back-pressure is hop by hop: whoever receives on a circuit grants its sender new bytes once it has used
those that came (an end, when the frame is whole; a relay, when it has passed them on). So a relay holds
at most one window per direction of a circuit, whatever its two ends do, and a receiver that does not read
stops its own sender only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from opengateway.units import NodeId
from opengateway.wire.limits import CIRCUIT_WINDOW
from opengateway.wire.relay_messages import Carried, Closed

PIECE_OVERHEAD: Final = 64
"""Bytes that a piece costs beside its data, for both ends' accounts: empty pieces are not free."""
_CREDIT_EVERY: Final = CIRCUIT_WINDOW // 4


def cost_of(message: Carried | Closed) -> int:
    return len(message.data) + PIECE_OVERHEAD if isinstance(message, Carried) else 0


class Lane:
    """The sending half of a circuit at one node: what waits for `peer`."""

    __slots__ = ("credit", "number", "on_sent", "peer", "queued", "ready", "waiting")

    def __init__(self, peer: NodeId, number: int, on_sent: Callable[[int], None] | None = None) -> None:
        self.peer = peer
        self.number = number
        self.on_sent = on_sent
        self.credit = CIRCUIT_WINDOW
        self.waiting: deque[Carried | Closed] = deque()
        self.queued = 0
        self.ready = False
        """Whether it is in the round of its peer, or waits for its quota."""


class Intake:
    """The receiving half of a circuit at one node."""

    __slots__ = ("left", "owed")

    def __init__(self) -> None:
        self.left = CIRCUIT_WINDOW
        """What may still come."""
        self.owed = 0
        """Used, and not yet granted again."""

    def take(self, cost: int) -> bool:
        """False: more has come than was granted."""
        self.left -= cost
        return self.left >= 0

    def grant(self, send: Callable[[int], bool]) -> None:
        """Give back what was used, if it is enough to be worth a message. Called again until it is sent."""
        if self.owed >= _CREDIT_EVERY and send(self.owed):
            self.left += self.owed
            self.owed = 0


class Lanes:
    """All lanes of a node. `room` says whether a peer's session can take more now, `allow` (a relay's
    quota) whether a lane may send so many bytes now."""

    def __init__(
        self,
        send: Callable[[NodeId, Carried | Closed], bool],
        room: Callable[[NodeId], bool],
        allow: Callable[[Lane, int], bool] = lambda _lane, _cost: True,
    ) -> None:
        self._send, self._room, self._allow = send, room, allow
        self._rounds: dict[NodeId, deque[Lane]] = {}
        self._over_quota: list[Lane] = []

    def put(self, lane: Lane, message: Carried | Closed) -> None:
        lane.waiting.append(message)
        lane.queued += cost_of(message)
        self._join(lane)
        self.pump(lane.peer)

    def credit(self, lane: Lane, amount: int) -> None:
        """No more than a window, whatever the peer says."""
        lane.credit = min(lane.credit + amount, CIRCUIT_WINDOW)
        self._join(lane)
        self.pump(lane.peer)

    def drop(self, lane: Lane) -> None:
        lane.waiting.clear()
        lane.queued = 0

    def lost(self, peer: NodeId) -> None:
        self._rounds.pop(peer, None)

    def tick(self) -> None:
        """Time has passed: quotas have room again, and perhaps a session. One piece of each in turn, first
        those that have waited longest: a ping behind somebody's megabytes must not wait for all of them."""
        waiting, self._over_quota = self._over_quota, []
        for lane in waiting:
            lane.ready = False
            self._join(lane)
        moving = list(self._rounds)
        while moving:
            moving = [peer for peer in moving if self._step(peer)]

    def pump(self, peer: NodeId) -> None:
        """Send what can be sent, one piece of each lane in turn."""
        while self._step(peer):
            pass

    def _step(self, peer: NodeId) -> bool:
        """Send one piece; False if none can be sent now."""
        lanes = self._rounds.get(peer)
        while lanes:
            lane = lanes[0]
            message = lane.waiting[0] if lane.waiting else None
            cost = cost_of(message) if message is not None else 0
            if message is None or cost > lane.credit:
                lanes.popleft().ready = False  # until something is put, or credit comes
            elif not self._room(peer):
                return False
            elif not self._allow(lane, cost):
                self._over_quota.append(lanes.popleft())
            elif not self._send(peer, message):
                return False
            else:
                lane.waiting.popleft()
                lane.queued -= cost
                lane.credit -= cost
                lanes.rotate(-1)
                if lane.on_sent is not None:
                    lane.on_sent(cost)
                return True
        self._rounds.pop(peer, None)
        return False

    def _join(self, lane: Lane) -> None:
        if not lane.ready and lane.waiting:
            lane.ready = True
            self._rounds.setdefault(lane.peer, deque()).append(lane)


class Numbers:
    """Circuit numbers, per peer."""

    def __init__(self, us: NodeId) -> None:
        self._us = us
        self._drawn: dict[NodeId, int] = {}
        self._seen: dict[NodeId, int] = {}

    def draw(self, peer: NodeId) -> int:
        number = self._drawn[peer] = self._drawn.get(peer, int(self._us > peer) - 2) + 2
        return number

    def fits(self, peer: NodeId, number: int) -> bool:
        """Whether the peer may open a circuit of this number; if so, it is used up."""
        if number % 2 != int(peer > self._us) or number <= self._seen.get(peer, -1):
            return False
        self._seen[peer] = number
        return True

    def forget(self, peer: NodeId) -> None:
        self._drawn.pop(peer, None)
        self._seen.pop(peer, None)
