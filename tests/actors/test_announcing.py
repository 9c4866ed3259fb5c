"""Heads of others' ledgers go on at the pace of a network, however many authors speak at once."""

from __future__ import annotations

from typing import Any

import pytest

from actors.announcing import FAN_OUT, PASSED_AT_ONCE, PASSED_PER_S, Announcing
from opengateway.units import NodeId
from opengateway.wire.witness_messages import Head

PEERS = [NodeId(bytes([number]) * 32) for number in range(1, 17)]


def head(author: int, size: int = 2) -> Head:
    return Head(f"opengateway/{author:064x}\n{size}\n", 0, b"")


class Scene:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.sent: list[tuple[NodeId, Head]] = []
        monkeypatch.setattr("actors.announcing.time.monotonic", lambda: self.now)
        nobody: Any = None
        self.desk = Announcing(nobody, nobody, send=self.send, peers=lambda: PEERS)

    def send(self, peer: NodeId, message: Head) -> bool:
        self.sent.append((peer, message))
        return True

    def notes(self) -> list[str]:
        return list(dict.fromkeys(message.note for _, message in self.sent))

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.desk.tick()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_news_goes_on_at_once_to_a_few_and_never_back(scene: Scene) -> None:
    scene.desk.pass_on(head(1), PEERS[0])
    assert len(scene.sent) == len({peer for peer, _ in scene.sent}) == FAN_OUT
    assert PEERS[0] not in {peer for peer, _ in scene.sent}


def test_of_a_thousand_authors_at_once_each_goes_on_but_five_a_second(scene: Scene) -> None:
    for author in range(1000):
        scene.desk.pass_on(head(author), PEERS[0])
    assert len(scene.notes()) == PASSED_AT_ONCE
    scene.pass_seconds(20)
    assert len(scene.notes()) == PASSED_AT_ONCE + 20 * PASSED_PER_S
    scene.pass_seconds(int(1000 / PASSED_PER_S))
    assert scene.notes() == [head(author).note for author in range(1000)], "nobody is left out"
    assert len(scene.sent) == FAN_OUT * 1000


def test_what_waits_of_one_author_is_his_newest(scene: Scene) -> None:
    for author in range(PASSED_AT_ONCE):
        scene.desk.pass_on(head(author))
    for size in range(2, 50):
        scene.desk.pass_on(head(999, size))
    scene.pass_seconds(60)
    assert [note for note in scene.notes() if note.startswith(f"opengateway/{999:064x}")] == [
        head(999, 49).note
    ]
