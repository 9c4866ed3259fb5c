"""This project's DHT (libtorrent): 40 nodes in one process on loopback, whereabouts put by one and located by
another, each with its signature checked again. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from select import select

ROOT = Path(__file__).resolve().parents[3]
sys.path[0] = str(ROOT)

from opengateway.discovery.dht import Announced, Dht, DhtEvent, Listening, Located, Published, TableSize  # noqa: E402
from opengateway.discovery.dht_settings import DhtSettings  # noqa: E402
from opengateway.discovery.topics import topic  # noqa: E402
from opengateway.discovery.whereabouts import Whereabouts, sign_whereabouts  # noqa: E402
from opengateway.identity import Identity, network_id  # noqa: E402

NODES = 40
NET = network_id("bench")
SETTINGS = DhtSettings("127.0.0.1", 0, guarded=False)
PATIENCE_S = 30.0


class Swarm:
    def __init__(self, size: int) -> None:
        self.nodes = [Dht(NET, SETTINGS) for _ in range(size)]
        self.heard: list[list[DhtEvent]] = [[] for _ in self.nodes]

    def until(self, look: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not look():
            if time.monotonic() > end:
                raise SystemExit("the swarm did not come together")
            ready, _, _ = select([node.wake for node in self.nodes], [], [], 0.2)
            for at, node in enumerate(self.nodes):
                if node.wake in ready:
                    node.drain()
                    self.heard[at] += node.poll(_now_ms())

    def said(self, at: int, kind: type[DhtEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.heard[at])

    def located(self, at: int, data: bytes) -> bool:
        return any(isinstance(event, Located) and event.data == data for event in self.heard[at])

    def join(self) -> None:
        size = len(self.nodes)
        self.until(lambda: all(self.said(at, Listening) for at in range(size)))
        for node in self.nodes[1:]:
            node.enter_by("127.0.0.1", self.nodes[0].port)
        for _ in range(20):
            for at, node in enumerate(self.nodes):
                node.seek(topic(NET, "world", "", f"{at}"))
                node.measure()
            self.heard = [[] for _ in self.nodes]
            self.until(lambda: all(self.said(at, TableSize) for at in range(size)))
            sizes = [event.nodes for heard in self.heard for event in heard if isinstance(event, TableSize)]
            if min(sizes) >= size // 4:
                return

    def found(self, at: int, name: bytes) -> None:
        """Waits until this node has heard of somebody under the topic."""

        def look() -> bool:
            self.nodes[at].seek(name)
            return any(isinstance(event, Announced) and event.topic == name for event in self.heard[at])

        self.until(look)

    def add(self, node: Dht) -> None:
        """One more, which enters by the first and knows some of the others when this returns."""
        self.nodes.append(node)
        self.heard.append([])
        at = len(self.nodes) - 1
        self.until(lambda: self.said(at, Listening) > 0)
        node.enter_by("127.0.0.1", self.nodes[0].port)

        def look() -> bool:
            node.measure()
            return any(isinstance(event, TableSize) and event.nodes for event in self.heard[at])

        self.until(look)

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def measure(values: int) -> dict[str, float]:
    swarm = Swarm(NODES)
    swarm.join()
    puts, gets = [], []
    before = _cpu_s()
    for _ in range(values):
        identity, now = Identity.generate(), _now_ms()
        here = Whereabouts(
            identity.node_id, 1, now + 600_000, "eu-central-1", 0, ("tcp://192.0.2.1:11436",), ()
        )
        data = sign_whereabouts(identity, NET, here, now_ms=now)
        swarm.heard = [[] for _ in swarm.nodes]
        began = time.perf_counter()
        swarm.nodes[1].publish(identity, data)
        swarm.until(lambda: swarm.said(1, Published) > 0)
        puts.append(time.perf_counter() - began)
        began = time.perf_counter()
        swarm.nodes[-1].locate(identity.node_id)
        swarm.until(lambda data=data: swarm.located(NODES - 1, data))  # type: ignore[misc]
        gets.append(time.perf_counter() - began)
    used = _cpu_s() - before
    swarm.close()
    return {
        "put_ms": statistics.median(puts) * 1000,
        "get_ms": statistics.median(gets) * 1000,
        "cpu_ms_pair": used / values * 1000,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    asked = argparse.ArgumentParser()
    asked.add_argument("--values", type=int, default=200)
    print(json.dumps(measure(asked.parse_args().values)))
