from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from opengateway.discovery.known_peer import Dial
from opengateway.discovery.peer_cache import PeerCache
from opengateway.discovery.peers import PeerBook
from opengateway.units import NodeId

OWN = NodeId(b"o" * 32)
ANNA, BERT = NodeId(b"a" * 32), NodeId(b"b" * 32)
HOME, CAFE = "tcp://192.168.1.5:11436", "tcp://10.0.0.9:11436"
NOW = 1_750_000_000_000


@contextmanager
def cached(path: Path) -> Iterator[tuple[PeerBook, PeerCache]]:
    known, cache = PeerBook(OWN), PeerCache(path)
    try:
        cache.load(known)
        yield known, cache
        cache.save(known)
    finally:
        cache.close()


def test_peers_are_found_again_after_a_restart(tmp_path: Path) -> None:
    with cached(tmp_path / "peers.db") as (known, _):
        known.connected(ANNA, HOME, now_ms=NOW)
        known.heard(ANNA, (CAFE,), seq=3, now_ms=NOW)
    with cached(tmp_path / "peers.db") as (known, _):
        assert known.due(NOW + 10_000) == (Dial(ANNA, (HOME, CAFE)),)
        peer = known.get(ANNA)
        assert peer
        assert (peer.answered_ms, peer.seq, peer.connected) == (NOW, 3, False)


def test_a_run_that_met_nobody_forgets_nobody(tmp_path: Path) -> None:
    with cached(tmp_path / "peers.db") as (known, _):
        known.connected(ANNA, HOME, now_ms=NOW)
    with cached(tmp_path / "peers.db"):
        pass
    lonely, cache = PeerBook(OWN), PeerCache(tmp_path / "peers.db")
    lonely.seen(BERT, (CAFE,), now_ms=NOW + 1)
    cache.save(lonely)  # without having loaded: still merged
    cache.close()
    with cached(tmp_path / "peers.db") as (known, _):
        assert {peer.node_id for peer in known} == {ANNA, BERT}


def test_a_book_that_was_not_read_yet_is_merged_into_the_cache_never_over_it(tmp_path: Path) -> None:
    with cached(tmp_path / "peers.db") as (known, _):
        known.connected(ANNA, HOME, now_ms=NOW)
        known.heard(ANNA, (HOME,), seq=3, now_ms=NOW)
    fresh, cache = PeerBook(OWN), PeerCache(tmp_path / "peers.db")
    fresh.seen(ANNA, (CAFE,), now_ms=NOW + 1)  # at another place, and it has not answered yet
    cache.save(fresh)
    cache.close()
    with cached(tmp_path / "peers.db") as (known, _):
        peer = known.get(ANNA)
        assert peer
        assert set(peer.places) == {HOME, CAFE}
        assert (peer.answered_ms, peer.seq, peer.last_good) == (NOW, 3, HOME)


def test_a_goodbye_is_remembered(tmp_path: Path) -> None:
    with cached(tmp_path / "peers.db") as (known, _):
        known.connected(ANNA, HOME, now_ms=NOW)
        known.heard(ANNA, (HOME,), seq=7, now_ms=NOW)
        known.departed(ANNA, now_ms=NOW + 1)
    with cached(tmp_path / "peers.db") as (known, _):
        assert not known.heard(ANNA, (HOME,), seq=7, now_ms=NOW + 2)


def test_a_forgotten_peer_is_forgotten_on_disk_too(tmp_path: Path) -> None:
    with cached(tmp_path / "peers.db") as (known, cache):
        known.connected(ANNA, HOME, now_ms=NOW)
        cache.save(known)
        known.forget(ANNA)
    with cached(tmp_path / "peers.db") as (known, _):
        assert len(known) == 0


@pytest.mark.parametrize("content", [b"this is no database " * 100, b"SQLite format 3\0" + bytes(4000)])
def test_a_damaged_cache_is_moved_aside_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "peers.db"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING), cached(path) as (known, cache):
        known.connected(ANNA, HOME, now_ms=NOW)
        assert not cache.problem
    assert "moved to" in caplog.text
    assert [file.read_bytes() for file in tmp_path.glob("peers.db.damaged-*")] == [content]
    with cached(path) as (known, _):
        assert known.get(ANNA)


def test_another_programs_database_is_moved_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE peers (something)")
    with cached(path) as (known, cache):
        known.connected(ANNA, HOME, now_ms=NOW)
        cache.save(known)
        assert not cache.problem
    assert len(list(tmp_path.glob("peers.db.damaged-*"))) == 1


def test_rows_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    with cached(path) as (known, _):
        known.connected(ANNA, HOME, now_ms=NOW)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO peers VALUES (x'00', 1, 1, '', 0, 0, 0)")
        db.execute("INSERT INTO places VALUES (?, 'tcp://example.org:1', 5)", (ANNA,))
    with cached(path) as (known, _):
        assert known.due(NOW + 10_000) == (Dial(ANNA, (HOME,)),)


def test_a_cache_that_cannot_be_written_is_a_problem_and_not_an_error(tmp_path: Path) -> None:
    with cached(tmp_path / "missing" / "peers.db") as (known, cache):
        known.connected(ANNA, HOME, now_ms=NOW)
        cache.save(known)
        assert "not remembered" in cache.problem
        (tmp_path / "missing").mkdir()
        cache.save(known)
        assert cache.problem == ""
