"""Real libtorrent nodes on loopback: a small private DHT."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import select
from typing import TypeVar

from opengateway.discovery.dht import Dht, DhtEvent, Listening, TableSize
from opengateway.discovery.dht_settings import DhtSettings
from opengateway.discovery.topics import topic
from opengateway.identity import network_id
from opengateway.units import NetworkId

R = TypeVar("R")

NET = network_id("a dht", "of this test")
LOOPBACK = DhtSettings("127.0.0.1", 0, guarded=False)
PATIENCE_S = 20.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Swarm:
    """Nodes that are listened to together. `heard` is everything that each has said so far."""

    def __init__(self, size: int, net: NetworkId = NET) -> None:
        self.nodes = [Dht(net, LOOPBACK) for _ in range(size)]
        self.heard: list[list[DhtEvent]] = [[] for _ in self.nodes]
        self._asked: dict[tuple[int, bytes], float] = {}

    def until(self, look: Callable[[], R], what: str) -> R:
        """The first true value of `look`, tried after every event and twice a second."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()):
            left = deadline - time.monotonic()
            assert left > 0, f"waited {PATIENCE_S:.0f} s in vain until {what}"
            ready, _, _ = select([node.wake for node in self.nodes], [], [], min(left, 0.5))
            self.listen([node for node in self.nodes if node.wake in ready])
        return found

    def listen(self, to: list[Dht]) -> None:
        for at, node in enumerate(self.nodes):
            if node in to:
                node.drain()
                self.heard[at] += node.poll(now_ms())

    def said(self, at: int, kind: type[R]) -> list[R]:
        return [event for event in self.heard[at] if isinstance(event, kind)]

    def seek(self, at: int, name: bytes) -> None:
        """Ask, and ask again with every call, but twice a second at most: an answer is an event, and one that
        provokes the next question at once is a storm."""
        now = time.monotonic()
        if now - self._asked.get((at, name), -1.0) >= 0.5:
            self._asked[at, name] = now
            self.nodes[at].seek(name)

    def ports(self) -> list[int]:
        self.until(lambda: all(self.said(at, Listening) for at in range(len(self.nodes))), "all listen")
        return [node.port for node in self.nodes]

    def table(self, at: int) -> int:
        """Nodes in its routing table now."""
        before = len(self.said(at, TableSize))
        self.nodes[at].measure()
        self.until(lambda: len(self.said(at, TableSize)) > before, "it is measured")
        return self.said(at, TableSize)[-1].nodes

    def traffic(self, at: int) -> int:
        """Bytes that it has received so far, as far as it has said."""
        self.nodes[at].measure()
        self.listen(self.nodes)
        return max((size.bytes_in for size in self.said(at, TableSize)), default=0)

    def join(self) -> None:
        """Everybody enters by the first, and looks around until nobody is alone."""
        first, *_ = self.ports()
        for node in self.nodes[1:]:
            node.enter_by("127.0.0.1", first)
        for at in range(1, len(self.nodes)):
            self.until(lambda at=at: self.table(at) > 0, "it knows somebody")
        for at, node in enumerate(self.nodes):
            node.seek(topic(NET, "world", "", f"whatever {at}"))

    def close(self) -> None:
        for node in self.nodes:
            node.close()


@contextmanager
def swarm(size: int, net: NetworkId = NET) -> Iterator[Swarm]:
    nodes = Swarm(size, net)
    try:
        nodes.join()
        yield nodes
    finally:
        nodes.close()
