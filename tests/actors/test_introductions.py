"""What peers say of where they and others are: what is passed on, what is believed, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors import introductions
from actors.introductions import HINTS_AT_ONCE, Introductions
from actors.messages import Found, Located, PeerSaid, PeerUp
from actors.own_record import OwnRecord
from actors.roster import Roster
from opengateway.discovery.company import ENOUGH, PLENTY
from opengateway.discovery.known_peer import TOMBSTONE_MS
from opengateway.discovery.peers import PeerBook
from opengateway.discovery.record import CLOCK_ERROR_MS, SKEW_MS, ModelOffer, NodeRecord
from opengateway.discovery.whereabouts import Whereabouts, sign_whereabouts
from opengateway.identity import Identity, network_id
from opengateway.regions import region
from opengateway.units import NodeId
from opengateway.wire.peer_messages import PEERS_PER_ANSWER, Here, Peers, SeekNode, SeekPeers

NET = network_id("test")
NOW = 1_780_000_000_000
LLAMA = ModelOffer("llama3.2:3b", "", 3200, "", 8192, 0, 0, 0, 0, demo=False, abilities=())
ANYBODY = SeekPeers("", "world", "", PEERS_PER_ANSWER)


class Scene:
    """One node with some peers; everything that it says and does is written down."""

    def __init__(self, *, private: bool = False, host: str = "*") -> None:
        self.me = Identity.generate()
        self.clock = NOW
        self.own = OwnRecord(
            self.me, NET, "me", "1", region("eu-central-1"), lambda: self.clock, host=host, private=private
        )
        self.said: list[tuple[NodeId, Any]] = []
        self.entries: list[tuple[str, int]] = []
        self.book = PeerBook(self.me.node_id)
        self.roster = Roster("eu-central-1", private)
        self.desk = Introductions(
            self.own,
            self.roster,
            self.book,
            say=lambda peer, message: self.said.append((peer, message)),
            dht_entry=lambda host, port: self.entries.append((host, port)),
            unwanted=set(),
        )

    def here(self, who: Identity, *endpoints: str, seq: int = 1, dht_port: int = 0) -> bytes:
        endpoints = endpoints or ("tcp://8.8.4.4:11436",)
        place = Whereabouts(who.node_id, seq, self.clock + 60_000, "eu-central-1", dht_port, endpoints, ())
        return sign_whereabouts(who, NET, place, now_ms=self.clock)

    def peer(
        self,
        *endpoints: str,
        place: str = "eu-central-1",
        models: tuple[ModelOffer, ...] = (),
        tells: bool = True,
        state: str = "ready",
        who: Identity | None = None,
    ) -> Identity:
        """Somebody who is connected, and has said where it is."""
        who = who or Identity.generate()
        record = NodeRecord(
            who.node_id, "x", "1", place, "", (), (), (), models, 1, state, 1, self.clock + 60_000
        )
        self.roster.up(PeerUp(who.node_id, b"", None, dialled=False), record)
        self.book.connected(who.node_id, now_ms=self.clock)
        if tells:
            self.hear(who, Here(self.here(who, *endpoints)))
        return who

    def hear(self, who: Identity, said: Here | SeekPeers | Peers) -> None:
        self.desk.take(PeerSaid(who.node_id, said))

    def answer(self, ask: SeekPeers = ANYBODY, asker: Identity | None = None) -> set[bytes]:
        """The whereabouts that this question gets."""
        self.said.clear()
        self.hear(asker or self.peer(tells=False), ask)
        return {item for _, message in self.said for item in message.whereabouts}


def test_a_peer_that_asks_is_told_whom_we_are_connected_with() -> None:
    scene = Scene()
    one, other = scene.peer(), scene.peer("tcp://9.9.9.9:1")
    assert scene.answer() == {scene.roster.sessions[who.node_id].whereabouts for who in (one, other)}


def test_it_is_never_told_of_itself_nor_of_who_has_not_said_where_it_is() -> None:
    scene = Scene()
    asker, known = scene.peer(), scene.peer()
    scene.peer(tells=False)
    assert scene.answer(asker=asker) == {scene.roster.sessions[known.node_id].whereabouts}


def test_the_departed_and_the_dead_are_not_passed_on() -> None:
    scene = Scene()
    gone = scene.peer()
    scene.roster.down(gone.node_id, "it said goodbye")
    assert scene.answer() == set()


def test_a_question_costs_as_many_signatures_as_it_names_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom everybody asks has a session with everybody: it checked all of them for every question."""
    scene, opened = Scene(), []
    for _ in range(40):
        scene.peer()
    asker, real = scene.peer(tells=False), introductions.open_whereabouts

    def counted(*args: Any, **how: Any) -> Any:
        opened.append(args)
        return real(*args, **how)

    monkeypatch.setattr(introductions, "open_whereabouts", counted)
    assert len(scene.answer(asker=asker)) == len(opened) == ANYBODY.most


