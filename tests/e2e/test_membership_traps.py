"""Ways in which peer-to-peer networks lose each other in the field, each a real project's bug.

More of the same, closer to where it is decided: tests/wire/test_sessions.py and test_settling.py,
tests/discovery/test_peers.py and test_peer_cache.py, tests/routing/test_market.py.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import until

from actors.discovery import Discovery
from actors.messages import Connect, DescribeSelf, LeftLink, Located, PeerUp, Trip
from actors.roster import QUIET_AFTER, Roster
from opengateway.app.node import Node
from opengateway.discovery.record import ModelOffer, NodeRecord
from opengateway.discovery.whereabouts import open_whereabouts
from opengateway.errors import AllBusy
from opengateway.routing.market import Choice, Market
from opengateway.units import NodeId
from opengateway.wire.limits import SILENT_AFTER_S
from opengateway.wire.messages import Cancel
from tools.crowd import Crowd, ask, name, on_loop, rows, up, wire

ROOT = Path(__file__).parents[2]
OFFER = ModelOffer("m", "", 1000, "", 4096, 0, 0, 0, 0, demo=False, abilities=())


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as made:
        yield made


def met(*nodes: Node) -> None:
    """Wait until each has a session with each."""
    names = {name(node) for node in nodes}
    until(lambda: all(up(node) == names - {name(node)} for node in nodes), f"{len(nodes)} nodes have met")


def dials(node: Node) -> int:
    return wire(node).counters["dials"]


class Company:
    """A node's peers that serve the model `m`, as the Registry tells the Scheduler of them."""

    def __init__(self) -> None:
        self.roster = Roster("eu-central-1", private=True)

    def peer(self, number: int, rtt_ms: float = 1.0) -> NodeId:
        peer = NodeId(bytes([number]) * 32)
        record = NodeRecord(
            peer, f"p{number}", "1", "eu-central-1", "DE", (), (), (), (OFFER,), 1, "ready", 1, 1
        )
        self.roster.up(PeerUp(peer, b"", f"tcp://127.0.0.1:{number}", dialled=True), record)
        self.heard(peer, rtt_ms=rtt_ms)
        return peer

    def heard(self, peer: NodeId, seconds_ago: float = 0.0, rtt_ms: float = 1.0) -> bool:
        trip = Trip(peer, rtt_ms, time.monotonic() - seconds_ago, 0, rtt_ms)
        return self.roster.round_trips((trip,), {})

    def market(self) -> Market:
        made = Market()
        made.peers_changed(self.roster.views(), now=0.0)
        return made


def asked(market: Market) -> NodeId:
    choice = market.choose("m", "anywhere", now=0.0, tried=frozenset())
    assert isinstance(choice, Choice)
    assert isinstance(choice.place, bytes)
    return NodeId(choice.place)


def test_a_dead_instance_with_the_least_load_is_not_chosen_first() -> None:
    company = Company()
    dead, alive = company.peer(1, rtt_ms=1.0), company.peer(2, rtt_ms=90.0)
    assert asked(company.market()) == dead, "while both are heard of, the nearer one"
    assert company.heard(dead, seconds_ago=QUIET_AFTER + 0.1), "the Scheduler is told"
    assert asked(company.market()) == alive
    assert company.heard(dead)
    assert asked(company.market()) == dead, "it was only slow"


def test_whoever_is_quiet_is_asked_where_nobody_else_will_do() -> None:
    company = Company()
    only = company.peer(1)
    company.heard(only, seconds_ago=QUIET_AFTER + 0.1)
    assert asked(company.market()) == only


def test_busy_is_never_reported_as_not_found() -> None:
    company = Company()
    one, other = company.peer(1), company.peer(2)
    market = company.market()
    for peer in (one, other):
        market.took(peer)
    company.heard(other, seconds_ago=QUIET_AFTER + 0.1)
    for tried in (frozenset(), frozenset({one}), frozenset({one, other})):
        assert isinstance(market.choose("m", "anywhere", now=0.0, tried=tried), AllBusy)
    market.failed(one, AllBusy("busy", retry_after=2.0), 0.0)
    assert isinstance(market.choose("m", "anywhere", now=0.1, tried=frozenset(), patient=True), AllBusy)
    for peer in (one, other):  # gone, but a moment ago it was served
        company.roster.down(peer, "silent for 6 s")
    market.peers_changed(company.roster.views(), now=1.0)
    assert isinstance(market.choose("m", "anywhere", now=2.0, tried=frozenset()), AllBusy)


def test_a_rumour_of_death_is_checked_and_not_believed(crowd: Crowd) -> None:
    """A goodbye on the link is not signed: anybody can say it of anybody."""
    a = crowd.node("a")
    b = crowd.node("b", wire={"bootstrap": [crowd.where(a)]})
    met(a, b)
    for _ in range(3):
        assert a.registry.tell(LeftLink(b.identity.node_id))
    assert up(a) == {name(b)}, "its session says that it lives"
    assert wire(a).counters["sessions_down"] == 0


def test_gossip_does_not_bring_back_who_has_left(crowd: Crowd) -> None:
    a = crowd.node("a")
    b = crowd.node("b", wire={"bootstrap": [crowd.where(a)]})
    met(a, b)
    old = b.own.whereabouts
    crowd.stop(b)
    until(lambda: not up(a), "its goodbye is heard")
    before = dials(a)
    here = open_whereabouts(old, a.net, now_ms=a.own.now_ms())
    for _ in range(3):
        a.registry.tell(Located(here))
    assert rows(a)[name(b)]["state"] == "gone"
    assert ask(a, DescribeSelf())["refused"]["not_entered"] == 3
    assert dials(a) == before
    b = crowd.again(b)
    met(a, b)


