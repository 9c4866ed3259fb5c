"""The same DHT over IPv6."""

from __future__ import annotations

import socket

import pytest
from dht_lab import NET, Swarm, now_ms

from opengateway.discovery.dht import Announced, Dht, Located
from opengateway.discovery.dht_settings import DhtSettings
from opengateway.discovery.topics import topic
from opengateway.discovery.whereabouts import Whereabouts, sign_whereabouts
from opengateway.identity import Identity

pytest.importorskip("libtorrent")

WANTED = topic(NET, "world", "", "llama3.2:3b")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Six(Swarm):
    """All on ::1, and nowhere else."""

    def __init__(self, size: int) -> None:
        self.nodes = [Dht(NET, DhtSettings("::1", 0, guarded=False)) for _ in range(size)]
        self.heard = [[] for _ in self.nodes]
        self._asked = {}

    def join(self) -> None:
        first, *_ = self.ports()
        for node in self.nodes[1:]:
            node.enter_by("::1", first)
        self.until(lambda: all(node.nodes() for node in self.nodes[1:]), "each knows somebody")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_over_ipv6_nodes_are_found_by_what_they_serve_and_located_by_id() -> None:
    swarm = Six(3)
    try:
        swarm.join()
        assert all(host == "::1" for node in swarm.nodes for host, _ in node.nodes())
        swarm.nodes[1].announce(WANTED, 4001)

        def announced() -> bool:
            swarm.seek(2, WANTED)
            return any("tcp://[::1]:4001" in found.endpoints for found in swarm.said(2, Announced))

        swarm.until(announced, "who serves it is found")
        who, now = Identity.generate(), now_ms()
        here = Whereabouts(
            who.node_id, 1, now + 60_000, "eu-central-1", 0, ("tcp://[2606:4700::1]:4001",), ()
        )
        swarm.nodes[1].publish(who, sign_whereabouts(who, NET, here, now_ms=now))

        def located() -> bool:
            swarm.nodes[2].locate(who.node_id)
            return any(found.here.endpoints == here.endpoints for found in swarm.said(2, Located))

        swarm.until(located, "it is located by its id")
    finally:
        swarm.close()