def test_an_answer_is_bounded_whatever_is_asked_for() -> None:
    scene = Scene()
    for _ in range(40):
        scene.peer()
    assert len(scene.answer()) == PEERS_PER_ANSWER
    assert len(scene.answer(replace(ANYBODY, most=2))) == 2
    assert scene.answer(replace(ANYBODY, most=0)) == set()
    assert scene.answer(replace(ANYBODY, ring="galaxy")) == set()
    assert scene.desk.refused["question"] == 2


@pytest.mark.parametrize(
    ("ring", "place", "found"),
    [
        ("region", "eu-central-1", {"frankfurt"}),
        ("country", "DE", {"frankfurt"}),
        ("continent", "EU", {"frankfurt", "paris"}),
        ("world", "", {"frankfurt", "paris", "mumbai", "moon"}),
        ("continent", "", set()),
    ],
)
def test_the_answer_is_of_the_place_that_was_asked_for(ring: str, place: str, found: set[str]) -> None:
    scene = Scene()
    places = {"frankfurt": "eu-central-1", "paris": "eu-west-3", "mumbai": "ap-south-1", "moon": "moon-1"}
    peers = {name: scene.peer(place=code) for name, code in places.items()}
    told = scene.answer(SeekPeers("", ring, place, 8))
    assert told == {scene.roster.sessions[peers[name].node_id].whereabouts for name in found}


def test_the_answer_is_of_the_model_that_was_asked_for_and_of_who_serves_it_now() -> None:
    scene = Scene()
    serving = scene.peer(models=(LLAMA,))
    scene.peer(models=(LLAMA,), state="paused")
    scene.peer()
    told = scene.answer(SeekPeers("llama-3.2-3b", "world", "", 8))
    told |= scene.answer(SeekPeers("llama3.2-3b", "world", "", 8))
    assert told == {scene.roster.sessions[serving.node_id].whereabouts}


def test_private_addresses_leave_only_into_a_private_network() -> None:
    for private in (False, True):
        scene = Scene(private=private)
        scene.peer("tcp://8.8.4.4:1", "tcp://192.168.1.5:1")
        assert bool(scene.answer()) is private


def test_whoever_is_asked_where_a_node_is_says_so_if_it_has_a_session_with_it() -> None:
    scene = Scene()
    known, asker = scene.peer(), scene.peer(tells=False)
    silent, gone = scene.peer(tells=False), scene.peer()
    scene.roster.down(gone.node_id, "silent for 6 s")
    scene.said.clear()
    for who in (known, silent, gone, asker, Identity.generate()):
        scene.hear(asker, SeekNode(who.node_id))
    assert scene.said == [(asker.node_id, Peers([scene.roster.sessions[known.node_id].whereabouts]))]


def test_others_are_asked_where_somebody_is_and_never_himself() -> None:
    scene = Scene()
    lost, others = scene.peer(), {scene.peer().node_id for _ in range(5)}
    scene.said.clear()
    assert scene.desk.seek(lost.node_id, 3)
    assert len(scene.said) == 3
    assert {peer for peer, _ in scene.said} <= others
    assert {message for _, message in scene.said} == {SeekNode(lost.node_id)}
    assert not Scene().desk.seek(lost.node_id, 3), "nobody to ask"


