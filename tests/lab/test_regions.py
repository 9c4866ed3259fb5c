"""Twelve whole nodes in three regions, nine of them at home behind NAT, through everything that happens.

Short forms of what is shown here: tests/e2e/test_together.py, tests/lab/test_nat.py,
tests/transport/test_relay_memory.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import process_memory
import pytest
from lab.hosts import Lab, NatKind
from lab.inside import ask
from lab.internet import AMERICA, ASIA, EUROPE, Site, three_regions, tun_unavailable
from lab.whole_node import COMMAND_LIMIT_S, Node, until

from opengateway.discovery.bootstrap import Bootstrap, Entry, sign, write
from opengateway.identity import Identity, base32, network_id

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(tun_unavailable()), reason=tun_unavailable()),
]

PORT = 11436
NETWORK = {"name": "regions", "secret": "a private network may use the pocket model anywhere"}
SOON_S = 30.0
"""Within so long everybody has found everybody, or agrees again."""
PARTED_S = 120.0
SECRET = "heliotrope chrysoprase obsidian"


class World:
    """Servers ada, ben and chi; in each region three homes, the second of them behind a symmetric NAT. All
    that they know is a signed document that names ada and ben."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.net, self.folder = three_regions(lab), folder
        self.nodes: dict[str, Node] = {}
        publisher = Identity.generate()
        self.listed = folder / "bootstrap.json"
        self.known = {"source": str(self.listed), "publishers": [base32(publisher.node_id)], "needed": 1}
        servers = [
            (self.net.server(name, region), region)
            for name, region in (("ada", EUROPE), ("ben", AMERICA), ("chi", ASIA))
        ]
        for site, region in servers:
            self._node(site, region)
        for region, place in ((EUROPE, "eu"), (AMERICA, "us"), (ASIA, "as")):
            kinds: tuple[NatKind, ...] = ("cone", "symmetric", "cone")
            for number, kind in enumerate(kinds, 1):
                home = self.net.home(f"{place}{number}", region, kind)
                self._node(home, region, "pocket" if number == 1 else "none")
        now = int(time.time()) * 1000
        named = [self.identity(site.name) for site, _ in servers[:2]]
        entries = tuple(
            Entry(who.node_id, (f"tcp://{site.address}:{PORT}",))
            for who, (site, _) in zip(named, servers[:2], strict=True)
        )
        net = network_id(NETWORK["name"], NETWORK["secret"])
        document = sign(Bootstrap(net, now, now + 86_400_000, entries, ()), publisher)
        self.listed.write_bytes(write(document))

    def _node(self, site: Site, region: str, engine: str = "none") -> None:
        settings: dict[str, Any] = {"wire": {"port": PORT}, "dht": {"enabled": False}}
        node = Node(
            site.host,
            self.folder / site.name,
            engine,
            region=region,
            network=NETWORK,
            bootstrap=self.known,
            **settings,
        )
        self.nodes[site.name] = node

    def identity(self, name: str) -> Identity:
        return Identity.load_or_create(self.nodes[name].home / "identity.key")

    def start(self, names: Iterable[str]) -> None:
        for starting in [self.nodes[name].start() for name in names]:
            assert starting.wait(3 * COMMAND_LIMIT_S) == 0

    def kill(self, names: Iterable[str]) -> None:
        for pid in [self.pid(name) for name in names]:
            os.kill(pid, signal.SIGKILL)

    def pid(self, name: str) -> int:
        return int(json.loads((self.nodes[name].home / "run" / "node.json").read_text())["pid"])

    def get(self, name: str, path: str) -> Any:
        return ask(self.nodes[name].host, self.nodes[name].home, path)

    def up(self, name: str) -> set[str]:
        """Names of the sites whose nodes it has a session with."""
        return {
            row["name"].partition("-")[0]
            for row in self.get(name, "/node/peers")["peers"]
            if row["state"] == "up"
        }

    def prompt(self, name: str, text: str) -> str:
        body = {"model": "pocket", "messages": [{"role": "user", "content": text}], "temperature": 0}
        node = self.nodes[name]
        answer = ask(node.host, node.home, "/v1/chat/completions", body, 60.0)
        return str(answer["choices"][0]["message"]["content"]).strip()

    def tell(self) -> None:
        for name in self.nodes:
            with contextlib.suppress(OSError):
                rows = self.get(name, "/node/peers")["peers"]
                print(name, [(row["name"], row["state"], row["path"], row["why"]) for row in rows])
            with contextlib.suppress(OSError):
                print(self.get(name, "/node/status")["reachability"])


