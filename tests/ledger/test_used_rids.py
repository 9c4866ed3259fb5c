"""Which request ids were used: what a filter says is true, and a used one is refused whatever it says."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_world import PRICE, Node, World, world

from opengateway.errors import LedgerRefused
from opengateway.ledger.used_rids import AT_ONCE, BITS_PER_ID, FIRST_BITS, Key, UsedRids


class Table:
    """A table of keys in their order."""

    def __init__(self, rids: list[bytes]) -> None:
        self.keys: list[Key] = sorted((b"peer", rid) for rid in rids)
        self.asked = 0

    def read(self, after: Key | None, limit: int) -> list[Key]:
        self.asked += 1
        return [key for key in self.keys if after is None or key > after][:limit]


def rids(seed: int, count: int) -> list[bytes]:
    source = random.Random(seed)
    return [source.randbytes(16) for _ in range(count)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@given(st.integers(0, 3 * AT_ONCE), st.lists(st.integers(0, 50), max_size=6), st.integers(0, 1 << 32))
def test_what_is_in_the_table_or_was_added_may_be_held(stored: int, commits: list[int], seed: int) -> None:
    known, new = rids(seed, stored), iter(rids(seed + 1, sum(commits)))
    used = UsedRids(Table(known).read)
    for count in commits:
        for rid in islice(new, count):
            used.add(rid)
            known.append(rid)
        assert all(map(used.may_hold, known))
        used.read_on()
    assert all(map(used.may_hold, known))


def test_before_the_table_is_read_every_id_may_be_held() -> None:
    used = UsedRids(Table(rids(1, AT_ONCE + 1)).read)
    used.read_on()
    assert all(map(used.may_hold, rids(2, 100)))


def test_when_it_is_full_it_grows_and_still_tells_new_ids_from_old_ones() -> None:
    table, many = Table([]), 2 * FIRST_BITS // BITS_PER_ID
    used = UsedRids(table.read)
    for at, rid in enumerate(rids(3, many)):
        table.keys.append((b"peer", rid))
        used.add(rid)
        if at % 64 == 0:
            table.keys.sort()
            used.read_on()
    for _ in range(many // AT_ONCE + 2):
        used.read_on()
    assert all(map(used.may_hold, rids(3, many)))
    assert sum(map(used.may_hold, rids(4, 1000))) < 40
    asked = table.asked
    used.read_on()
    assert table.asked == asked


def open_again(node: Node, worker: Node, rid: bytes) -> bytes:
    return node.book.open(
        worker.id,
        rid,
        "m",
        prompt_tokens=1,
        max_completion=1,
        price_prompt=PRICE.prompt,
        price_completion=PRICE.completion,
    )


@pytest.mark.parametrize("commits", [0, 4])
def test_an_id_of_a_former_life_is_not_used_again(place: World, commits: int) -> None:
    ann, bob, cid = place.node("ann"), place.node("bob"), place.node("cid")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    ann.pay(bob, ann.settle(rid))
    for node in (ann, bob):
        node.crash()
        for _ in range(commits):  # with each the filter reads on
            node.open(cid)
    with pytest.raises(LedgerRefused, match="used before"):
        open_again(ann, bob, rid)
    with pytest.raises(LedgerRefused, match="used before"):
        bob.admit(opening, ann)


def log_bytes(node: Node, worker: Node, ids: Iterator[bytes]) -> int:
    """What twenty commits of 16 write, in a ledger of 2,000 entries."""
    for batch in range(125 + 20):
        if batch == 125:
            with closing(sqlite3.connect(node.path)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for _ in range(16):
            open_again(node, worker, next(ids))
        node.book.commit()
    return node.path.with_name(node.path.name + "-wal").stat().st_size


def test_ids_that_begin_with_the_time_write_half_as_much(place: World) -> None:
    source = random.Random(5)
    anywhere = iter(rids(5, 2400))
    in_order = (struct.pack(">Q", at << 38) + source.randbytes(8) for at in range(2400))
    ann, bob, cid = place.node("ann"), place.node("bob"), place.node("cid")
    assert log_bytes(ann, cid, in_order) < 0.6 * log_bytes(bob, cid, anywhere)
