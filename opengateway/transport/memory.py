"""A test internet in a dict: the carrier of wire/carrier.py without sockets, threads or time of its own.

    internet = Internet()
    a = Wire(..., carrier=internet.carrier("10.0.0.1"), clock=internet.clock)
    await a.start("*", 4001)
    a.dial("tcp://10.0.0.2:4001")
    internet.run(5.0)          # five seconds pass, every frame and tick in its order

Nothing happens outside `run`, and the same seed gives the same run. An address that nobody has, or a
port that nobody listens on, refuses the connection, as the real one does.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from opengateway.errors import PortTaken
from opengateway.transport.endpoint import parse_endpoint
from opengateway.wire.carrier import Link, Receiver

_TICK_S = 0.25
_EPOCH_MS = 1_700_000_000_000


class ManualClock:
    """Time that passes when it is told to. `wall_offset_ms` sets this clock's wall time apart."""

    def __init__(self, internet: Internet, wall_offset_ms: int = 0) -> None:
        self._internet = internet
        self.wall_offset_ms = wall_offset_ms

    def now(self) -> float:
        return self._internet.now

    def wall_ms(self) -> int:
        return _EPOCH_MS + int(self._internet.now * 1000) + self.wall_offset_ms


@dataclass(slots=True)
class Path:
    """How frames fare from one address to another."""

    delay_s: float = 0.001
    jitter_s: float = 0.0
    """Up to so much more for each frame, kept in order unless `reorder`."""
    drop: float = 0.0
    """Share of the frames that vanish."""
    reorder: bool = False
    dead: bool = False
    """Nothing arrives and nobody is told: a cable pulled, a firewall, one direction of a bad link."""


@dataclass(slots=True, eq=False)
class _End:
    """One end of a connection: the link of the carrier that owns it."""

    owner: MemoryCarrier
    address: str
    other: _End | None = None
    closed: bool = False
    arrives_at: float = 0.0
    """When the last frame towards the other end arrives: the next may not overtake it."""


class Internet:
    """Hosts, the paths between them, and time."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 1000.0
        self.clock = ManualClock(self)
        self.chance = random.Random(seed)  # noqa: S311 - a simulation
        self.listening: dict[tuple[str, int], MemoryCarrier] = {}
        self.paths: dict[tuple[str, str], Path] = {}
        self.default = Path()
        self.frames = 0
        """Delivered so far."""
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def carrier(self, address: str) -> MemoryCarrier:
        """A host's network card."""
        return MemoryCarrier(self, address)

    def clock_off_by(self, wall_offset_ms: int) -> ManualClock:
        """A clock whose wall time is wrong."""
        return ManualClock(self, wall_offset_ms)

    def path(self, source: str, target: str) -> Path:
        """The path in this one direction, to be changed at will."""
        return self.paths.setdefault((source, target), Path(self.default.delay_s))

    def part(self, one: str, other: str, *, parted: bool = True) -> None:
        """Cut two hosts off from each other in both directions, or join them again."""
        self.path(one, other).dead = self.path(other, one).dead = parted

    def at(self, when: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), what))

    def run(self, seconds: float) -> None:
        """Let time pass, with everything that happens in it."""
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            when, _, what = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            what()
        self.now = until

    def carry(self, end: _End, frame: bytes) -> None:
        path = self.path(end.address, self._address(end))
        if path.dead or self.chance.random() < path.drop:
            return
        arrives = self.now + path.delay_s + self.chance.random() * path.jitter_s
        if not path.reorder:
            arrives = end.arrives_at = max(arrives, end.arrives_at)
        self.at(arrives, lambda: self._arrive(end, frame))

    def close(self, end: _End) -> None:
        """The other end notices, unless the path there is dead."""
        end.closed = True
        other = end.other
        path = self.path(end.address, self._address(end))
        if other is not None and not path.dead:
            arrives = max(self.now + path.delay_s, end.arrives_at)
            self.at(arrives, lambda: other.owner.hung_up(other))

    def _arrive(self, end: _End, frame: bytes) -> None:
        other = end.other
        if other is not None and not other.closed:
            self.frames += 1
            other.owner.receiver.received(other, frame, end.address)

    @staticmethod
    def _address(end: _End) -> str:
        return end.other.address if end.other is not None else ""


@dataclass(slots=True, eq=False)
class MemoryCarrier:
    """`opengateway.wire.carrier.Carrier` on an `Internet`."""

    internet: Internet
    address: str
    receiver: Receiver = field(init=False)
    full: bool = False
    """As if every queue were full: `send` says no."""
    _port: int = 0
    ends: list[_End] = field(default_factory=list)
    _running: bool = False

    async def start(self, host: str, port: int, receiver: Receiver) -> int:
        listening = self.internet.listening
        self._port = port or next(
            free for free in itertools.count(4001) if (self.address, free) not in listening
        )
        if (self.address, self._port) in listening:
            raise PortTaken(f"port {port} is taken on {self.address}, asked for by {host}")
        listening[self.address, self._port] = self
        self.receiver = receiver
        self._running = True
        self.internet.at(self.internet.now + _TICK_S, self._tick)
        return self._port

    def dial(self, endpoint: str) -> Link:
        host, port = parse_endpoint(endpoint)
        end = _End(self, self.address)
        self.ends.append(end)
        there = self.internet.listening.get((host, port))
        if there is None:
            self.internet.at(self.internet.now, lambda: self._refused(end))
        else:
            end.other = _End(there, there.address, end)
            there.ends.append(end.other)
        return end

    def send(self, link: Link, frame: bytes) -> bool:
        assert isinstance(link, _End)
        if link.closed or self.full:
            return False
        self.internet.carry(link, frame)
        return True

    def soon(self, what: Callable[[], object]) -> None:
        self.internet.at(self.internet.now, what)

    def host_of(self, link: Link) -> str:
        assert isinstance(link, _End)
        return link.other.address if link.other is not None else ""

    def trust(self, link: Link) -> None:
        """Addresses cost nothing here."""

    def shut(self, link: Link) -> None:
        assert isinstance(link, _End)
        # As with ZeroMQ, only the end that dialled can close one connection.
        if not link.closed and link in self.ends:
            self.ends.remove(link)
            self.internet.close(link)

    async def close(self) -> None:
        self.crash()

    def crash(self) -> None:
        """Gone, as after kill -9: the system closes the connections."""
        self._running = False
        self.internet.listening.pop((self.address, self._port), None)
        for end in list(self.ends):
            self.shut(end)

    def hung_up(self, end: _End) -> None:
        if not end.closed:
            end.closed = True
            self.ends.remove(end)
            self.receiver.lost(end, "the connection was closed")

    def _refused(self, end: _End) -> None:
        if not end.closed:
            end.closed = True
            self.ends.remove(end)
            self.receiver.lost(end, "nothing listens there (connection refused or no route)")

    def _tick(self) -> None:
        if self._running:
            self.receiver.tick()
            self.internet.at(self.internet.now + _TICK_S, self._tick)
