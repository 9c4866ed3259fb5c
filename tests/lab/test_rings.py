"""The widening search between whole nodes on real hosts: one at home, three on its link, four in its region,
four in its country, four abroad, each with the pocket model and one slot."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.hosts import Host, Lab
from lab.internet import AMERICA, EUROPE, Internet, three_regions
from lab.whole_node import COMMAND_LIMIT_S, Node, until

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]

WEST = "us-west-2"
WEST_MS, HOME_MS = 33.0, 1.0
"""One way, to N. Virginia and within a region."""
PORT = 11436
NETWORK = {"network": {"name": "rings", "secret": "0123456789abcdef0123456789abcdef"}}
RINGS = {"lan": 3, "nearest": 4, "country": 4, "world": 4}
AT_ONCE = 4
"""Nodes that start together: each also starts an engine."""
ASK = """
import http.client, json, sys, threading
port, count, tokens = map(int, sys.argv[1:])
body = json.dumps({"prompt": "Once", "max_tokens": tokens, "temperature": 0, "logit_bias": {"2": -100}})
ids, lock, go = [], threading.Lock(), threading.Barrier(count)
def ask():
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    c.connect(); go.wait()
    c.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    r = c.getresponse(); text = r.read()
    with lock: ids.append((r.status, r.headers["x-opengateway-request-id"], text.decode()[:300]))
threads = [threading.Thread(target=ask) for _ in range(count)]
[t.start() for t in threads]; [t.join() for t in threads]
print(json.dumps(ids))
"""


def node(host: Host, folder: Path, region: str, **wire: object) -> Node:
    sections = {"region": region, "dht": {"enabled": False}, "wire": {"port": PORT, **wire}} | NETWORK
    made = Node(host, folder / host.name, "pocket", **sections)
    config = json.loads((made.home / "config.json").read_text())
    config["engine"]["slots"] = 1
    (made.home / "config.json").write_text(json.dumps(config))
    return made


@pytest.fixture
def home(lab: Lab, tmp_path: Path) -> Iterator[Node]:
    """The node that asks, once it knows all fifteen others."""
    net: Internet = three_regions(lab)
    net.delay(AMERICA, WEST, WEST_MS)
    net.delay(WEST, WEST, HOME_MS)
    net.delay(AMERICA, AMERICA, HOME_MS)
    villa = net.home("villa", AMERICA, machines=4)
    places = {"near": AMERICA, "west": WEST, "abroad": EUROPE}
    sites = [
        (net.server(f"{name}{number}", region), region)
        for name, region in places.items()
        for number in range(4)
    ]
    known = [f"tcp://{site.address}:{PORT}" for site, _ in sites]
    nodes = [node(site.host, tmp_path, region) for site, region in sites]
    nodes += [node(host, tmp_path, AMERICA) for host in villa.hosts[1:]]
    asking = node(villa.host, tmp_path, AMERICA, bootstrap=known)
    nodes.append(asking)
    try:
        for at in range(0, len(nodes), AT_ONCE):
            for starting in [one.start() for one in nodes[at : at + AT_ONCE]]:
                assert starting.wait(4 * COMMAND_LIMIT_S) == 0
        # The nearest are told by their shortest round trip: on a busy machine that takes some pings.
        until(lambda: Counter(serving(asking).values()) == RINGS, "all others serve, each in its ring", 240)
        yield asking
    finally:
        print(asking.tell())


def serving(asking: Node) -> dict[str, str]:
    """Ring of each that has the model."""
    return {name: peer["ring"] for name, peer in asking.peers().items() if peer["models"]}


def rings(asking: Node, count: int, tokens: int) -> Counter[str]:
    """Where so many at once were answered, by their traces."""
    port = json.loads(asking.type("status", "--json"))["http"].rpartition(":")[2]
    done = asking.host.run([sys.executable, "-c", ASK, port, str(count), str(tokens)], timeout=300)
    found: Counter[str] = Counter()
    for status, request, text in json.loads(done.stdout):
        assert status == 200, text
        trace = json.loads(asking.type("trace", request, "--json"))
        answered = [event for event in trace["events"] if event["what"] == "sent"][-1]
        found[answered["ring"]] += 1
    return found


def test_one_stays_near_eight_use_link_and_region_sixteen_reach_abroad(home: Node) -> None:
    assert rings(home, 1, 20) == {"local": 1}
    eight = rings(home, 8, 200)
    assert eight == {"local": 1, "lan": 3, "nearest": 4}
    sixteen = rings(home, 16, 400)
    print(dict(eight), dict(sixteen))
    assert sixteen["world"] > 0
    assert sixteen["local"] >= 1
    assert sixteen["lan"] >= 3
    assert sixteen["nearest"] >= 4
    assert sum(sixteen.values()) == 16