def test_whereabouts_that_have_expired_are_not_passed_on() -> None:
    scene = Scene()
    scene.peer()
    scene.clock += 60_000 + CLOCK_ERROR_MS
    assert scene.answer() == set()


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_a_clock_that_is_an_hour_off_keeps_nobody_out(hours: int) -> None:
    """Neither who is told by itself, with the clock known, nor a third one who is told by the first."""
    here, there = Scene(), Scene()
    there.clock += hours * 3600 * 1000
    data = there.here(there.me)
    peer = here.peer(tells=False, who=there.me)
    here.roster.sessions[peer.node_id].ahead_ms = there.clock - here.clock
    here.hear(peer, Here(data))
    assert here.answer() == {data}, "it is passed on"
    third = Scene()
    third.hear(third.peer(), Peers([data]))
    assert third.book.get(there.me.node_id), "and believed"
    assert not third.desk.refused


def test_a_peer_that_another_names_is_entered_to_be_dialled() -> None:
    scene, stranger = Scene(), Identity.generate()
    scene.hear(scene.peer(), Peers([scene.here(stranger)]))
    [dial] = [dial for dial in scene.book.due(scene.clock) if dial.node_id == stranger.node_id]
    assert dial.endpoints == ("tcp://8.8.4.4:11436",)


def test_forged_expired_and_oversized_whereabouts_are_refused_and_counted() -> None:
    scene, stranger = Scene(), Identity.generate()
    good = scene.here(stranger)
    forged = good[:-1] + bytes([good[-1] ^ 1])
    other = sign_whereabouts(
        stranger,
        network_id("other"),
        Whereabouts(stranger.node_id, 1, NOW + 1, "", 0, ("tcp://8.8.4.4:1",), ()),
        now_ms=NOW,
    )
    teller = scene.peer()
    scene.hear(teller, Peers([forged, other, b"", b"x" * 997, "text"]))
    scene.clock += 60_000 + SKEW_MS
    scene.hear(teller, Peers([good]))
    assert stranger.node_id not in {peer.node_id for peer in scene.book}
    assert scene.desk.refused["bad_signature"] == 1
    assert scene.desk.refused["wrong_network"] == 1
    assert scene.desk.refused["too_large"] == 1
    assert scene.desk.refused["expired"] == 1


def test_what_a_peer_says_of_itself_must_be_signed_by_itself() -> None:
    scene, other = Scene(), Identity.generate()
    liar = scene.peer(tells=False)
    scene.hear(liar, Here(scene.here(other)))
    assert scene.roster.sessions[liar.node_id].whereabouts == b""
    assert scene.desk.refused["wrong_sender"] == 1


def test_hearsay_does_not_bring_back_who_said_goodbye() -> None:
    scene = Scene()
    gone = scene.peer("tcp://8.8.4.4:1")
    old = scene.here(gone, "tcp://9.9.9.9:1", seq=5)
    scene.book.heard(gone.node_id, (), seq=5, now_ms=scene.clock)
    scene.roster.down(gone.node_id, "it said goodbye")
    scene.book.departed(gone.node_id, now_ms=scene.clock)
    scene.hear(scene.peer(), Peers([old]))
    peer = scene.book.get(gone.node_id)
    assert peer is not None and peer.departed_ms and "tcp://9.9.9.9:1" not in peer.places
    assert scene.desk.refused["not_entered"] == 1
    assert TOMBSTONE_MS > 60_000
    scene.hear(scene.peer(), Peers([scene.here(gone, "tcp://9.9.9.9:1", seq=6)]))
    assert peer.departed_ms == 0, "but its own newer word does"


def test_nor_whom_the_owner_sent_away() -> None:
    scene, sent_away = Scene(), Identity.generate()
    scene.desk.unwanted.add(sent_away.node_id)
    scene.hear(scene.peer(), Peers([scene.here(sent_away)]))
    assert scene.book.get(sent_away.node_id) is None


def test_we_are_not_introduced_to_ourselves() -> None:
    scene = Scene()
    scene.hear(scene.peer(), Peers([scene.here(scene.me)]))
    assert scene.book.get(scene.me.node_id) is None


