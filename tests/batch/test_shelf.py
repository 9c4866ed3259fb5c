"""Files that programs leave with a node: whole or not at all, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from opengateway.batch import record, shelf
from opengateway.batch.record import Batches, NoSuchBatch, TooManyBatches
from opengateway.batch.shelf import NoSuchFile, Shelf, ShelfFull
from opengateway.errors import BadRequest

ASKED = {"endpoint": "/v1/embeddings", "completion_window": "24h", "input_file_id": "file-1"}


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


def put(where: Shelf, *given: bytes, purpose: str = "batch") -> shelf.Kept:
    return asyncio.run(where.put(pieces(*given), "name", purpose))


def test_a_file_is_kept_listed_read_and_deleted(tmp_path: Path) -> None:
    where = Shelf(tmp_path / "files")
    assert where.list() == []
    kept = put(where, b"one", b"two")
    assert (kept.bytes, kept.filename) == (6, "name")
    assert where.path(kept.id).read_bytes() == b"onetwo"
    assert Shelf(tmp_path / "files").list() == [kept]
    where.delete(kept.id)
    assert list((tmp_path / "files").iterdir()) == []
    with pytest.raises(NoSuchFile):
        where.get(kept.id)


def test_what_would_take_too_much_room_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Shelf(tmp_path)
    monkeypatch.setattr(shelf, "MOST_FILE", 5)
    with pytest.raises(ShelfFull, match="larger"):
        put(where, b"four", b"more")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shelf, "MOST_TOTAL", 6)
    put(where, b"12345")
    with pytest.raises(ShelfFull):
        put(where, b"12")
    monkeypatch.setattr(shelf, "MOST_FILES", 1)
    with pytest.raises(ShelfFull):
        put(where, b"1")


def test_a_purpose_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="purpose"):
        put(Shelf(tmp_path), b"x", purpose="fine-tune")


def test_a_file_of_our_own_is_adopted_once(tmp_path: Path) -> None:
    where = Shelf(tmp_path / "files")
    for text in ("first", "again"):
        source = tmp_path / "made"
        source.write_text(text)
        kept = where.adopt(source, "file-abc-0", "out")
    assert where.path(kept.id).read_text() == "first"


def test_batches_are_kept_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MOST_UNDER_WAY", 2)
    batches = Batches(tmp_path)
    first = batches.new(ASKED)
    batches.save(first)
    batches.save(batches.new(ASKED))
    with pytest.raises(TooManyBatches, match="under way"):
        batches.new(ASKED)
    batches.save(first.now("completed", total=1, done=1))
    assert Batches(tmp_path).get(first.id).as_json()["completed_at"] > 0
    monkeypatch.setattr(record, "MOST_BATCHES", 2)
    with pytest.raises(TooManyBatches):
        batches.new(ASKED)
    with pytest.raises(NoSuchBatch):
        batches.get("batch_../x")


@pytest.mark.parametrize("metadata", [[], {"a": 1}, {"a": "b" * 513}, {str(n): "" for n in range(17)}])
def test_metadata_is_a_few_short_texts(tmp_path: Path, metadata: object) -> None:
    with pytest.raises(BadRequest, match="metadata"):
        Batches(tmp_path).new({**ASKED, "metadata": metadata})


def test_a_key_sees_only_what_came_with_it_and_the_owner_sees_all(tmp_path: Path) -> None:
    where, batches = Shelf(tmp_path / "files"), Batches(tmp_path)
    mine = asyncio.run(where.put(pieces(b"x"), "name", "batch", "key-a"))
    batch = batches.new(ASKED, "key-a")
    batches.save(batch)
    assert [one.id for one in where.list("key-a")] == [one.id for one in where.list()] == [mine.id]
    assert batches.get(batch.id, "key-a") == batches.get(batch.id) == batch
    assert where.list("key-b") == batches.list("key-b") == []
    with pytest.raises(NoSuchFile):
        where.path(mine.id, "key-b")
    with pytest.raises(NoSuchBatch):
        batches.get(batch.id, "key-b")
