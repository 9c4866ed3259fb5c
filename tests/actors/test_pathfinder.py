"""Looking for a way over others: real ledgers, and a post that shows who was told what."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import pathfinder
from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.ledger import Ledger
from actors.messages import LedgerMessage
from actors.pathfinder import PER_MINUTE, Pathfinder
from opengateway.identity import Identity, network_id
from opengateway.ledger.admission import Policy
from opengateway.ledger.book import Book
from opengateway.ledger.routes import Route, read_nodes, read_routes, write_nodes, write_routes
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.route_messages import AskOwed, FindRoute, Owed, RouteFound

NET = network_id("pathfinder tests")
LAVISH = Policy(stranger_line=10**9, pool=10**10)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Person:
    def __init__(self, town: Town, name: str) -> None:
        self.town = town
        self.identity = Identity(name.encode().ljust(32, b"."))
        self.id = self.identity.node_id
        self.path = town.folder / f"{name}.db"
        self.book: Book | None = Book(self.path, self.identity, NET, policy=LAVISH, now_ms=now_ms)
        self.ledger: Address[LedgerMessage] = Address(
            name, lambda: Ledger(self.path, self.identity, NET, now_ms=now_ms)
        )
        self.finder = Pathfinder(town.io, self.ledger, self.id, send=self.send, connected=self.connected)
        self.deaf = False
        self.got: list[tuple[NodeId, Message]] = []

    def owes(self, other: Person, amount: int) -> None:
        """Before the ledgers start."""
        assert self.book is not None
        assert other.book is not None
        rid = secrets.token_bytes(16)
        opening = self.book.open(
            other.id, rid, "m", prompt_tokens=0, max_completion=amount, price_prompt=0, price_completion=1
        )
        other.book.admit(opening, self.id, price_prompt=0, price_completion=1)
        other.book.delivered(rid, self.id, 0, amount)
        settle = self.book.settle(rid, prompt_tokens=0, completion_tokens=amount, digest=bytes(32))
        self.book.countersigned(other.book.earn(settle, self.id), other.id)
        for book in (self.book, other.book):
            book.commit()

    def connected(self) -> Collection[NodeId]:
        return [person.id for person in self.town.people.values() if person is not self]

    def send(self, to: NodeId, message: Message) -> bool:
        self.town.io.call(self.town.people[to].hear, self.id, message)
        return True

    def hear(self, sender: NodeId, message: Any) -> None:
        self.got.append((sender, message))
        if not self.deaf:
            self.finder.heard(sender, message)

    def told(self) -> bytes:
        """Every id that ever reached it in answers."""
        answers = (m for _, m in self.got if isinstance(m, RouteFound | Owed))
        return b"".join(m.routes if isinstance(m, RouteFound) else m.creditor for m in answers)


class Town:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.io = IoLoop()
        self.people: dict[NodeId, Person] = {}

    def person(self, name: str) -> Person:
        made = Person(self, name)
        self.people[made.id] = made
        return made

    def start(self) -> None:
        self.io.start()
        for person in self.people.values():
            assert person.book is not None
            person.book.close()
            person.book = None
            person.ledger.start()

    def stop(self) -> None:
        for person in self.people.values():
            if person.book is not None:
                person.book.close()
            else:
                person.ledger.stop()
        self.io.stop()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.io.run(work, 30)

    def find(self, who: Person, to: Person, amount: int, *debtors: Person) -> list[Route]:
        """Once `to` has refused `who`."""
        self.io.call(to.finder.refused, who.id)
        found: list[Route] = self.run(who.finder.find(to.id, amount, [one.id for one in debtors]))
        return found


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def circle(town: Town) -> list[Person]:
    """Vic owes xia 70 and zoe 50, xia owes bob 80 and zoe 40, bob owes ann 90, vic owes dan 5."""
    people = [town.person(name) for name in ("ann", "bob", "xia", "vic", "zoe", "dan")]
    ann, bob, xia, vic, zoe, dan = people
    bob.owes(ann, 90)
    xia.owes(bob, 80)
    xia.owes(zoe, 40)
    vic.owes(xia, 70)
    vic.owes(zoe, 50)
    vic.owes(dan, 5)
    dan.owes(ann, 3)
    town.start()
    return people


def test_a_way_over_two_others_is_found_and_one_over_a_single_one_comes_with_it(
    town: Town, circle: list[Person]
) -> None:
    ann, bob, xia, vic, _, dan = circle
    assert town.find(ann, vic, 60, bob, dan) == [Route(bob.id, xia.id, 55), Route(dan.id, None, 5)]


def test_nobody_learns_more_than_the_way_needs(town: Town, circle: list[Person]) -> None:
    ann, bob, xia, vic, zoe, _ = circle
    assert town.find(ann, vic, 60, bob) == [Route(bob.id, xia.id, 60)]
    assert zoe.id not in ann.told(), "whom else vic and xia owe"
    assert vic.told().count(bob.id) == 1
    assert zoe.id not in vic.told(), "whom else xia owes"
    assert not bob.got, "who is owed something is asked for a signature only"
    asked = next(m for _, m in xia.got if isinstance(m, AskOwed))
    assert (asked.amount, read_nodes(asked.creditors)) == (60, [bob.id])
    assert all(ann.id != sender for sender, _ in xia.got), "for whom vic asks"


def test_amounts_are_told_no_further_than_asked_and_owed(town: Town, circle: list[Person]) -> None:
    ann, bob, xia, vic, _, _ = circle
    assert town.find(ann, vic, 10, bob) == [Route(bob.id, xia.id, 10)]
    assert town.find(ann, vic, 1000, bob) == [Route(bob.id, xia.id, 70)]


def test_who_was_not_refused_learns_nothing_and_a_refusal_is_good_for_one_question(
    town: Town, circle: list[Person]
) -> None:
    ann, bob, _, vic, zoe, dan = circle
    assert town.run(zoe.finder.find(vic.id, 5, [dan.id])) == []
    assert town.find(ann, vic, 5, dan)
    assert town.run(ann.finder.find(vic.id, 5, [dan.id, bob.id])) == []
    assert vic.finder.counters["not_refused"] == 2


def test_only_a_debtor_is_answered_by_its_creditor(town: Town, circle: list[Person]) -> None:
    _, bob, xia, vic, zoe, _ = circle
    for asker in (zoe, vic):
        town.io.call(asker.send, xia.id, AskOwed(9, 10**6, write_nodes([bob.id])))
    _wait(lambda: len(zoe.got) >= 1 and len(vic.got) >= 1)
    assert zoe.got == [(xia.id, Owed(9, b"", 0))], "xia owes zoe, not the other way round"
    assert vic.got == [(xia.id, Owed(9, bob.id, 70))]


def test_one_debtor_is_answered_so_often_a_minute(town: Town, circle: list[Person]) -> None:
    _, bob, xia, vic, _, _ = circle
    for number in range(PER_MINUTE + 5):
        town.io.call(vic.send, xia.id, AskOwed(number, 1, write_nodes([bob.id])))
    _wait(lambda: xia.finder.counters["too_many"] == 5 and len(vic.got) == PER_MINUTE)


def test_a_silent_creditor_does_not_hold_up_the_others(
    town: Town, circle: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, xia, vic, _, dan = circle
    monkeypatch.setattr(pathfinder, "HOP_PATIENCE", 0.3)
    xia.deaf = True
    assert town.find(ann, vic, 60, bob, dan) == [Route(dan.id, None, 5)]


def test_a_silent_node_is_not_waited_for_long(
    town: Town, circle: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, _, vic, _, _ = circle
    monkeypatch.setattr(pathfinder, "PATIENCE", 0.2)
    vic.deaf = True
    with pytest.raises(TimeoutError):
        town.find(ann, vic, 60, bob)


def test_what_makes_no_sense_is_dropped(town: Town, circle: list[Person]) -> None:
    ann, bob, xia, vic, _, _ = circle
    town.io.call(vic.finder.refused, ann.id)
    town.io.call(ann.send, vic.id, FindRoute(1, 5, b"too short"))
    town.io.call(vic.send, xia.id, AskOwed(1, 5, b"\x00" * 33))
    town.io.call(vic.send, ann.id, RouteFound(77, b""))
    town.io.call(xia.send, vic.id, Owed(78, bob.id, 5))
    _wait(lambda: vic.finder.counters["malformed"] == xia.finder.counters["malformed"] == 1)
    assert town.find(ann, vic, 60, bob) == [Route(bob.id, xia.id, 60)]


def test_ways_over_those_who_were_not_named_or_twice_over_one_are_left_out() -> None:
    me, to, one, two = (NodeId(bytes([n]) * 32) for n in range(1, 5))
    good = Route(one, two, 5)
    lies = [
        Route(two, None, 5),
        Route(one, one, 5),
        Route(one, me, 5),
        Route(one, to, 5),
        Route(one, None, 0),
    ]
    assert read_routes(write_routes([*lies, good]), me, to, [one]) == [good]
    assert read_routes(write_routes([good])[:-1], me, to, [one]) == []
    assert len(read_routes(write_routes([good] * 20), me, to, [one])) == 8
    with pytest.raises(ValueError, match="nodes"):
        read_nodes(bytes(17 * 32))


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.005)
