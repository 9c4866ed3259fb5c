"""Homes behind NAT that reach each other: whole nodes on a small internet."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.hosts import Lab
from lab.inside import ask
from lab.internet import ASIA, EUROPE, Internet, Site, tun_unavailable
from lab.nat_world import PORT, World, path, peers, reach, shown
from lab.whole_node import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(tun_unavailable()), reason=tun_unavailable()),
]


@pytest.fixture
def world(lab: Lab, tmp_path: Path) -> Iterator[World]:
    with shown(World(lab, tmp_path)) as built:
        yield built


class Router:
    """The services of a home's router. `serve` does what it was asked for since."""

    def __init__(self, net: Internet, home: Site, *services: str) -> None:
        self.net, self.home = net, home
        assert home.link is not None
        command = [sys.executable, "-m", "lab.home_router", home.router.address(home.link), *services]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = home.router.popen(command, cwd=Path(__file__).parents[1], **pipes)
        self.asked: list[dict[str, Any]] = []

    def serve(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        while select.select([self.process.stdout], [], [], 0)[0]:
            wanted = json.loads(self.process.stdout.readline())
            self.asked.append(wanted)
            if wanted["life_s"]:
                self.net.forward(self.home, wanted["outer"], inner_port=wanted["inner"])
            else:
                self.net.unforward(self.home, wanted["outer"] or PORT)
            self.process.stdin.write(f"{self.home.address}\n")
            self.process.stdin.flush()


def test_two_homes_behind_nat_one_symmetric_answer_each_other_through_a_relay(world: World) -> None:
    flat = world.node(world.net.home("flat", EUROPE, "symmetric"))
    villa = world.node(world.net.home("villa", ASIA), "pocket")
    world.start()
    until(lambda: reach(world.ada)["kind"] == reach(world.ben)["kind"] == "direct", "the servers", 30)
    until(lambda: reach(villa)["kind"] == "relayed", "villa has a relay", 30)
    assert "forward TCP port 11436 on your router" in reach(villa)["text"]
    until(lambda: path(flat, villa).startswith("relayed via "), "flat reaches villa through a relay", 30)
    assert flat.type("prompt", "What is 2+2?").strip() == "4"
    assert peers(flat)[villa.name]["ring"] != "lan"

    via = world.ada if path(flat, villa).endswith("ada") else world.ben
    other = world.ben if via is world.ada else world.ada
    until(lambda: len(ask(villa.host, villa.home, "/node/status")["relays"]) == 2, "it keeps two relays", 30)
    os.kill(via.pid, signal.SIGKILL)
    until(lambda: path(flat, villa) == f"relayed via {other.name}", "it goes on over the other relay", 30)
    assert flat.type("prompt", "What is 3+3?").strip() == "6"


@pytest.mark.parametrize("services", [("natpmp",), ("upnp", "permanent")])
def test_a_router_that_forwards_a_port_on_request_makes_a_node_reachable(
    world: World, services: tuple[str, ...]
) -> None:
    home = world.net.home("villa", ASIA)
    flat, villa = world.node(world.net.home("flat", EUROPE, "symmetric")), world.node(home, "pocket")
    router = Router(world.net, home, *services)
    world.start()

    def served(condition: bool) -> bool:
        router.serve()
        return condition

    until(lambda: served(reach(villa)["kind"] == "mapped"), "villa is mapped", 60)
    assert f"{home.address}:{PORT}, as peers elsewhere have tried" in reach(villa)["text"]
    assert ("NAT-PMP" if "natpmp" in services else "UPnP") in reach(villa)["text"]
    until(lambda: served(path(flat, villa) == "direct"), "flat reaches villa directly", 60)
    assert flat.type("prompt", "What is 2+2?").strip() == "4"
    stopping = villa.host.popen([sys.executable, "-m", "opengateway", "stop"], env=villa.environment)
    until(lambda: served(stopping.poll() is not None), "villa stops", 30)
    until(lambda: served(router.asked[-1]["life_s"] == 0), "the mapping is removed", 5)


def test_a_relayed_pair_moves_to_a_direct_connection_when_the_owner_forwards_a_port(world: World) -> None:
    home = world.net.home("villa", ASIA)
    flat, villa = world.node(world.net.home("flat", EUROPE, "symmetric")), world.node(home, "pocket")
    world.start()
    until(lambda: path(flat, villa).startswith("relayed via "), "flat reaches villa through a relay", 60)
    since = peers(flat)[villa.name]["up_s"]
    world.net.forward(home, PORT)
    until(lambda: reach(villa)["kind"] == "direct", "villa knows that it is reached", 100)
    until(lambda: path(flat, villa) == "direct", "the session has moved", 30)
    assert peers(flat)[villa.name]["up_s"] > since, "it was never down"
    assert flat.type("prompt", "What is 2+2?").strip() == "4"
