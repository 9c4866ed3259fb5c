"""When the Registry looks often whom to dial, and when it may rest."""

from __future__ import annotations

from typing import Any

import pytest

from actors.dialling import Dialling
from actors.introductions import Introductions
from actors.messages import Dial, Found, PeerUp
from actors.own_record import OwnRecord
from actors.roster import Roster
from actors.wanted import Wanted
from opengateway.discovery.company import COMPANY, ENOUGH
from opengateway.discovery.peers import PeerBook
from opengateway.discovery.record import NodeRecord
from opengateway.identity import Identity, network_id
from opengateway.regions import region
from opengateway.units import NodeId

NET, NOW = network_id("test"), 1_780_000_000_000
ENTRY = "8.8.8.8:1"


class Scene:
    def __init__(self, *entries: str) -> None:
        me = Identity.generate()
        own = OwnRecord(me, NET, "me", "1", region("eu-central-1"), lambda: NOW)
        self.dialled: list[Dial] = []
        self.book, self.roster = PeerBook(me.node_id), Roster("eu-central-1", private=False)
        self.desk = Introductions(own, self.roster, self.book, say=_ignore, dht_entry=_ignore, unwanted=set())
        self.dialling = Dialling(
            own,
            self.roster,
            self.book,
            Wanted.of(entries, {}),
            self.desk,
            tell_wire=self.dialled.append,
            ask_dht=lambda _: False,
        )

    def company(self, many: int, endpoint: str | None = None) -> list[NodeId]:
        made = [NodeId(number.to_bytes(32, "big")) for number in range(1, many + 1)]
        for one in made:
            record = NodeRecord(one, "x", "1", "", "", (), (), (), (), 0, "client", 1, NOW + 60_000)
            self.roster.up(PeerUp(one, b"", endpoint, dialled=endpoint is not None), record)
            self.book.connected(one, now_ms=NOW)
            self.book.heard(one, (f"tcp://9.9.9.{one[-1]}:1",), seq=1, now_ms=NOW)
        return made


def _ignore(*_: Any) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("many", [COMPANY, ENOUGH, 30])
def test_a_node_that_misses_nobody_rests(many: int) -> None:
    scene = Scene(ENTRY)
    scene.company(many)
    assert not scene.dialling.restless()


def test_it_does_not_while_somebody_was_lost_or_there_is_too_little_company() -> None:
    scene = Scene()
    peer, *_ = scene.company(30)
    scene.book.lost(peer, now_ms=NOW)
    assert scene.dialling.restless()
    scene = Scene()
    scene.company(ENOUGH - 1)
    scene.book.heard(NodeId(bytes(32)), ("tcp://9.9.8.1:1",), seq=1, now_ms=NOW)
    assert scene.dialling.restless()


def test_nor_while_its_entry_is_not_reached_and_it_needs_one() -> None:
    scene = Scene(ENTRY)
    scene.company(1)
    assert scene.dialling.restless()
    scene.company(1, endpoint=f"tcp://{ENTRY}")
    assert not scene.dialling.restless()


def test_nor_while_there_are_endpoints_to_try() -> None:
    scene = Scene()
    scene.company(ENOUGH)
    scene.desk.take(Found(("tcp://9.9.7.1:1",)))
    assert not scene.dialling.restless(), "for company there are enough"
    scene.desk.take(Found(("tcp://9.9.7.2:1",), sought=True))
    assert scene.dialling.restless()
    scene.dialling.tick()
    assert [dial.endpoint for dial in scene.dialled] == ["tcp://9.9.7.2:1"]
    assert not scene.dialling.restless()
