"""One busy worker between whole nodes on real hosts: who waits how long, by class. At the worker itself sits
its owner, on its link a friend; far away a node that the worker owes credit, and one that nobody knows."""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from homes import Home, homes
from lab.hosts import Host
from lab.inside import ask
from lab.internet import AMERICA, ASIA, EUROPE, Internet
from lab.whole_node import COMMAND_LIMIT_S, Node, until
from paced_engines import MODEL, command

from opengateway.routing.priority import HEAD_START, Service

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]

PORT = 11436
NETWORK = {"name": "waiting", "secret": ""}
"""Without a secret: whoever is not on the link is a stranger until credit covers it."""
TOKENS, SPEED = 60, 20.0
ANSWER_S = TOKENS / SPEED
LOAD_S = 240.0
OWNER_EVERY_S = 10.0
"""Seconds; no whole number of answers. The other three want all that is left, and more, all the time."""
CREDITS = 100
STAMP_S = 240.0
"""For all four stamps: 26 s of one core each, at the lowest priority."""


@dataclass
class Asker:
    """`at_once`: prompts that are always on their way; 0: one every `OWNER_EVERY_S`."""

    service: Service
    node: Node
    at_once: int
    waits: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    open_since: dict[int, float] = field(default_factory=dict)

    def once(self, number: int) -> None:
        began = self.open_since[number] = time.monotonic()
        body = {"model": MODEL, "prompt": "Once", "max_tokens": TOKENS}
        try:
            answer = ask(self.node.host, self.node.home, "/v1/completions", body, limit_s=200)
            if "choices" in answer:
                self.waits.append(max(0.0, time.monotonic() - began - ANSWER_S))
            else:
                self.refused.append(answer["error"]["message"])
        finally:
            del self.open_since[number]

    def ask_on(self, number: int, until_s: float) -> None:
        while (now := time.monotonic()) < until_s:
            self.once(number)
            if not self.at_once:
                time.sleep(max(0.0, now + OWNER_EVERY_S - time.monotonic()))


@dataclass
class World:
    owner: Node
    friend: Node
    creditor: Node
    newcomer: Node

    @property
    def nodes(self) -> list[Node]:
        return [self.owner, self.friend, self.creditor, self.newcomer]


def engine(host: Host) -> str:
    """The URL of one there, as its own machine reaches it."""
    process = host.popen(command({"one": SPEED}), stdout=subprocess.PIPE)
    return f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}/one/v1"


def node(host: Host, home: Path, region: str, **sections: Any) -> Node:
    settings = {"region": region, "dht": {"enabled": False}, "network": NETWORK} | sections
    return Node(host, home, **{"wire": {"port": PORT}, **settings})


@pytest.fixture
def world(net: Internet, tmp_path: Path) -> Iterator[World]:
    """All know each other, and have the stamps that strangers want to see."""
    house = net.home("house", EUROPE, machines=2)
    far, new = net.server("creditor", AMERICA), net.server("newcomer", ASIA)
    with homes(tmp_path, NETWORK, "worker", "creditor") as (worker, creditor):
        creditor.serve(worker, CREDITS)
    known = {"port": PORT, "bootstrap": [f"tcp://{site.address}:{PORT}" for site in (far, new)]}
    serving = {"kind": "openai", "url": engine(house.hosts[0]), "slots": 1}
    made = World(
        node(house.hosts[0], _home(worker), EUROPE, wire=known, engine=serving),
        node(house.hosts[1], tmp_path / "friend", EUROPE),
        node(far.host, _home(creditor), AMERICA),
        node(new.host, tmp_path / "newcomer", ASIA),
    )
    try:
        for starting in [one.start() for one in made.nodes]:
            assert starting.wait(4 * COMMAND_LIMIT_S) == 0
        until(lambda: all(_offered(one) for one in made.nodes[1:]), "the worker is known to all", 60)
        until(lambda: _stamped(made.newcomer), "the newcomer has its stamp", STAMP_S)
        yield made
    finally:
        for one in made.nodes:
            print(one.tell())


def _home(home: Home) -> Path:
    return home.folder / home.name / ".opengateway"


def _get(node: Node, path: str) -> Any:
    return ask(node.host, node.home, path)


def _offered(node: Node) -> bool:
    return any(model["name"] == MODEL for model in _get(node, "/node/models")["network"])


def _stamped(node: Node) -> bool:
    return bool(_get(node, "/node/status")["stamp"]["state"] == "made")


def table(askers: list[Asker]) -> str:
    lines = [f"{'':10}{'answers':>8}{'mean':>8}{'p50':>8}{'max':>8}{'refused':>9}   seconds"]
    for asker in askers:
        figures = [statistics.fmean(asker.waits), statistics.median(asker.waits), max(asker.waits)]
        shown = "".join(f"{figure:8.1f}" for figure in figures)
        lines.append(f"{asker.service.name.lower():10}{len(asker.waits):8}{shown}{len(asker.refused):9}")
    return "\n".join(lines)


def test_the_owner_waits_least_then_friends_then_credit_and_a_newcomer_within_its_bound(world: World) -> None:
    askers = [
        Asker(Service.OWNER, world.owner, 0),
        Asker(Service.FRIEND, world.friend, 1),
        Asker(Service.SECURED, world.creditor, 1),
        Asker(Service.STRANGER, world.newcomer, 1),
    ]
    ends = time.monotonic() + LOAD_S
    threads = [
        threading.Thread(target=asker.ask_on, args=(number, ends), name=f"{asker.service.name} {number}")
        for asker in askers
        for number in range(max(1, asker.at_once))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(table(askers))
    owner, _, _, newcomer = askers
    assert not any(asker.refused for asker in askers), [asker.refused for asker in askers]
    means = [statistics.fmean(asker.waits) for asker in askers]
    assert means == sorted(means), table(askers)
    # Nobody's is interrupted, so the owner waits for one answer at most.
    assert max(owner.waits) < 2 * ANSWER_S
    # Whoever comes more than a head start later never goes before it; the rest is the queue that was there.
    assert max(newcomer.waits) < HEAD_START[Service.STRANGER] + 4 * ANSWER_S
