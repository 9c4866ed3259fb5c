"""How much of what peers say about peers is listened to."""

from __future__ import annotations

from typing import Any

import pytest

from actors.gossip import ANSWER_WITHIN_S, PER_MINUTE, Gossip
from actors.messages import PeerSaid
from opengateway.identity import Identity
from opengateway.wire.peer_messages import Here, Peers, SeekNode, SeekPeers

PEER, OTHER = Identity.generate().node_id, Identity.generate().node_id
QUESTION = SeekPeers("", "world", "", 8)
ANSWER = Peers([b"x"])


class Desk:
    """Stands where the Registry's address would."""

    def __init__(self) -> None:
        self.told: list[PeerSaid] = []

    def tell(self, message: Any) -> bool:
        self.told.append(message)
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("actors.gossip.time.monotonic", lambda: now[0])
    return now


def gossip(*, sends: bool = True) -> tuple[Gossip, Desk]:
    desk = Desk()
    return Gossip(desk, send=lambda _peer, _message: sends), desk  # type: ignore[arg-type]


def test_an_answer_is_heard_only_where_a_question_was_asked(clock: list[float]) -> None:
    listener, desk = gossip()
    listener.heard(PEER, ANSWER)
    assert desk.told == []
    listener.say(PEER, QUESTION)
    listener.heard(OTHER, ANSWER)
    listener.heard(PEER, ANSWER)
    listener.heard(PEER, ANSWER)
    assert [said.peer for said in desk.told] == [PEER]
    assert listener.counters["unasked"] == 3


def test_who_is_named_for_company_is_not_sought_and_who_serves_something_is(clock: list[float]) -> None:
    """An answer that came once there was company counted as sought, and each of them was dialled."""
    listener, desk = gossip()
    questions = QUESTION, SeekPeers("llama", "world", "", 8), SeekNode(OTHER)
    for question in questions:
        listener.say(PEER, question)
        listener.heard(PEER, ANSWER)
        clock[0] += ANSWER_WITHIN_S + 1
    listener.expect(PEER)
    listener.heard(PEER, ANSWER)
    assert [said.sought for said in desk.told] == [False, True, True, True]


def test_a_question_that_could_not_be_sent_waits_for_no_answer(clock: list[float]) -> None:
    listener, desk = gossip(sends=False)
    listener.say(PEER, QUESTION)
    listener.heard(PEER, ANSWER)
    assert desk.told == []


def test_an_answer_that_comes_too_late_is_none(clock: list[float]) -> None:
    listener, desk = gossip()
    listener.say(PEER, QUESTION)
    clock[0] += ANSWER_WITHIN_S + 1
    listener.heard(PEER, ANSWER)
    assert desk.told == []


@pytest.mark.parametrize("message", [QUESTION, Here(b"x")])
def test_a_flood_from_one_peer_stops_at_the_limit_and_does_not_touch_others(
    clock: list[float], message: Any
) -> None:
    listener, desk = gossip()
    for _ in range(10_000):
        listener.heard(PEER, message)
    listener.heard(OTHER, message)
    assert len(desk.told) == PER_MINUTE + 1
    assert listener.counters["flood"] == 10_000 - PER_MINUTE
    clock[0] += 60.0
    listener.heard(PEER, message)
    assert len(desk.told) == PER_MINUTE + 2


def test_who_has_left_is_forgotten(clock: list[float]) -> None:
    listener, _ = gossip()
    listener.heard(PEER, QUESTION)
    listener.lost(PEER)
    assert not listener._heard
