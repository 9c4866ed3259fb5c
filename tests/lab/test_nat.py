"""Homes behind NAT that reach each other: whole nodes on a small internet."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.hosts import Lab
from lab.internet import AMERICA, ASIA, EUROPE, Internet, Site, three_regions, tun_unavailable
from lab.whole_node import COMMAND_LIMIT_S, Node, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(tun_unavailable()), reason=tun_unavailable()),
]

PORT = 11436
NETWORK = {"name": "lab", "secret": "a private network may use the pocket model anywhere"}


class World:
    """Two servers, and homes that know their addresses and nothing else."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.net: Internet = three_regions(lab)
        self.folder = folder
        self.nodes: list[Node] = []
        self.servers = [self.net.server("ada", EUROPE), self.net.server("ben", AMERICA)]
        self.ada, self.ben = (self.node(site) for site in self.servers)

    def node(self, site: Site, engine: str = "none", **sections: Any) -> Node:
        others = [f"{server.address}:{PORT}" for server in self.servers if server is not site]
        wire = {"port": PORT, "bootstrap": others}
        node = Node(site.host, self.folder / site.name, engine, network=NETWORK, wire=wire, **sections)
        node.name = site.host.name
        self.nodes.append(node)
        return node

    def start(self) -> None:
        for starting in [node.start() for node in self.nodes]:
            assert starting.wait(COMMAND_LIMIT_S) == 0


@pytest.fixture
def world(lab: Lab, tmp_path: Path) -> Iterator[World]:
    built = World(lab, tmp_path)
    try:
        yield built
    finally:
        with contextlib.suppress(Exception):
            for node in built.nodes:
                print(node.type_anyway("status", "--json"), node.tell())


def reach(node: Node) -> dict[str, str]:
    found: dict[str, str] = json.loads(node.type("status", "--json"))["reachability"]
    return found


def path(node: Node, other: Node) -> str:
    return str(node.peers().get(other.name, {}).get("path", ""))


def test_two_homes_behind_nat_one_symmetric_answer_each_other_through_a_relay(world: World) -> None:
    flat = world.node(world.net.home("flat", EUROPE, "symmetric"))
    villa = world.node(world.net.home("villa", ASIA), "pocket")
    world.start()
    until(lambda: reach(world.ada)["kind"] == reach(world.ben)["kind"] == "direct", "the servers", 30)
    until(lambda: reach(villa)["kind"] == "relayed", "villa has a relay", 30)
    assert "forward TCP port 11436 on your router" in reach(villa)["text"]
    until(lambda: path(flat, villa).startswith("relayed via "), "flat reaches villa through a relay", 30)
    assert flat.type("prompt", "What is 2+2?").strip() == "4"
    assert flat.peers()[villa.name]["ring"] != "lan"

    via = world.ada if path(flat, villa).endswith("ada") else world.ben
    other = world.ben if via is world.ada else world.ada
    until(
        lambda: len(json.loads(villa.type("status", "--json"))["relays"]) == 2, "villa keeps two relays", 30
    )
    os.kill(via.pid, signal.SIGKILL)
    until(lambda: path(flat, villa) == f"relayed via {other.name}", "it goes on over the other relay", 30)
    assert flat.type("prompt", "What is 3+3?").strip() == "6"
