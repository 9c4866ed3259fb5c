"""A worker that falls silent is asked after, and given up when it is gone, not when it takes its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from opengateway.engines.asking import Asker
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Route, Stream
from opengateway.engines.ticket import Ticket
from opengateway.engines.vigil import FIRST, PONG, SOON, STALLED, TICK, Vigil
from opengateway.errors import WorkerLost
from opengateway.units import NetworkId, NodeId
from opengateway.wire.messages import Cancel, Chunks, Message

PEER = NodeId(b"p" * 32)


class Scene:
    """Time passes by hand; the peer answers pings while `alive`."""

    def __init__(self) -> None:
        self.now = self.last_heard = 100.0
        self.alive = True
        self.pings = 0
        self.sent: list[Message] = []
        self.ended: list[Ticket] = []
        self._due: list[Callable[[], None]] = []
        self.asker = Asker(NetworkId(b"n" * 8), self._send, lambda *_: None)
        self.vigil = Vigil(
            self.asker,
            probe=self._ping,
            heard=lambda _: self.last_heard,
            round_trip=lambda _: 0.01,
            later=lambda _, call: self._due.append(call),
            now=lambda: self.now,
        )

    def _send(self, _: NodeId, message: Message) -> bool:
        self.sent.append(message)
        return True

    def _ping(self, _: NodeId) -> None:
        self.pings += 1
        if self.alive:
            self.last_heard = self.now + 0.01

    def ask(self) -> Ticket:
        ticket = self.asker.ask(
            PEER,
            GenerateRequest("chat", "m", {}),
            Stream(),
            Route("p", "p", "lan", "m"),
            deadline_ms=1000,
            opening=b"",
            salt=b"",
            ended=self.ended.append,
        )
        self.vigil.watch()
        return ticket

    def token(self, ticket: Ticket) -> None:
        self.last_heard = self.now
        self.asker.heard(PEER, Chunks(ticket.number, ticket.chunks, ["x"]))

    def wait(self, seconds: float, step: float = TICK) -> None:
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.now += step
            due, self._due = self._due, []
            for call in due:
                call()


def test_a_peer_that_answers_nothing_any_more_is_given_up_within_two_seconds() -> None:
    scene = Scene()
    ticket = scene.ask()
    for _ in range(5):
        scene.token(ticket)
        scene.wait(TICK)
    scene.alive = False
    scene.wait(SOON + PONG + 0.5)
    assert scene.ended == [ticket]
    assert isinstance(ticket.error, WorkerLost)
    assert scene.vigil.counters == {"probes": 1, "silent": 1, "stalled": 0}
    assert isinstance(scene.sent[-1], Cancel)


def test_a_peer_that_answers_pings_is_given_time_and_then_no_more() -> None:
    scene = Scene()
    ticket = scene.ask()
    scene.token(ticket)
    scene.wait(STALLED - 1)
    assert not scene.ended
    assert 1 < scene.pings < 40
    scene.wait(2)
    assert scene.ended == [ticket]
    assert scene.vigil.counters["stalled"] == 1


def test_a_slow_model_is_not_suspected_for_its_pace() -> None:
    scene = Scene()
    ticket = scene.ask()
    scene.token(ticket)
    scene.wait(3.0)
    scene.token(ticket)
    before = scene.pings
    scene.wait(1.0)
    for _ in range(4):
        scene.wait(3.0)
        scene.token(ticket)
    assert scene.pings == before
    assert not scene.ended


def test_before_the_first_token_only_a_peer_that_is_gone_is_given_up() -> None:
    scene = Scene()
    scene.ask()
    scene.wait(120)
    assert not scene.ended
    scene.alive = False
    scene.wait(FIRST + PONG + 1)
    assert len(scene.ended) == 1


def test_while_our_own_reader_is_behind_nobody_is_suspected() -> None:
    scene = Scene()
    ticket = scene.ask()
    scene.token(ticket)
    ticket.window = 0
    scene.alive = False
    scene.wait(30)
    assert scene.pings == 0
    assert not scene.ended


def test_time_in_which_this_node_itself_was_away_does_not_count() -> None:
    scene = Scene()
    ticket = scene.ask()
    scene.token(ticket)
    scene.wait(TICK)
    scene.alive = False
    scene.wait(20, step=10)  # a laptop's lid
    assert not scene.ended


def test_nothing_ticks_while_nothing_is_asked() -> None:
    scene = Scene()
    ticket = scene.ask()
    scene.asker.lost(PEER, "gone")
    assert scene.ended == [ticket]
    scene.wait(1)
    assert scene._due == []
    scene.ask()
    scene.wait(FIRST + 1)
    assert scene.pings >= 1


@pytest.mark.parametrize("count", [1, 20])
def test_a_peer_with_many_answers_is_pinged_once(count: int) -> None:
    scene = Scene()
    for ticket in [scene.ask() for _ in range(count)]:
        scene.token(ticket)
    scene.alive = False
    scene.wait(SOON + PONG + 0.5)
    assert scene.pings == 1
    assert len(scene.ended) == count
