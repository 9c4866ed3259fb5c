"""The Ledger actor on a real book: who is answered when, and what is left after a crash."""

from __future__ import annotations

import os
import queue
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ledger_world import NET, START_MS, Clock, Node

from actors.flusher import Batch, Flusher
from actors.kernel import Address, Backoff, Reply
from actors.ledger import Ledger
from actors.messages import (
    DescribeHistory,
    Earn,
    Export,
    LedgerMessage,
    OpenHold,
    Received,
    SettleHolds,
    Unanswered,
)
from opengateway.errors import DiskFull, LedgerReadOnly, LedgerRefused
from opengateway.identity import Identity
from opengateway.ledger.book import Book, Written
from opengateway.ledger.entry import read_body, read_wire

PATIENCE = 20.0
BOB = Identity(bytes(31) + b"b").node_id


class Place:
    """A home with a running Ledger in it."""

    def __init__(self, home: Path) -> None:
        self.path = home / "ledger.db"
        self.identity = Identity(bytes(31) + b"a")
        self.clock = Clock(START_MS)
        self.ledger: Address[LedgerMessage] = Address("ledger", self._make, backoff=Backoff(first=0.01))
        self.ledger.start()

    def _make(self) -> Ledger:
        return Ledger(self.path, self.identity, NET, now_ms=self.clock)

    def give_up(self, numbers: Iterable[int]) -> None:
        """As who asks does when the Ledger has not said that it holds something."""
        rids = [number.to_bytes(16, "big") for number in numbers]
        asked = SettleHolds(tuple(Received(rid, 0, 0, b"") for rid in rids))
        self.ledger.ask(asked).get(timeout=PATIENCE)

    def open(self, number: int) -> OpenHold:
        return OpenHold(BOB, number.to_bytes(16, "big"), "m", 10, 50, 10, 100)

    def settle(self, *numbers: int) -> SettleHolds:
        return SettleHolds(tuple(Received(n.to_bytes(16, "big"), 10, 50, bytes(32)) for n in numbers))

    def marked(self) -> tuple[int, int]:
        """Entries that the high-water mark vouches for, and how often it was written."""
        data = self.path.with_name("ledger.db.mark").read_bytes()
        slots = [struct.unpack(">4s4xQ32sQ4x", data[at : at + 60]) for at in (0, 64)]
        _, entries, _, writes = max(slots, key=lambda slot: slot[3])
        return entries, writes

    def restart(self) -> None:
        """As the supervisor does after a crash."""
        self.ledger.wait(PATIENCE)
        self.ledger.start()

    def entries(self) -> list[str]:
        """Kinds of the whole chain, oldest first."""
        return [line["type"] for line in self.ledger.ask(DescribeHistory(1000)).get(timeout=PATIENCE)][::-1]

    @property
    def book(self) -> Book:
        actor = self.ledger.actor
        assert isinstance(actor, Ledger)
        return actor.book


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.ledger.close()


def seq_of(wire: bytes) -> int:
    return read_body(read_wire(wire)[0], NET).seq


def test_nobody_is_answered_before_the_mark_covers_the_entry(place: Place) -> None:
    seen: queue.Queue[tuple[int, int]] = queue.Queue()
    for number in range(60):
        reply = place.ledger.ask(place.open(number))
        reply.then(lambda r: seen.put((seq_of(r.get(timeout=0)), place.marked()[0])))
    order = [seen.get(timeout=PATIENCE) for _ in range(60)]
    assert all(entries > seq for seq, entries in order)
    assert [seq for seq, _ in order] == list(range(1, 61)), "answered in the order of the chain"


def test_one_commit_serves_many_requests(place: Place) -> None:
    before = place.marked()[1]
    replies = [place.ledger.ask(place.open(number)) for number in range(200)]
    for reply in replies:
        reply.get(timeout=PATIENCE)
    assert place.marked()[1] - before < 100


