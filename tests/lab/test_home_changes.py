"""What a home's router does to its connections: it forgets idle ones soon, and its public address changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.hosts import Lab
from lab.inside import ask
from lab.internet import ASIA, EUROPE, three_regions, tun_unavailable
from lab.whole_node import COMMAND_LIMIT_S, Node, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(tun_unavailable()), reason=tun_unavailable()),
]

PORT = 11436
NETWORK = {"name": "lab", "secret": "homes"}
SHORT_S = 3.0
"""Routers keep an idle TCP mapping for two hours, by RFC 5382; bad ones for minutes. This one is worse."""
IDLE_S = 3 * SHORT_S


class Pair:
    """A server, and a home that has dialled it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.net = three_regions(lab)
        self.ada, self.villa = self.net.server("ada", EUROPE), self.net.home("villa", ASIA)
        wire = {"port": PORT, "map_port": False}
        common = {"network": NETWORK, "dht": {"enabled": False}}
        self.server = Node(self.ada.host, folder / "ada", wire=wire, **common)
        wire = wire | {"bootstrap": [f"{self.ada.address}:{PORT}"]}
        self.home = Node(self.villa.host, folder / "villa", wire=wire, **common)
        for starting in [node.start() for node in (self.server, self.home)]:
            assert starting.wait(COMMAND_LIMIT_S) == 0
        until(lambda: self.state(self.server) == "up", "they have met", 30)

    def state(self, node: Node) -> str:
        rows = ask(node.host, node.home, "/node/peers")["peers"]
        return str(rows[0]["state"]) if rows else ""

    def downs(self, node: Node) -> int:
        metrics = ask(node.host, node.home, "/metrics").splitlines()
        return int(next(line for line in metrics if 'event="sessions_down"' in line).rpartition(" ")[2])


@pytest.fixture
def pair(lab: Lab, tmp_path: Path) -> Iterator[Pair]:
    yield Pair(lab, tmp_path)


def test_a_home_stays_through_a_router_that_forgets_soon_and_returns_after_a_change_of_address(
    pair: Pair,
) -> None:
    pair.net.mapping_lives(pair.villa, tcp_s=SHORT_S)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > IDLE_S, "nobody said anything for three times as long", 60)
    assert pair.state(pair.server) == pair.state(pair.home) == "up"
    assert pair.downs(pair.home) == pair.downs(pair.server) == 0

    pair.net.new_address(pair.villa)
    took = until(lambda: pair.downs(pair.home), "the old connection is given up", 20)
    took += until(lambda: pair.state(pair.home) == pair.state(pair.server) == "up", "they have met again", 25)
    assert took < 30
    assert len(ask(pair.server.host, pair.server.home, "/node/peers")["peers"]) == 1, "one node, as before"
