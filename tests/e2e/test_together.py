"""Half of a network dies, a partition heals, the bootstrap node is gone for good: whole nodes in one process.

Long forms with separate processes in three regions behind NAT: tests/lab/test_regions.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from harness import until

from opengateway.app.node import Node
from opengateway.discovery.bootstrap import Bootstrap, Entry, sign, write
from opengateway.identity import Identity, base32
from tools.crowd import Crowd, name, on_loop, up, wire

AGREED_S = 30.0
MANY = 8


class World:
    """Nodes that have nothing in common but a signed bootstrap document, which names the first of them."""

    def __init__(self, crowd: Crowd, folder: Path) -> None:
        self.crowd = crowd
        publisher = Identity.generate()
        listed = folder / "bootstrap.json"
        self.entrance = crowd.node("entrance")
        now = int(time.time()) * 1000
        entry = Entry(self.entrance.identity.node_id, (f"tcp://{crowd.where(self.entrance)}",))
        document = Bootstrap(self.entrance.net, now, now + 3_600_000, (entry,), ())
        listed.write_bytes(write(sign(document, publisher)))
        source = {"source": str(listed), "publishers": [base32(publisher.node_id)], "needed": 1}
        self.others = [crowd.node(f"n{number}", bootstrap=source) for number in range(1, MANY)]
        self.agree(self.nodes)

    @property
    def nodes(self) -> list[Node]:
        return [self.entrance, *self.others]

    def agree(self, alive: Iterable[Node]) -> None:
        """Each of these has a session with each other one, and with nobody else."""
        nodes = list(alive)
        names = {name(node) for node in nodes}
        until(
            lambda: all(up(node) == names - {name(node)} for node in nodes),
            f"{len(nodes)} nodes agree on who is alive",
            AGREED_S,
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Crowd(tmp_path) as crowd:
        yield World(crowd, tmp_path)


def test_half_of_all_are_killed_at_once_and_the_rest_agree_and_again_when_they_return(world: World) -> None:
    half = world.others[: MANY // 2]
    for node in half:
        world.crowd.kill(node)
    rest = [node for node in world.nodes if node not in half]
    world.agree(rest)
    world.others = [*[world.crowd.again(node) for node in half], *world.others[MANY // 2 :]]
    world.agree(world.nodes)


class Split:
    """Nothing passes between these and those, in either direction, and nobody is told."""

    def __init__(self, these: list[Node], those: list[Node]) -> None:
        self._undo = []
        for node, far in [*((one, those) for one in these), *((one, these) for one in those)]:
            on_loop(node, lambda node=node, far=far: self._cut(node, far))

    def _cut(self, node: Node, far: list[Node]) -> None:
        hub = wire(node)
        ids = {one.identity.node_id for one in far}
        ports = {f":{one.port.number}" for one in far}
        received, dial = hub.received, hub.dial

        def hear(link: object, frame: bytes, address: str) -> None:
            session = hub._sessions._live.get(link)
            if session is None or session.keys.peer not in ids:
                received(link, frame, address)

        def call(endpoint: str, expect: object = None) -> None:
            if not any(endpoint.endswith(port) for port in ports):
                dial(endpoint, expect)

        hub.received, hub.dial = hear, call
        self._undo.append((node, hub, received, dial))

    def heal(self) -> None:
        for node, hub, received, dial in self._undo:

            def mend(hub=hub, received=received, dial=dial) -> None:
                hub.received, hub.dial = received, dial

            on_loop(node, mend)


def test_a_partition_of_two_halves_heals(world: World) -> None:
    nodes = world.nodes
    these, those = nodes[: MANY // 2], nodes[MANY // 2 :]
    split = Split(these, those)
    world.agree(these)
    world.agree(those)
    split.heal()
    world.agree(nodes)


def test_without_the_bootstrap_node_nothing_breaks_and_a_restarted_node_comes_back(world: World) -> None:
    world.crowd.kill(world.entrance)
    world.agree(world.others)
    first, *rest = world.others
    world.crowd.kill(first)
    world.agree(rest)
    world.others = [world.crowd.again(first), *rest]
    world.agree(world.others)


def test_a_poisoned_bootstrap_document_costs_dials_and_lets_nobody_in(tmp_path: Path) -> None:
    """A publisher's key was stolen: of its entries one is honest, one leads to another node than it names,
    one to a node of another network, and twenty to nobody."""
    with Crowd(tmp_path / "ours") as crowd, Crowd(tmp_path / "theirs") as others:
        honest, impostor, stranger = crowd.node("honest"), crowd.node("impostor"), others.node("stranger")
        named = [
            (honest.identity, crowd.where(honest)),
            (Identity.generate(), crowd.where(impostor)),
            (stranger.identity, crowd.where(stranger)),
            *[(Identity.generate(), f"127.0.0.1:{port}") for port in range(1, 21)],
        ]
        entries = tuple(Entry(who.node_id, (f"tcp://{where}",)) for who, where in named)
        publisher, now = Identity.generate(), int(time.time()) * 1000
        document = sign(Bootstrap(honest.net, now, now + 3_600_000, entries, ()), publisher)
        listed = tmp_path / "bootstrap.json"
        listed.write_bytes(write(document))
        source = {"source": str(listed), "publishers": [base32(publisher.node_id)], "needed": 1}
        newcomer = crowd.node("newcomer", bootstrap=source)
        until(lambda: name(honest) in up(newcomer), "the honest entrance is found", AGREED_S)
        until(lambda: wire(impostor).counters["refused_wrong_recipient"], "so was the impostor, in vain")
        until(lambda: wire(stranger).counters["refused_wrong_network"], "and the stranger")
        assert up(newcomer) <= {name(honest)}, "nobody is let in under another's name"
        assert not up(impostor) and not up(stranger)