@pytest.mark.parametrize(
    ("endpoint", "host", "private", "dialled"),
    [
        ("tcp://8.8.4.4:1", "*", False, True),
        ("tcp://10.99.98.97:1", "*", False, False),
        ("tcp://10.99.98.97:1", "*", True, True),
        ("tcp://127.0.0.1:22", "*", True, False),
        ("tcp://127.0.0.1:1", "127.0.0.1", True, True),
        ("tcp://[::1]:1", "*", False, False),
        ("tcp://169.254.169.254:80", "*", True, False),
        ("tcp://[fd77:8::9]:1", "*", False, False),
        ("tcp://224.0.0.1:1", "*", True, False),
        ("tcp://example.org:1", "*", True, False),
    ],
)
def test_no_stranger_makes_this_node_knock_inside_somebodys_network(
    endpoint: str, host: str, private: bool, dialled: bool
) -> None:
    scene = Scene(private=private, host=host)
    scene.desk.take(Found((endpoint,)))
    assert scene.desk.dials(0) == ([endpoint] if dialled else [])


def test_endpoints_without_a_name_are_dialled_a_few_at_a_time() -> None:
    scene = Scene()
    scene.desk.take(Found(tuple(f"tcp://9.9.9.{n}:1" for n in range(1, 21))))
    first = scene.desk.dials(0)
    assert len(first) == HINTS_AT_ONCE
    assert not set(first) & set(scene.desk.dials(0))


def test_endpoints_without_a_name_are_dialled_while_there_is_too_little_company() -> None:
    scene = Scene()
    scene.desk.take(Found(("tcp://9.9.9.1:1", "tcp://9.9.9.2:1")))
    scene.desk.take(Found(("tcp://9.9.8.1:1", "tcp://9.9.8.2:1"), sought=True))
    assert scene.desk.dials(PLENTY) == []
    assert set(scene.desk.dials(ENOUGH)) == {"tcp://9.9.8.1:1", "tcp://9.9.8.2:1"}
    assert scene.desk.dials(ENOUGH) == []
    assert len(scene.desk.dials(ENOUGH - 1)) == 1


def test_a_dht_answer_by_id_is_entered_like_any_word_of_its_owner() -> None:
    scene, moved = Scene(), Identity.generate()
    place = Whereabouts(moved.node_id, 9, scene.clock + 1000, "", 0, ("tcp://9.9.9.9:7",), ())
    scene.desk.take(Located(place))
    peer = scene.book.get(moved.node_id)
    assert peer is not None and list(peer.places) == ["tcp://9.9.9.9:7"]


def test_a_peer_with_a_dht_node_is_an_entry_to_the_dht() -> None:
    scene = Scene()
    who = scene.peer(tells=False)
    scene.hear(who, Here(scene.here(who, "tcp://8.8.4.4:11436", dht_port=11437)))
    assert scene.entries == [("8.8.4.4", 11437)]


def test_a_new_peer_is_told_where_we_are_and_everybody_when_that_changes() -> None:
    scene = Scene(host="127.0.0.1", private=True)
    scene.own.port = 4711
    scene.own.sign()
    peers = {scene.peer(tells=False).node_id for _ in range(3)}
    scene.desk.moved()
    assert {peer for peer, message in scene.said if isinstance(message, Here)} == peers


def test_our_whereabouts_are_signed_anew_only_when_they_change_or_grow_old() -> None:
    scene = Scene(host="127.0.0.1", private=True)
    scene.own.port = 4711
    scene.own.sign()
    first = scene.own.whereabouts
    scene.own.sign()
    assert scene.own.whereabouts == first
    scene.own.dht_port = 4712
    scene.own.sign()
    second = scene.own.whereabouts
    assert second != first
    scene.clock += 3600 * 1000
    scene.own.sign()
    assert scene.own.whereabouts != second


def test_a_record_never_goes_back_behind_one_of_an_earlier_run(tmp_path: Any) -> None:
    from opengateway.discovery.seq_file import SeqFile

    def run(clock_ms: int) -> int:
        scene = Scene()
        scene.clock = clock_ms
        scene.own.seq_file = SeqFile(tmp_path / "record.seq")
        scene.own.sign()
        scene.own.sign()
        assert scene.own.record is not None
        return scene.own.record.seq

    seen = [run(NOW), run(NOW + 1000), run(NOW - 3600 * 1000), run(NOW + 3600 * 1000)]
    assert seen == sorted(set(seen)), "also with a clock that was set back by an hour"