def test_settlements_wait_a_moment_for_each_other_because_nobody_waits_for_them(place: Place) -> None:
    for reply in [place.ledger.ask(place.open(number)) for number in range(20)]:
        reply.get(timeout=PATIENCE)
    before = place.marked()[1]
    for reply in [place.ledger.ask(place.settle(number)) for number in range(20)]:
        reply.get(timeout=PATIENCE)
    assert place.marked()[1] - before < 20
    assert place.entries() == ["genesis", *["open"] * 20, *["settle"] * 20]


def test_a_refusal_leaves_the_rest_of_the_batch_alone(place: Place) -> None:
    replies = [place.ledger.ask(place.open(number)) for number in (1, 2, 1, 3)]
    with pytest.raises(LedgerRefused):
        replies.pop(2).get(timeout=PATIENCE)
    assert [seq_of(reply.get(timeout=PATIENCE)) for reply in replies] == [1, 2, 3]
    assert place.ledger.life == 1


def test_a_settle_is_countersigned_and_sent_again_unchanged(place: Place, tmp_path: Path) -> None:
    bob = Node(tmp_path, "bob", place.clock)
    ask = OpenHold(bob.id, bytes(16), "m", 10, 50, 10, 100)
    opening = place.ledger.ask(ask).get(timeout=PATIENCE)
    bob.book.admit(opening, place.identity.node_id, price_prompt=10, price_completion=100)
    [settle] = place.ledger.ask(place.settle(0)).get(timeout=PATIENCE)
    assert place.ledger.ask(Unanswered(bob.id)).get(timeout=PATIENCE) == [settle]
    assert bob.book.earn(settle, place.identity.node_id)
    bob.book.close()


def test_a_crash_refuses_who_still_waits_and_loses_nothing_that_was_answered(place: Place) -> None:
    for number in range(5):
        place.ledger.ask(place.open(number)).get(timeout=PATIENCE)
    broken = OpenHold(BOB, bytes(16), "m", None, 50, 10, 100)  # type: ignore[arg-type]
    waiting = place.ledger.ask(place.settle(3))
    crashed = place.ledger.ask(broken)
    for reply in (crashed, waiting):
        # The SETTLE is either durable already or refused, never answered without being there.
        with suppress(TypeError):
            assert reply.get(timeout=PATIENCE)
    place.restart()
    kinds = place.entries()
    assert kinds[:6] == ["genesis", *["open"] * 5]
    assert len(kinds) - kinds.count("settle") == 6, "their answers go on: who reads them settles"
    place.give_up(range(5))
    kinds = place.entries()
    assert kinds.count("void") + kinds.count("settle") == 5
    assert not place.book.damage


def test_a_stop_commits_what_is_written_and_answers_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.ledger.ask(place.open(1)).get(timeout=PATIENCE)
    reply = place.ledger.ask(place.settle(1))
    place.ledger.ask(DescribeHistory(1)).get(timeout=PATIENCE)  # the SETTLE before it is in the actor's hands
    place.ledger.close()
    [settle] = reply.get(timeout=0)
    book = Book(place.path, place.identity, NET, now_ms=place.clock)
    assert (book.history(1)[0].seq, book.damage) == (seq_of(settle), "")
    book.close()


def test_nobody_gets_an_entry_of_a_batch_that_found_the_disk_full(place: Place) -> None:
    for number in range(40):
        place.ledger.ask(place.open(number)).get(timeout=PATIENCE)
    place.book._journal.vault.space.release()
    place.book._journal.vault.store.limit_pages(1)
    replies = [place.ledger.ask(place.settle(number)) for number in range(40)]
    refused = 0
    for reply in replies:
        try:
            reply.get(timeout=PATIENCE)
        except DiskFull as error:
            assert error.hint
            refused += 1
    assert refused
    place.restart()
    assert place.entries().count("settle") == 40 - refused
    place.give_up(range(40))
    assert place.entries().count("void") == refused
    assert not place.book.damage