@pytest.fixture
def world(lab: Lab, tmp_path: Path) -> Iterator[World]:
    built = World(lab, tmp_path)
    try:
        yield built
    finally:
        built.tell()


def measured(what: str, condition: Callable[[], object], within_s: float = SOON_S) -> None:
    print(f"{what}: {until(condition, what, within_s):.1f} s", flush=True)


def test_twelve_nodes_in_three_regions_find_each_other_and_live_through_everything(world: World) -> None:
    names = set(world.nodes)
    serving = {"eu1", "us1", "as1"}
    world.start(names)

    measured("all have found all that serve", lambda: all(serving - {n} <= world.up(n) for n in names))
    _answered_through_a_relay_that_cannot_read(world)

    def agree(alive: set[str], friends: dict[str, set[str]]) -> Callable[[], bool]:
        """Nobody believes that a dead one lives; of those that it had before, each has all that live."""
        return lambda: all(world.up(n) <= alive and friends[n] & alive <= world.up(n) for n in sorted(alive))

    friends = {name: world.up(name) for name in names}
    print("sessions each:", {name: len(found) for name, found in sorted(friends.items())})

    half = {"chi", "eu2", "eu3", "us2", "as1", "as3"}
    world.kill(half)
    measured("half of all were killed, the rest agree", agree(names - half, friends))
    world.start(half)
    measured("they are back, and all agree", agree(names, friends))

    east, west = {"ben", "us1", "us2", "us3"}, {"ada", "chi", "eu1", "eu2", "eu3", "as1", "as2", "as3"}
    world.net.split([AMERICA], [EUROPE, ASIA])
    parted = time.monotonic()
    measured("a partition is noticed", lambda: all(not world.up(n) & west for n in east), 15.0)
    time.sleep(max(0.0, PARTED_S - (time.monotonic() - parted)))  # it is the scene: two minutes of it
    world.net.heal()
    measured("after two minutes it heals", agree(names, friends))

    gone = {"ada", "ben"}
    world.kill(gone)
    world.listed.unlink()
    rest = names - gone
    measured("both entrances are gone for good, the rest agree", agree(rest, friends))
    world.kill({"as3"})
    world.start({"as3"})
    measured("a restarted home is back by what it knew", agree(rest, friends))
    assert world.prompt("as3", "What is 3+3?") == "6"


def _answered_through_a_relay_that_cannot_read(world: World) -> None:
    """From behind a symmetric NAT, by a home behind another NAT."""
    asking = world.nodes["eu2"]
    rows = {row["name"]: row for row in world.get("eu2", "/node/peers")["peers"]}
    for serving in ("eu1-1", "us1-1", "as1-1"):
        assert rows[serving]["path"].startswith("relayed via"), rows[serving]
    assert world.prompt("eu2", "What is 2+2?") == "4"
    world.prompt("eu2", SECRET)
    before = time.monotonic()
    for relay in ("ada", "ben", "chi"):
        assert not process_memory.holds(world.pid(relay), [SECRET.encode()]), f"{relay} can read it"
    carried = sum(_counter(world.get(relay, "/metrics"), "relay_bytes") for relay in ("ada", "ben", "chi"))
    assert carried > 0
    print(f"relays carried {carried} bytes; searched their memory in {time.monotonic() - before:.1f} s")
    command = [sys.executable, "-m", "opengateway", "map"]
    shown = asking.host.run(
        command,
        env=asking.environment,
        timeout=60,
        stderr=subprocess.STDOUT,
        capture_output=False,
        stdout=subprocess.PIPE,
    )
    print(shown.stdout)


def _counter(metrics: str, event: str) -> int:
    line = next(line for line in metrics.splitlines() if f'event="{event}"' in line)
    return int(line.rpartition(" ")[2])
