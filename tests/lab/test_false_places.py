"""Nodes that are not where they say, with faster engines, beside one that is: who gets the prompts."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.inside import ask, listen
from lab.internet import AMERICA, ASIA, EUROPE, Internet, Site
from lab.whole_node import COMMAND_LIMIT_S, Node, until
from paced_engines import MODEL, command

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 11436
NETWORK = {"name": "places", "secret": "members of a private network need no stamps"}
PROMPTS, TOKENS, SLOW, FAST = 20, 10, 50.0, 100.0


@dataclass(frozen=True)
class Worker:
    stands: str
    says: str
    speed: float
    ring: str
    disproved: bool


WORKERS = {
    "honest": Worker(EUROPE, EUROPE, SLOW, "nearest", disproved=False),
    # A long round trip disproves nothing, as its line may be bad; but it counts.
    "claims-near": Worker(ASIA, EUROPE, FAST, "country", disproved=False),
    "claims-far": Worker(EUROPE, ASIA, FAST, "world", disproved=True),
    "abroad": Worker(AMERICA, AMERICA, FAST, "world", disproved=False),
}


def engine(site: Site, speed: float) -> dict[str, Any]:
    process = site.host.popen(command({"one": speed}), stdout=subprocess.PIPE)
    port = json.loads(process.stdout.readline())["port"]
    return {"kind": "openai", "url": f"http://127.0.0.1:{port}/one/v1", "slots": 1}


@pytest.fixture
def asking(net: Internet, tmp_path: Path) -> Iterator[Node]:
    sites = {name: net.server(name, worker.stands) for name, worker in WORKERS.items()}
    common = {"dht": {"enabled": False}, "network": NETWORK}
    nodes = [
        Node(site.host, tmp_path / name, engine(site, WORKERS[name].speed),
             region=WORKERS[name].says, wire={"port": PORT}, **common)
        for name, site in sites.items()
    ]  # fmt: skip
    known = {"port": PORT, "bootstrap": [f"tcp://{site.address}:{PORT}" for site in sites.values()]}
    asks = Node(net.server("asking", EUROPE).host, tmp_path / "asking", region=EUROPE, wire=known, **common)
    try:
        for starting in [node.start() for node in (*nodes, asks)]:
            assert starting.wait(4 * COMMAND_LIMIT_S) == 0
        yield asks
    finally:
        print(asks.tell())


def rows(asking: Node) -> dict[str, dict[str, Any]]:
    listed = ask(asking.host, asking.home, "/node/peers")["peers"]
    return {row["name"]: row for row in listed if row["state"] == "up" and row["models"]}


def judged(asking: Node) -> bool:
    seen = {name: (row["ring"], row["place_disproved"]) for name, row in rows(asking).items()}
    return seen == {name: (worker.ring, worker.disproved) for name, worker in WORKERS.items()}


def answered(asking: Node) -> tuple[str, float]:
    """By whom, and seconds to its first token."""
    began, first = time.monotonic(), list[float]()

    def line(text: str) -> None:
        if '"content"' in text and not first:
            first.append(time.monotonic() - began)

    body = {"model": MODEL, "messages": [{"role": "user", "content": "Count."}], "max_tokens": TOKENS}
    listen(asking.host, asking.home, "/v1/chat/completions", body, line, 60.0)
    events = ask(asking.host, asking.home, "/node/trace/last")["events"]
    return str([event for event in events if event["what"] == "sent"][-1]["name"]), first[0]


def test_who_says_to_be_near_and_is_not_gets_nothing_that_an_honest_neighbour_can_answer(
    asking: Node,
) -> None:
    until(lambda: judged(asking), "each is in its ring", 60)
    answers = [answered(asking) for _ in range(PROMPTS)]
    shares = Counter(name for name, _ in answers)
    print(
        f"\n{'':12}{'stands in':16}{'says':16}{'round trip':>12}  {'ring':10}{'disproved':10}{'answers':>8}"
    )
    for name, row in rows(asking).items():
        worker = WORKERS[name]
        print(f"{name:12}{worker.stands:16}{worker.says:16}{row['best_ms']:9.0f} ms  {row['ring']:10}"
              f"{row['place_disproved']!s:10}{shares[name]:8}")  # fmt: skip
    waits = [seconds for _, seconds in answers]
    print(f"first token: p50 {statistics.median(waits):.3f} s, max {max(waits):.3f} s", flush=True)
    assert shares == {"honest": PROMPTS}