def test_a_disk_that_fails_to_keep_a_batch_answers_nobody(place: Place) -> None:
    place.ledger.ask(place.open(1)).get(timeout=PATIENCE)
    database = place.book._journal.vault.store._db
    ends = os.pipe()
    before = place.marked()
    good, database._wal = database._wal, ends[1]  # a pipe cannot be synchronised: EINVAL
    with pytest.raises(LedgerReadOnly):
        place.ledger.ask(place.open(2)).get(timeout=PATIENCE)
    assert place.marked() == before, "the mark is not written over what may not be there"
    os.close(good)
    os.close(ends[0])
    place.restart()
    assert not place.book.damage
    assert place.entries() == ["genesis", "open", "open"]
    place.give_up((1, 2))
    assert place.entries() == ["genesis", "open", "open", "void", "void"]


def test_an_export_waits_for_the_disk(place: Place) -> None:
    opening = place.ledger.ask(place.open(1))
    assert read_wire(opening.get(timeout=PATIENCE))[0] in place.ledger.ask(Export()).get(timeout=PATIENCE)


def test_a_settlement_that_was_never_admitted_is_refused(place: Place) -> None:
    [refused] = place.ledger.ask(Earn(BOB, (b"\x80",))).get(timeout=PATIENCE)
    assert isinstance(refused, LedgerRefused)


def test_one_settlement_that_is_refused_leaves_those_beside_it(place: Place) -> None:
    for number in (1, 2):
        place.ledger.ask(place.open(number)).get(timeout=PATIENCE)
    first, unknown, second = place.ledger.ask(place.settle(1, 7, 2)).get(timeout=PATIENCE)
    assert isinstance(unknown, LedgerRefused)
    assert [seq_of(first), seq_of(second)] == [3, 4]


class Disk:
    """Takes as long over a batch as the test wants."""

    def __init__(self) -> None:
        self.begun: queue.Queue[None] = queue.Queue()
        self.done: queue.Queue[Exception | None] = queue.Queue()

    def __call__(self) -> None:
        self.begun.put(None)
        error = self.done.get(timeout=PATIENCE)
        if error is not None:
            raise error


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def flusher() -> Iterator[tuple[Flusher, threading.Event, list[bytes]]]:
    freed, convicted = threading.Event(), list[bytes]()
    made = Flusher("flusher", freed=freed.set, convicted=convicted.append)
    yield made, freed, convicted
    made.stop()


Flushing = tuple[Flusher, threading.Event, list[bytes]]


def batch(make_durable: Callable[[], None], proofs: list[bytes]) -> tuple[Batch, Reply[bytes]]:
    reply: Reply[bytes] = Reply()
    return Batch(Written(make_durable, proofs), [(reply, b"entry")]), reply


def test_the_flusher_answers_when_the_disk_is_done(flusher: Flushing, disk: Disk) -> None:
    made, freed, convicted = flusher
    first, reply = batch(disk, [b"proof"])
    assert made.free()
    made.take(first)
    disk.begun.get(timeout=PATIENCE)
    assert not made.free(), "and now it will say when it is"
    assert not (reply.answered or freed.is_set() or convicted)
    disk.done.put(None)
    assert reply.get(timeout=PATIENCE) == b"entry"
    assert freed.wait(PATIENCE)
    made.wait()
    assert (made.free(), convicted) == (True, [b"proof"])


def test_after_a_batch_that_failed_the_flusher_answers_nobody(flusher: Flushing, disk: Disk) -> None:
    made, freed, convicted = flusher
    first, lost = batch(disk, [b"proof"])
    made.take(first)
    disk.done.put(LedgerReadOnly("the disk did not keep it"))
    second, refused = batch(disk, [])
    made.take(second)
    for reply in (lost, refused):
        with pytest.raises(LedgerReadOnly):
            reply.get(timeout=PATIENCE)
    with pytest.raises(LedgerReadOnly):
        made.wait()
    assert freed.wait(PATIENCE)
    assert not convicted


def test_a_flusher_that_is_stopped_finishes_what_it_has(disk: Disk) -> None:
    made = Flusher("flusher", freed=lambda: None, convicted=lambda _: None)
    last, reply = batch(disk, [])
    made.take(last)
    disk.done.put(None)
    made.stop()
    assert reply.get(timeout=0) == b"entry"
