"""Fifty whole nodes that start together: they find each other, keep few sessions, and come to rest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from actors.kernel import Request
from actors.messages import DescribeDiscovery
from opengateway.app.node import Node
from opengateway.discovery.company import COMPANY, ENOUGH, PLENTY
from opengateway.identity import short
from tools.crowd import PATIENCE_S, Crowd, name, on_loop, wire

NODES = int(os.environ.get("OPENGATEWAY_NODES", "50"))
TOGETHER = 5
REST_S = 10.0
"""Nobody met or left anybody for so long."""
DHT: dict[str, Any] = {"enabled": True, "port": 0}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def start(crowd: Crowd, many: int, **sections: Any) -> None:
    for number in range(many):
        crowd.node(f"n{number}", **sections)
        if number % TOGETHER == 0:
            crowd.breathe()


def peers(node: Node) -> set[str]:
    return set(on_loop(node, lambda: [short(one.peer) for one in wire(node).sessions()]))


def until(holds: Callable[[], bool], what: str, patience_s: float = 240.0) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def at_rest(crowd: Crowd) -> None:
    """Wait until the picture has stood still."""
    last: list[set[str]] = []
    since = time.monotonic()
    deadline = since + 240.0
    while time.monotonic() - since < REST_S:
        assert time.monotonic() < deadline, "they do not come to rest"
        if (now := [peers(node) for node in crowd.nodes]) != last:
            last, since = now, time.monotonic()
        time.sleep(0.5)


def one_network(crowd: Crowd) -> bool:
    by_name = {name(node): node for node in crowd.nodes}
    edge = [crowd.nodes[0]]
    seen = {name(edge[0])}
    while edge:
        fresh = (peers(edge.pop()) & by_name.keys()) - seen
        seen |= fresh
        edge += [by_name[one] for one in fresh]
    return len(seen) == len(by_name)


def few_and_enough(crowd: Crowd) -> None:
    sessions = [len(peers(node)) for node in crowd.nodes]
    print(f"\n{len(sessions)} nodes: {min(sessions)} to {max(sessions)} sessions, {mean(sessions):.1f} each")
    assert min(sessions) >= min(COMPANY, len(sessions) - 1)
    assert mean(sessions) <= 1.5 * ENOUGH
    assert max(sessions) <= PLENTY
    assert one_network(crowd)


def test_nodes_that_know_one_of_them_come_to_rest_with_few_sessions_each(tmp_path: Path) -> None:
    with Crowd(tmp_path, one_loop=True) as crowd:
        entry = crowd.node("entry")
        start(crowd, NODES, wire={"bootstrap": [crowd.where(entry)]})
        until(lambda: len(peers(entry)) <= PLENTY, "the entry lets go of those who need it no more")
        at_rest(crowd)
        few_and_enough(crowd)


def test_nodes_that_know_a_dht_and_nobody_else_come_to_rest_with_few_sessions_each(tmp_path: Path) -> None:
    with (
        Crowd(tmp_path / "other", one_loop=True, dht=DHT) as others,
        Crowd(tmp_path / "ours", one_loop=True) as crowd,
    ):
        doorway = others.node("doorway")
        until(lambda: bool(discovery(doorway)["dht"]["port"]), "its DHT node listens", PATIENCE_S)
        entry = f"127.0.0.1:{discovery(doorway)['dht']['port']}"
        start(crowd, NODES, dht={**DHT, "entries": [entry]})
        until(lambda: min(len(peers(node)) for node in crowd.nodes) >= COMPANY, "everybody has company")
        # The first are found by everybody, and have a session with each until its first minute is over.
        until(lambda: max(len(peers(node)) for node in crowd.nodes) <= PLENTY, "the crowded let go")
        at_rest(crowd)
        few_and_enough(crowd)


def discovery(node: Node) -> dict[str, Any]:
    question: Request[dict[str, Any]] = DescribeDiscovery()
    return node.discovery.ask(question).get(timeout=PATIENCE_S)
