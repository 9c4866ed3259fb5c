"""A ledger that lost something says so and signs nothing more: read-only rather than a fork."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from ledger_world import NET, START_MS, Clock, Node, World, world

from opengateway.errors import DiskFull, HomeBusy, LedgerMismatch, LedgerReadOnly, SetupError
from opengateway.identity import Identity, network_id
from opengateway.ledger.book import Book
from opengateway.ledger.entry import leaf_of, read_body
from opengateway.ledger.mark import SLOT_BYTES


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def side(node: Node, suffix: str) -> Path:
    return node.path.with_name(node.path.name + suffix)


def copy_of(node: Node, folder: Path) -> None:
    """The files as a power cut would leave them."""
    folder.mkdir()
    for suffix in ("", "-wal", ".mark"):
        if side(node, suffix).exists():
            shutil.copy(side(node, suffix), folder / side(node, suffix).name)


def reopen(folder: Path, node: Node) -> Book:
    return Book(folder / node.path.name, node.identity, NET, now_ms=node.clock)


def refuses_to_sign(book: Book, peer: Node) -> bool:
    with pytest.raises(LedgerReadOnly) as refused:
        book.open(
            peer.id, bytes(16), "m", prompt_tokens=1, max_completion=1, price_prompt=1, price_completion=1
        )
    return bool(refused.value.hint)


def test_what_was_committed_is_there_after_a_power_cut(place: World, tmp_path: Path) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    copy_of(ann, tmp_path / "cut")
    book = reopen(tmp_path / "cut", ann)
    assert (book.balance(), book.damage) == (ann.book.balance(), "")
    book.close()


def test_an_older_database_is_noticed(place: World, tmp_path: Path) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    copy_of(ann, tmp_path / "old")
    ann.ask(bob)
    ann.book.close()
    shutil.copy(side(ann, ".mark"), tmp_path / "old" / side(ann, ".mark").name)
    book = reopen(tmp_path / "old", ann)
    assert "had been signed" in book.damage
    assert refuses_to_sign(book, bob)
    assert book.balance().spent == 5100, "what is left can still be read"
    book.close()


def test_a_database_that_is_gone_is_not_begun_anew(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    ann.book.close()
    for suffix in ("", "-wal", "-shm"):
        side(ann, suffix).unlink(missing_ok=True)
    ann.book = Book(ann.path, ann.identity, NET, now_ms=ann.clock)
    assert "had been signed" in ann.book.damage
    assert refuses_to_sign(ann.book, bob)


@pytest.mark.parametrize("damage", ["gone", "garbled", "empty"])
def test_a_mark_that_cannot_be_read_makes_the_ledger_read_only(place: World, damage: str) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    ann.book.close()
    if damage == "gone":
        side(ann, ".mark").unlink()
    else:
        side(ann, ".mark").write_bytes(b"" if damage == "empty" else bytes(2 * SLOT_BYTES))
    ann.book = Book(ann.path, ann.identity, NET, now_ms=ann.clock)
    assert "mark" in ann.book.damage
    assert refuses_to_sign(ann.book, bob)


def test_one_torn_slot_of_the_mark_is_survived(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    mark = side(ann, ".mark")
    for place_of_slot in (0, SLOT_BYTES):
        ann.book.close()
        good = mark.read_bytes()
        mark.write_bytes(good[:place_of_slot] + bytes(SLOT_BYTES) + good[place_of_slot + SLOT_BYTES :])
        ann.book = Book(ann.path, ann.identity, NET, now_ms=ann.clock)
        assert not ann.book.damage
        ann.book.close()
        mark.write_bytes(good)
        ann.book = Book(ann.path, ann.identity, NET, now_ms=ann.clock)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE entries SET body = x'00' WHERE seq = 2", "format"),
        ("UPDATE entries SET sig = zeroblob(64) WHERE seq = 2", "signature"),
        ("UPDATE entries SET leaf = zeroblob(32) WHERE seq = 2", "signed"),
        ("DELETE FROM entries WHERE seq = 1", "continue"),
        ("DELETE FROM entries WHERE seq = 0", ""),
        ("UPDATE entries SET body = (SELECT body FROM entries WHERE seq = 1) WHERE seq = 2", "signed"),
        ("DROP TABLE pairs", ""),
        ("DELETE FROM entries", "signed"),
    ],
)
def test_a_database_that_was_changed_is_noticed(place: World, sql: str, why: str) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    for _ in range(2):
        ann.ask(bob)
    ann.book.close()
    with sqlite3.connect(ann.path) as base:
        base.execute(sql)
    base.close()
    ann.book = Book(ann.path, ann.identity, NET, now_ms=ann.clock)
    if sql.startswith("DROP"):
        assert ann.book.peer(bob.id).consumed == ann.book.balance().spent, "read from the chain again"
    else:
        assert why in ann.book.damage
        assert refuses_to_sign(ann.book, bob)


def test_a_file_that_is_no_database_is_kept_and_not_signed_over(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.book.close()
    ann.path.write_bytes(b"not a database at all " * 500)
    ann.book = Book(ann.path, ann.identity, NET, now_ms=ann.clock)
    assert refuses_to_sign(ann.book, bob)
    assert ann.path.read_bytes().startswith(b"not a database")


def test_another_keys_ledger_is_not_opened(place: World) -> None:
    ann = place.node("ann")
    ann.book.close()
    with pytest.raises(LedgerMismatch) as refused:
        Book(ann.path, Identity.generate(), NET, now_ms=ann.clock)
    assert refused.value.hint
    ann.book = Book(ann.path, ann.identity, NET, now_ms=ann.clock)


def test_another_networks_ledger_is_not_opened(place: World) -> None:
    ann = place.node("ann")
    ann.book.close()
    with pytest.raises(LedgerMismatch):
        Book(ann.path, ann.identity, network_id("elsewhere"), now_ms=ann.clock)
    ann.book = Book(ann.path, ann.identity, NET, now_ms=ann.clock)


def test_two_writers_of_one_ledger_are_refused(place: World) -> None:
    ann = place.node("ann")
    with pytest.raises(HomeBusy):
        Book(ann.path, ann.identity, NET, now_ms=ann.clock)


def test_a_full_disk_loses_nothing_that_was_acknowledged(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    before = ann.book.balance()
    ann.book._journal.vault.store.limit_pages(1)
    with pytest.raises(DiskFull) as refused:
        for _ in range(100):
            ann.open(bob)
            before = ann.book.balance()
    assert refused.value.hint
    assert ann.book.balance() == before
    ann.book._journal.vault.store.limit_pages(100_000)
    ann.ask(bob)
    assert not ann.book.damage
    ann.crash()
    assert ann.book.balance().spent == 2 * 5100


def test_a_ballast_is_kept_and_taken_again(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.open(bob)
    ballast = side(ann, ".ballast")
    assert ballast.stat().st_size == 8 << 20
    assert ann.book._journal.vault.space.release()
    assert not ballast.exists()
    ann.open(bob)
    assert ballast.exists()


def test_a_database_that_fails_in_flight_stops_the_signing_and_nothing_else(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    rid, opening = bob.open(ann)
    ann.admit(opening, bob)
    with sqlite3.connect(ann.path) as base:  # the place of this node's next entry is taken
        columns = "seq + 1, leaf, 9, peer, rid, body, sig, pbody, psig, 0"
        base.execute(f"INSERT INTO entries SELECT {columns} FROM entries ORDER BY seq DESC LIMIT 1")
    base.close()
    with pytest.raises(LedgerReadOnly):
        ann.open(bob)
    assert refuses_to_sign(ann.book, bob)
    ann.book.delivered(rid, bob.id, 1, 1)
    ann.book.release(rid, bob.id)
    ann.book.commit()
    assert ann.book.balance().spent == 5100
    assert ann.book.export(BytesIO()) > 0


def test_a_home_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SetupError) as refused:
        Book(tmp_path / "file" / "ledger.db", Identity.generate(), NET, now_ms=Clock())
    assert refused.value.hint


def test_time_never_goes_back_on_a_chain(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    latest = ann.book.history(1)[0].t_ms
    place.clock.pass_ms(-10_000_000)
    ann.open(bob)
    assert ann.book.history(1)[0].t_ms == latest


WRITER = """
import sys
from pathlib import Path
from ledger_world import Clock, Node
clock = Clock(int(sys.argv[2]))
ann, bob = (Node(Path(sys.argv[1]), name, clock) for name in ("ann", "bob"))
ann._random.seed(sys.argv[2])
for peer, rid, settle in ann.book.unanswered():
    ann.pay(bob, settle)
while True:
    ann.ask(bob)
    print(ann.book.balance().entries, ann.book._journal.vault.chain.leaf.hex(), flush=True)
"""


def test_a_killed_node_has_everything_that_it_acknowledged(tmp_path: Path) -> None:
    """The slow suite of the node kills a whole one 200 times; here the ledger alone, in its own process."""
    for life in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(START_MS + life * 1_000_000)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(__file__).parents[2]}"},
            text=True,
        )
        assert child.stdout is not None
        with child, child.stdout:
            try:
                for _ in range(30):
                    line = child.stdout.readline()
            finally:
                child.kill()
            line = (child.stdout.read().splitlines(keepends=True) or [line])[-1]
        assert line.endswith("\n"), "a line of 70 bytes is written at once"
        entries, leaf = line.split()
        assert int(entries) > 60 * (life + 1), "every life added its thirty requests"
        node = Node(tmp_path, "ann", Clock())
        rows = list(node.book._journal.vault.store.rows())
        assert not node.book.damage
        assert leaf_of(rows[int(entries) - 1].body).hex() == leaf
        assert [read_body(row.body, NET).seq for row in rows] == list(range(len(rows)))
        node.book.close()
