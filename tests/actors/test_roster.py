"""What the Scheduler and people are shown of peers that are connected."""

from __future__ import annotations

import time
from dataclasses import replace

from actors import peer_table
from actors.messages import PeerUp, Reached, Trip
from actors.own_record import OwnRecord
from actors.roster import QUIET_AFTER, Roster
from opengateway.discovery.company import ENOUGH
from opengateway.discovery.peers import PeerBook
from opengateway.discovery.record import NodeRecord
from opengateway.discovery.redial import FRESH_MS
from opengateway.identity import Identity, network_id, short
from opengateway.ledger.rules import CLOCKS_APART_MS
from opengateway.regions import region
from opengateway.units import NodeId

NOW = 1_780_000_000_000
HERE, FAR = "eu-central-1", "ap-northeast-1"


class Scene:
    def __init__(self) -> None:
        self.roster = Roster(HERE, private=True)
        identity = Identity.generate()
        self.own = OwnRecord(identity, network_id("test"), "me", "1", region(HERE), lambda: NOW)
        self.book = PeerBook(identity.node_id)
        self.count = 0

    def peer(
        self, place: str = HERE, *, host: str = "8.8.4.4", dialled: bool = True, relay: NodeId | None = None
    ) -> NodeId:
        self.count += 1
        peer = NodeId(bytes([self.count]) * 32)
        record = NodeRecord(peer, f"p{self.count}", "1", place, "", (), (), (), (), 1, "ready", 1, 1)
        endpoint = f"tcp://{host}:11436" if dialled else None
        self.roster.up(PeerUp(peer, b"", endpoint, dialled, host, relay), record)
        self.book.connected(peer, now_ms=NOW)
        return peer

    def trips(self, *found: tuple[NodeId, float], ago: float = 0.0, relay: NodeId | None = None) -> bool:
        """Round trips were measured; whether the Scheduler must be told."""
        heard = time.monotonic() - ago
        relays = {peer: relay for peer, _ in found} if relay else {}
        return self.roster.round_trips(tuple(Trip(p, ms, heard, 0, ms) for p, ms in found), relays)

    def row(self, peer: NodeId) -> dict[str, object]:
        listed = peer_table.peers(self.roster, self.book, self.own, "", NOW)
        return next(row for row in listed if row["short"] == short(peer))


def test_the_ring_follows_what_was_measured_and_the_scheduler_is_told() -> None:
    scene = Scene()
    near, far = scene.peer("eu-west-3"), scene.peer()
    assert [scene.row(peer)["ring"] for peer in (near, far)] == ["continent", "nearest"], "by their word"
    assert scene.trips((near, 9.0), (far, 95.0))
    assert [scene.row(peer)["ring"] for peer in (near, far)] == ["nearest", "country"]
    assert not scene.trips((near, 9.1), (far, 95.0))
    assert scene.trips((near, 9.0), (far, 12.0))
    assert scene.row(far)["ring"] == "nearest"
    scene.trips((near, 300.0), (far, 300.0))
    assert scene.row(near)["ring"] == "nearest", "a slow answer does not move it away"


def test_a_clock_that_is_set_is_told_once_it_matters_to_credit() -> None:
    scene = Scene()
    peer = scene.peer()

    def trip(ahead_ms: int) -> bool:
        return scene.roster.round_trips((Trip(peer, 9.0, time.monotonic(), ahead_ms, 9.0),), {})

    assert trip(0)
    assert not trip(CLOCKS_APART_MS)
    assert trip(CLOCKS_APART_MS + 1)
    assert [view.ahead_ms for view in scene.roster.views()] == [CLOCKS_APART_MS + 1]
    assert not trip(-3_600_000)
    assert trip(0)


def test_a_peer_that_cannot_be_where_it_says_is_last_is_shown_and_is_counted_once() -> None:
    scene = Scene()
    liar = scene.peer(FAR)
    scene.trips((liar, 230.0))
    assert (scene.row(liar)["ring"], scene.row(liar)["place_disproved"]) == ("world", False)
    for _ in range(3):
        scene.trips((liar, 5.0))
    row = scene.row(liar)
    assert (row["ring"], row["place_disproved"], row["best_ms"]) == ("world", True, 5.0)
    assert peer_table.itself(scene.roster, scene.own)["places"] == {"disproved": 1, "ours": False, "total": 1}
    session = scene.roster.sessions[liar]
    session.record = replace(session.record, region=HERE)  # it has thought better of it
    assert scene.trips((liar, 5.0))
    assert (scene.row(liar)["ring"], scene.row(liar)["place_disproved"]) == ("nearest", False)


def test_a_peer_on_our_own_link_is_there_whatever_it_says() -> None:
    scene = Scene()
    peer = scene.peer(FAR, host="192.168.1.9")
    scene.trips((peer, 0.3))
    assert (scene.row(peer)["ring"], scene.row(peer)["place_disproved"]) == ("lan", False)


def test_a_peer_that_has_gone_quiet_is_told_of_and_so_is_its_return() -> None:
    scene = Scene()
    peer = scene.peer()
    scene.trips((peer, 9.0))
    assert scene.trips((peer, 9.0), ago=QUIET_AFTER + 0.1)
    assert scene.roster.views()[0].quiet
    assert scene.row(peer)["quiet"]
    assert scene.trips((peer, 9.0))
    assert not scene.roster.views()[0].quiet


def test_of_two_connections_that_settle_the_one_that_is_heard_counts() -> None:
    scene = Scene()
    peer = scene.peer()
    now = time.monotonic()
    scene.roster.round_trips(
        (Trip(peer, 9.0, now, 0, 9.0), Trip(peer, None, now - 2 * QUIET_AFTER, 0, None)), {}
    )
    assert not scene.roster.views()[0].quiet


def test_people_see_how_a_session_travels() -> None:
    scene = Scene()
    relay = scene.peer()
    inbound, outbound = scene.peer(dialled=False), scene.peer()
    relayed = scene.peer(relay=relay)
    scene.trips((relayed, 50.0), relay=relay)
    paths = [scene.row(peer)["path"] for peer in (relay, inbound, outbound, relayed)]
    assert paths == ["direct", "direct", "direct", "relayed via p1"]
    scene.own.reached = Reached("mapped", (), (), 2, outside=True)
    assert scene.row(inbound)["path"] == "mapped"
    assert scene.row(outbound)["path"] == "direct"


def test_somebody_who_is_not_dialled_because_there_are_enough_is_shown_as_known() -> None:
    scene = Scene()
    stranger = NodeId(b"s" * 32)
    scene.book.seen(stranger, ("tcp://8.8.8.8:1",), now_ms=NOW - FRESH_MS)
    assert scene.row(stranger)["state"] == "connecting"
    for _ in range(ENOUGH):
        scene.peer()
    assert scene.row(stranger)["state"] == "known"
