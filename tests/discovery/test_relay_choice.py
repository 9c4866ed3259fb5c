from __future__ import annotations

from opengateway.discovery.addresses import parse_relay
from opengateway.discovery.relay_choice import ANSWER_S, TAMPERED_S, Candidate, RelayChoice
from opengateway.identity import Identity
from opengateway.units import NodeId

PEERS = [Identity.generate().node_id for _ in range(5)]


def near_first(*skip: NodeId) -> list[Candidate]:
    """The peers in order, the nearest first."""
    return [
        Candidate(peer, f"tcp://198.51.100.{n}:11436", 10.0 * n)
        for n, peer in enumerate(PEERS, 1)
        if peer not in skip
    ]


def test_two_relays_are_kept_the_nearest_first_and_named_where_we_reach_them() -> None:
    choice = RelayChoice()
    assert choice.plan(near_first(), 0.0, wanted=True) == PEERS[:2]
    assert choice.plan(near_first(), 0.5, wanted=True) == []
    for peer in PEERS[:2]:
        choice.reserved(peer, 900, 1.0)
    assert sorted(map(parse_relay, choice.named())) == sorted(
        (one.peer, one.endpoint) for one in near_first()[:2]
    )
    assert choice.plan(near_first(), 200.0, wanted=True) == []
    assert set(choice.plan(near_first(), 302.0, wanted=True)) == set(PEERS[:2]), "renewed after a third"


def test_a_node_that_is_reached_wants_none() -> None:
    choice = RelayChoice()
    assert choice.plan(near_first(), 0.0, wanted=False) == []


def test_who_refuses_or_is_silent_or_goes_is_replaced() -> None:
    choice = RelayChoice()
    choice.plan(near_first(), 0.0, wanted=True)
    choice.refused(PEERS[0], "full", 1.0)
    assert choice.plan(near_first(), 1.0, wanted=True) == [PEERS[2]]
    choice.reserved(PEERS[2], 900, 1.5)
    assert choice.plan(near_first(), ANSWER_S + 0.5, wanted=True) == [PEERS[3]], "the second never answered"
    choice.reserved(PEERS[3], 900, 6.0)
    choice.lost(PEERS[3])
    assert choice.plan(near_first(PEERS[3]), 7.0, wanted=True) == [PEERS[4]]


def test_a_reservation_that_nobody_asked_for_is_nothing() -> None:
    choice = RelayChoice()
    choice.reserved(PEERS[0], 900, 0.0)
    assert choice.named() == ()


def test_a_relay_is_left_when_two_peers_got_damaged_frames_over_it_not_when_one_did() -> None:
    choice = RelayChoice()
    choice.plan(near_first(), 0.0, wanted=True)
    for peer in PEERS[:2]:
        choice.reserved(peer, 900, 0.0)
    for _ in range(5):
        choice.tampered(PEERS[0], PEERS[4], 1.0)
    assert len(choice.named()) == 2
    choice.tampered(PEERS[0], PEERS[3], 1.0)
    assert [parse_relay(text)[0] for text in choice.named()] == [PEERS[1]]
    assert choice.plan(near_first(), 2.0, wanted=True) == [PEERS[2]]
    choice.lost(PEERS[2])
    choice.reserved(PEERS[1], 10_000, 2.0)
    assert PEERS[0] in choice.plan(near_first(), TAMPERED_S + 3.0, wanted=True)
