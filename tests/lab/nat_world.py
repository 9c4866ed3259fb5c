"""Two servers in public and homes behind NAT that know their addresses: where relays are needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.hosts import Lab
from lab.inside import ask
from lab.internet import AMERICA, EUROPE, Internet, Site, three_regions
from lab.whole_node import COMMAND_LIMIT_S, Node

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

    def node(self, site: Site, engine: str | dict[str, Any] = "none", **sections: Any) -> Node:
        others = [f"{server.address}:{PORT}" for server in self.servers if server is not site]
        wire = {"port": PORT, "bootstrap": others}
        node = Node(site.host, self.folder / site.name, engine, network=NETWORK, wire=wire, **sections)
        node.name = site.host.name
        self.nodes.append(node)
        return node

    def start(self) -> None:
        for starting in [node.start() for node in self.nodes]:
            assert starting.wait(COMMAND_LIMIT_S) == 0


@contextlib.contextmanager
def shown(world: World) -> Iterator[World]:
    """At the end, what each of its nodes has to say: pytest shows it where a test fails."""
    try:
        yield world
    finally:
        with contextlib.suppress(Exception):
            for node in world.nodes:
                print(node.type_anyway("status", "--json"), node.tell())


def reach(node: Node) -> dict[str, str]:
    found: dict[str, str] = ask(node.host, node.home, "/node/status")["reachability"]
    return found


def peers(node: Node) -> dict[str, dict[str, Any]]:
    """Those it has a session with, by name. Over HTTP: a router must not wait while a command starts."""
    listed = ask(node.host, node.home, "/node/peers")["peers"]
    return {peer["name"]: peer for peer in listed if peer["state"] == "up"}


def path(node: Node, other: Node) -> str:
    return str(peers(node).get(other.name, {}).get("path", ""))
