"""Lan between real hosts: every node is a process of its own in a namespace of its own."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.hosts import Host, Lab
from lab.namespaces import nat_unavailable

from opengateway.discovery.lan import NO_NETWORK, NOT_HEARD
from opengateway.identity import Identity, short

pytestmark = pytest.mark.lab

NODE = Path(__file__).with_name("lan_node.py")
ROOT = Path(__file__).parents[2]


class Node:
    """A lan_node process and what it said so far."""

    def __init__(
        self, host: Host, seed: str, *, net: str = "test", port: int = 11436, loop: str = ""
    ) -> None:
        self.name = short(Identity(seed.encode().ljust(32, b".")).node_id)
        command = [sys.executable, str(NODE), seed, net, str(port), *filter(None, [loop])]
        self.process = host.popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self.events: list[dict[str, Any]] = []
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)

    def wait(self, wanted: Callable[[dict[str, Any]], bool], within_s: float) -> dict[str, Any]:
        """The first event that is wanted and was not asked for before."""
        deadline = time.monotonic() + within_s
        while True:
            for event in self.events:
                if wanted(event):
                    self.events.remove(event)
                    return event
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                raise AssertionError(f"{self.name}: nothing wanted came within {within_s} s")
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"{self.name} ended"
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.events += map(json.loads, lines)

    def ready(self) -> dict[str, Any]:
        return self.wait(lambda event: event["event"] == "ready", 20)

    def finds(self, other: Node, within_s: float = 3, *, at: str = "", after: float = 0) -> dict[str, Any]:
        return self.wait(
            lambda event: (
                event["event"] == "found"
                and event["node"] == other.name
                and event["t"] > after
                and (not at or event["endpoints"][0].startswith(f"tcp://{at}:"))
            ),
            within_s,
        )

    def loses(self, other: Node, within_s: float) -> dict[str, Any]:
        return self.wait(lambda event: event["event"] == "lost" and event["node"] == other.name, within_s)

    def has_problem(self, problem: str, within_s: float) -> None:
        self.wait(lambda event: event["event"] == "problem" and event["problem"] == problem, within_s)

    def ignores(self, reason: str, times: int = 1) -> None:
        self.wait(lambda event: event["event"] == "ignored" and event["ignored"].get(reason, 0) >= times, 20)

    def close(self) -> dict[str, Any]:
        self.process.stdin.close()
        return self.wait(lambda event: event["event"] == "closed", 5)

    def __del__(self) -> None:
        self._selector.close()


@pytest.fixture
def pair(lab: Lab) -> tuple[Host, Host]:
    anna, bert = lab.host("anna"), lab.host("bert")
    lab.link(anna, bert)
    return anna, bert


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_two_nodes_find_each_other_within_three_seconds(pair: tuple[Host, Host], loop: str) -> None:
    a, b = Node(pair[0], "a", loop=loop), Node(pair[1], "b", loop=loop)
    ready = max(a.ready()["t"], b.ready()["t"])
    seen_by_a, seen_by_b = a.finds(b), b.finds(a)
    assert seen_by_a["endpoints"][0] == f"tcp://{pair[1].address()}:11436"
    assert seen_by_b["endpoints"][0] == f"tcp://{pair[0].address()}:11436"
    assert max(seen_by_a["t"], seen_by_b["t"]) - ready < 3


def test_a_node_that_comes_later_finds_those_already_there(pair: tuple[Host, Host]) -> None:
    a = Node(pair[0], "a")
    a.ready()
    b = Node(pair[1], "b")
    ready = b.ready()["t"]
    assert b.finds(a)["t"] - ready < 3
    a.finds(b)


def test_a_goodbye_is_noticed_within_a_second(pair: tuple[Host, Host]) -> None:
    a, b = Node(pair[0], "a"), Node(pair[1], "b")
    a.finds(b, 20)
    b.finds(a)
    gone = time.monotonic()
    b.close()
    assert a.loses(b, 2)["t"] - gone < 1


def test_a_changed_address_is_followed(pair: tuple[Host, Host]) -> None:
    a, b = Node(pair[0], "a"), Node(pair[1], "b")
    a.finds(b, 20)
    b.finds(a)
    new = pair[1].change_address()
    a.finds(b, 8, at=new)


def test_an_interface_that_goes_down_and_up_loses_and_finds_again(pair: tuple[Host, Host]) -> None:
    a, b = Node(pair[0], "a"), Node(pair[1], "b")
    a.finds(b, 20)
    b.finds(a)
    pair[1].down()
    b.has_problem(NO_NETWORK, 3)
    lost = b.loses(a, 8)
    pair[1].up()
    b.has_problem("", 4)
    b.finds(a, 4, after=lost["t"])


def test_a_node_started_without_any_network_finds_others_when_one_comes_up(lab: Lab) -> None:
    anna, bert = lab.host("anna"), lab.host("bert")
    bert.ip("link set lo down")
    a, b = Node(anna, "a"), Node(bert, "b")
    assert a.ready()["problem"] == b.ready()["problem"] == NO_NETWORK
    lab.link(anna, bert)
    a.finds(b, 5)
    b.finds(a, 5)


def test_two_nodes_on_a_machine_without_network_find_each_other(lab: Lab) -> None:
    anna = lab.host("anna")
    a, b = Node(anna, "a", port=11436), Node(anna, "b", port=11437)
    a.ready()
    b.ready()
    assert a.finds(b)["endpoints"][0] == "tcp://127.0.0.1:11437"
    assert b.finds(a)["endpoints"][0] == "tcp://127.0.0.1:11436"


def test_nodes_that_have_only_link_local_ipv6_find_each_other(pair: tuple[Host, Host]) -> None:
    for host in pair:
        host.ip("addr flush dev eth0 scope global")
    a, b = Node(pair[0], "a"), Node(pair[1], "b")
    found = a.finds(b, 20)["endpoints"][0]
    assert found.startswith("tcp://[fe80::")
    assert found.endswith("%eth0]:11436")
    b.finds(a)


def test_a_second_link_is_joined_while_running(lab: Lab, pair: tuple[Host, Host]) -> None:
    a, b = Node(pair[0], "a"), Node(pair[1], "b")
    a.finds(b, 20)
    carl = lab.host("carl")
    lab.link(pair[0], carl)
    c = Node(carl, "c")
    c.finds(a, 20, at=pair[0].address(pair[0]._links[1]))
    a.finds(c)


def test_another_network_on_the_same_link_is_ignored(pair: tuple[Host, Host]) -> None:
    a, b = Node(pair[0], "a", net="ours"), Node(pair[1], "b", net="theirs")
    a.ignores("other_network")
    b.ignores("other_network")
    for node in (a, b):
        node.close()
        assert not any(event["event"] == "found" for event in node.events)


HOSTILE = """
import os, random, socket, sys, asyncio
from zeroconf import ServiceInfo, Zeroconf
from opengateway.identity import base32
S = "_opengateway._tcp.local."
z = Zeroconf(interfaces=[sys.argv[1]])
ids = [base32(os.urandom(32)) for _ in range(4)]
me = [socket.inet_aton(sys.argv[1])]
for name, texts in (
    ("nobody", {"v": "1"}),
    (ids[0], {"v": "1", "id": ids[1], "net": "00" * 8}),
    (ids[1], b"\\xff" * 900),
    (ids[2], {"v": "1", "id": "x" * 200, "net": ""}),
    (ids[3], {f"k{i}": "v" * 200 for i in range(5)}),
):
    info = ServiceInfo(S, f"{name}.{S}", port=1, properties=texts, addresses=me, server=f"{name}.local.")
    z.register_service(info, cooperating_responders=True, strict=False)
raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
dice = random.Random(1)
for _ in range(2000):
    raw.sendto(dice.randbytes(dice.randrange(1, 1400)), ("224.0.0.251", 5353))
for i in range(2000):
    name = bytes([52]) + os.urandom(26).hex().encode() + bytes([12]) + b"_opengateway" + bytes([4]) + b"_tcp"
    name += bytes([5]) + b"local" + bytes([0])
    service = name[53:]
    head = bytes([0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    raw.sendto(head + service + bytes([0, 12, 0, 1, 0, 0, 17, 148]) + len(name).to_bytes(2, "big") + name,
               ("224.0.0.251", 5353))
print("done", flush=True)
sys.stdin.read()
"""


def test_hostile_announcements_are_ignored_and_counted_and_others_still_found(
    lab: Lab, pair: tuple[Host, Host]
) -> None:
    a = Node(pair[0], "a")
    a.ready()
    eve = pair[1].popen(
        [sys.executable, "-c", HOSTILE, pair[1].address()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert eve.stdout.readline() == "done\n"
    b = Node(pair[1], "b")
    found = a.finds(b, 20)
    assert found["endpoints"][0].startswith(f"tcp://{pair[1].address()}")
    a.ignores("id", 3)
    a.ignores("name")


@pytest.mark.skipif(bool(nat_unavailable()), reason=nat_unavailable() or "nft is there")
def test_a_firewall_that_blocks_multicast_dns_is_named_as_the_problem(pair: tuple[Host, Host]) -> None:
    pair[0].firewall_udp(5353)
    a, b = Node(pair[0], "a"), Node(pair[1], "b")
    a.has_problem(NOT_HEARD, 20)
    pair[0].firewall_off()
    a.has_problem("", 15)
    a.finds(b)
