"""Who is let go by a crowded node, and who never is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.company import UPKEEP, Company
from opengateway.discovery.company import GRACE_S, LET_GO, PLENTY, USED_S
from opengateway.units import NodeId
from opengateway.wire.messages import Cancel, RecordChanged
from opengateway.wire.witness_messages import Head


@dataclass
class _Session:
    peer: NodeId
    up_since: float
    dialled: bool = False
    relay: NodeId | None = None


@dataclass
class _Wire:
    """What of the wire is asked."""

    found: dict[NodeId, _Session] = field(default_factory=dict)
    served: set[NodeId] = field(default_factory=set)
    gone: list[NodeId] = field(default_factory=list)

    @property
    def roll(self) -> Any:
        return self

    relaying = relay = roll

    @property
    def sending(self) -> dict[NodeId, _Session]:
        return self.found

    def users(self) -> set[NodeId]:
        return self.served

    def sessions(self) -> list[_Session]:
        return list(self.found.values())

    def hang_up(self, peer: NodeId, reason: str) -> None:
        assert reason == LET_GO
        del self.found[peer]
        self.gone.append(peer)


class Scene:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 10_000.0
        monkeypatch.setattr("actors.company.time.monotonic", lambda: self.now)
        self.wire = _Wire()
        self.desk = Company(lambda: self.wire)  # type: ignore[arg-type,return-value]

    def guests(self, first: int, many: int, **about: Any) -> list[NodeId]:
        made = [NodeId(number.to_bytes(32, "big")) for number in range(first, first + many)]
        self.wire.found |= {one: _Session(one, self.now, **about) for one in made}
        return made

    def until_calm(self) -> set[NodeId]:
        """Who was let go."""
        before = -1
        while before != len(self.wire.gone):
            before = len(self.wire.gone)
            self.now += 1.0
            self.desk.tick()
        return set(self.wire.gone)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_of_200_guests_all_but_a_few_are_let_go_once_they_have_looked_around(scene: Scene) -> None:
    scene.guests(0, 200)
    assert scene.until_calm() == set()
    scene.now += GRACE_S
    assert len(scene.until_calm()) == 200 - PLENTY
    assert scene.desk.counters["let_go"] == 200 - PLENTY


def test_whom_this_node_has_dialled_or_relays_for_or_hears_through_a_relay_stays(scene: Scene) -> None:
    chosen = scene.guests(0, 10, dialled=True)
    relayed = scene.guests(10, 10, relay=NodeId(bytes(32)))
    served = scene.guests(20, 10)
    scene.wire.served.update(served)
    others = set(scene.guests(30, 100))
    scene.now += GRACE_S
    gone = scene.until_calm()
    assert gone
    assert gone < others
    assert not gone & {*chosen, *relayed, *served}


def test_a_session_over_which_something_passed_is_needed_for_an_hour_and_upkeep_does_not_count(
    scene: Scene,
) -> None:
    using, chatting = scene.guests(0, 100), scene.guests(100, 100)
    for one in using:
        scene.desk.heard(one, Cancel(1))
    for one in chatting:
        scene.desk.heard(one, RecordChanged(b""))
        scene.desk.heard(one, Head("", 0, b""))
    scene.now += GRACE_S
    assert scene.until_calm() < set(chatting)
    assert len(scene.wire.found) == 116, "16 guests are always welcome"
    scene.now += USED_S
    scene.until_calm()
    assert len(scene.wire.found) == PLENTY


def test_what_is_forgotten_with_a_session_is_not_held_against_the_next(scene: Scene) -> None:
    [one, *_] = scene.guests(0, 60)
    scene.desk.heard(one, Cancel(1))
    scene.desk.lost(one)
    scene.now += GRACE_S
    scene.wire.found = {one: scene.wire.found[one]} | scene.wire.found
    assert len(scene.until_calm()) == 60 - PLENTY
    assert not scene.desk._used


def test_no_request_payment_or_transfer_is_upkeep() -> None:
    assert {kind.__module__.rpartition(".")[2] for kind in UPKEEP} == {
        "messages",
        "peer_messages",
        "relay_messages",
        "witness_messages",
    }
    assert {kind.__name__ for kind in UPKEEP if kind.__module__.endswith("wire.messages")} == {
        "Proof",
        "RecordChanged",
        "Stamp",
    }