def test_a_peer_known_once_is_redialled_also_one_that_had_dialled_us(crowd: Crowd) -> None:
    a = crowd.node("a")
    b = crowd.node("b", wire={"bootstrap": [crowd.where(a)]})
    met(a, b)
    assert not rows(a)[name(b)]["dialled"], "it was b that dialled"
    crowd.kill(b)
    until(lambda: not up(a), "its end is noticed")
    crowd.forget(b)
    b = crowd.again(b, wire={"bootstrap": []})  # it knows nobody any more
    met(a, b)
    assert rows(a)[name(b)]["dialled"]


def test_two_who_have_lost_each_other_are_brought_together_by_whoever_knows_both(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a DHT, and content with their company: both have moved, so that each looks for the other where
    nobody is any more."""
    monkeypatch.setattr(Discovery, "_search", lambda *_: None)
    a, between = crowd.node("a"), crowd.node("between")
    b = crowd.node("b", wire={"bootstrap": [crowd.where(a), crowd.where(between)]})
    ask(a, Connect(crowd.where(between)))
    met(a, b, between)
    for node in (a, b):
        crowd.kill(node)
    elsewhere = {"bootstrap": [crowd.where(between)], "port": 0}
    a, b = (crowd.again(node, wire=elsewhere) for node in (a, b))
    met(a, b, between)


def test_what_a_node_knew_outlives_a_run_in_which_it_met_nobody(crowd: Crowd) -> None:
    a, b = crowd.node("a"), crowd.node("b")
    ask(a, Connect(crowd.where(b)))
    met(a, b)
    for node in (a, b):
        crowd.kill(node)
    a = crowd.again(a)  # alone
    until(lambda: dials(a), "it looks for b")
    crowd.stop(a)
    crowd.forget(b)
    b, a = crowd.again(b), crowd.again(a)
    met(a, b)


class Deaf:
    """Nothing that `speaker` says reaches `node` any more, on any connection; what `node` says arrives."""

    def __init__(self, node: Node, speaker: Node) -> None:
        self._hub, self._speaker = wire(node), speaker.identity.node_id
        self._received = self._hub.received
        on_loop(node, lambda: setattr(self._hub, "received", self._filter))

    def _filter(self, link: object, frame: bytes, address: str) -> None:
        session = self._hub._sessions._live.get(link)
        if session is None or session.keys.peer != self._speaker:
            self._received(link, frame, address)


def test_a_connection_that_is_dead_in_one_direction_is_noticed_at_both_ends(crowd: Crowd) -> None:
    a = crowd.node("a")
    b = crowd.node("b", wire={"bootstrap": [crowd.where(a)]})
    met(a, b)
    Deaf(a, b)
    start = time.monotonic()
    until(lambda: not up(a), "a hears nothing")
    until(lambda: rows(b)[name(a)]["state"] != "up" or dials(b) > 1, "b is told")
    assert time.monotonic() - start < SILENT_AFTER_S + 6
    assert wire(a).counters["sessions_down"] == 1


def test_a_quick_restart_leaves_no_ghost(crowd: Crowd) -> None:
    a = crowd.node("a")
    b = crowd.node("b", wire={"bootstrap": [crowd.where(a)]})
    met(a, b)
    for _ in range(3):
        crowd.kill(b)
        b = crowd.again(b)
        met(a, b)
    for node, other in ((a, b), (b, a)):
        until(lambda node=node: len(wire(node).sessions()) == 1, "one session is left")
        assert list(rows(node)) == [name(other)]


class Noted:
    """What one node says to its peers goes on to them, and is written down."""

    def __init__(self, node: Node) -> None:
        self.downs: list[str] = []
        switchboard = node.lines.switchboard
        assert switchboard is not None
        inner = switchboard.peer_down

        def peer_down(peer: NodeId, reason: str) -> None:
            self.downs.append(reason)
            inner(peer, reason)

        on_loop(node, lambda: setattr(switchboard, "peer_down", peer_down))


def test_two_connections_settle_on_one_that_has_answered_and_nobody_was_ever_down(crowd: Crowd) -> None:
    a, b = crowd.node("a"), crowd.node("b")
    noted = [Noted(node) for node in (a, b)]
    for node in (a, b):  # neither sees the other's connection coming
        on_loop(node, lambda node=node: setattr(wire(node)._sessions, "connected", lambda *_: False))
    for node, other in ((a, b), (b, a)):
        on_loop(node, lambda n=node, o=other: wire(n).dial(f"tcp://{crowd.where(o)}"))
    met(a, b)
    until(lambda: wire(a).counters["sessions_up"] == wire(b).counters["sessions_up"] == 2, "both are up")
    until(lambda: all(len(wire(node).sessions()) == 1 for node in (a, b)), "they have settled")
    assert all(session.rtt_ms is not None for node in (a, b) for session in wire(node).sessions())
    assert on_loop(a, lambda: wire(a).send(b.identity.node_id, Cancel(1)))
    assert [one.downs for one in noted] == [[], []]


def test_the_region_is_read_in_one_place_only(crowd: Crowd) -> None:
    readers = {
        str(path.relative_to(ROOT))
        for top in ("opengateway", "actors")
        for path in (ROOT / top).rglob("*.py")
        for spot in ast.walk(ast.parse(path.read_text()))
        if isinstance(spot, ast.Attribute) and ast.unparse(spot) in ("regions.guess", "config.region")
    }
    assert readers == {"opengateway/config.py"}
    node = crowd.node("a", region="ap-south-1")
    until(lambda: node.own.record, "it has a record")
    assert node.own.record is not None
    assert node.own.record.region == node.facts.region == node.own.region.code == "ap-south-1"
