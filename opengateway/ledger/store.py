"""The ledger's database: one file, one writer, group commit.

SQLite in WAL mode with synchronous=FULL: what `commit` returned from survives a power cut (60 kill -9
lost none of the acknowledged entries). Rows are collected in memory and written in one transaction, so
a request that is refused half-way leaves the rest of its batch alone. Nobody writes SQL elsewhere.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cbor2

from opengateway.errors import LedgerReadOnly
from opengateway.ledger.entry import OPEN, Entry, Signed, leaf_of, read_body
from opengateway.ledger.rules import Pair
from opengateway.units import NodeId

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries(
    seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, kind INTEGER NOT NULL, peer BLOB NOT NULL, rid BLOB NOT NULL,
    body BLOB NOT NULL, sig BLOB NOT NULL, pbody BLOB, psig BLOB, holds INTEGER NOT NULL,
    UNIQUE(kind, peer, rid));
CREATE INDEX IF NOT EXISTS unanswered ON entries(seq) WHERE kind = 2 AND psig IS NULL;
CREATE INDEX IF NOT EXISTS holding ON entries(seq) WHERE holds = 1;
CREATE TABLE IF NOT EXISTS pairs(
    peer BLOB PRIMARY KEY, served INTEGER NOT NULL, consumed INTEGER NOT NULL, moved_in INTEGER NOT NULL,
    moved_out INTEGER NOT NULL, unpaid INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS openings(
    peer BLOB NOT NULL, rid BLOB NOT NULL, body BLOB NOT NULL, sig BLOB NOT NULL, at_ms INTEGER NOT NULL,
    state INTEGER NOT NULL, due INTEGER NOT NULL, paid INTEGER NOT NULL, UNIQUE(peer, rid));
CREATE INDEX IF NOT EXISTS serving ON openings(state) WHERE state < 2;
CREATE TABLE IF NOT EXISTS heads(
    peer BLOB PRIMARY KEY, net BLOB NOT NULL, body BLOB NOT NULL, sig BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS proofs(
    peer BLOB NOT NULL, kind TEXT NOT NULL, proof BLOB NOT NULL, UNIQUE(peer, kind));
CREATE TABLE IF NOT EXISTS documents(
    kind TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY(kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pool(id INTEGER PRIMARY KEY, forgiven INTEGER NOT NULL, at_ms INTEGER NOT NULL);
"""
_APPLICATION_ID = 0x4F47574C  # "OGWL"

ADMITTED, DELIVERED, SETTLED, RELEASED, UNPAID = range(5)


class Opening(NamedTuple):
    """A requester's OPEN that we admitted. `due`: what we delivered is worth; `paid`: what was settled."""

    peer: NodeId
    rid: bytes
    body: bytes
    signature: bytes
    at_ms: int
    state: int = ADMITTED
    due: int = 0
    paid: int = 0


class Row(NamedTuple):
    """One stored entry with its counterparty's half."""

    seq: int
    leaf: bytes
    body: bytes
    signature: bytes
    peer_body: bytes | None
    peer_signature: bytes | None
    peer: bytes
    rid: bytes


def wire_of(row: Row) -> bytes:
    """What travels, from storage."""
    return cbor2.dumps((row.body, row.signature))


_ROW = "SELECT seq, leaf, body, sig, pbody, psig, peer, rid FROM entries"
_OPENING = "SELECT peer, rid, body, sig, at_ms, state, due, paid FROM openings"


class Store:
    """The tables, and the rows that wait for the next commit."""

    def __init__(self, path: Path | str) -> None:
        """Raises `sqlite3.DatabaseError` if the file is damaged beyond reading."""
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA busy_timeout=5000")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            self._db.executescript(_SCHEMA)
        except BaseException:
            self._db.close()
            raise
        self._clear()

    def _clear(self) -> None:
        self._entries: list[tuple[Any, ...]] = []
        self._halves: list[tuple[bytes, bytes, int]] = []
        self._ended: list[tuple[int]] = []
        self._fresh: dict[tuple[int, bytes, bytes], Row] = {}
        self._pairs: dict[NodeId, tuple[Any, ...]] = {}
        self._openings: dict[tuple[bytes, bytes], Opening] = {}
        self._heads: dict[NodeId, Signed] = {}
        self._proofs: list[tuple[bytes, str, bytes]] = []
        self._documents: dict[tuple[str, bytes], bytes] = {}
        self._pool: tuple[int, int] | None = None

    # What waits for the commit.

    def add_entry(self, new: Signed, half: Signed | None = None) -> None:
        entry = new.entry
        other = (half.body, half.signature) if half else (None, None)
        row = Row(entry.seq, new.leaf, new.body, new.signature, other[0], other[1], entry.peer, entry.rid)
        self._fresh[entry.kind, entry.peer, entry.rid] = row
        self._entries.append(
            (entry.seq, new.leaf, entry.kind, entry.peer, entry.rid, *row[2:6], entry.kind == OPEN)
        )

    def add_half(self, mine: Entry, half: Signed) -> None:
        key = mine.kind, mine.peer, mine.rid
        row = self.find(*key)
        assert row is not None
        self._fresh[key] = row._replace(peer_body=half.body, peer_signature=half.signature)
        self._halves.append((half.body, half.signature, mine.seq))

    def end_hold(self, opening: Entry) -> None:
        self._ended.append((opening.seq,))

    def put_pair(self, peer: NodeId, pair: Pair, unpaid: int) -> None:
        self._pairs[peer] = (peer, *pair, unpaid)

    def put_opening(self, opening: Opening) -> None:
        self._openings[opening.peer, opening.rid] = opening

    def put_head(self, head: Signed) -> None:
        self._heads[head.entry.author] = head

    def add_proof(self, peer: NodeId, kind: str, proof: bytes) -> None:
        self._proofs.append((peer, kind, proof))

    def new_proofs(self) -> list[bytes]:
        """Those that wait for the commit."""
        return [proof for _, _, proof in self._proofs]

    def put_document(self, kind: str, key: bytes, value: bytes) -> None:
        """Anything signed that is not an entry, by its own name; empty: no longer kept."""
        self._documents[kind, key] = value

    def put_pool(self, forgiven: int, at_ms: int) -> None:
        self._pool = (forgiven, at_ms)

    @property
    def waiting(self) -> bool:
        rows = (self._entries, self._halves, self._openings, self._pairs, self._heads, self._proofs)
        return any(rows) or bool(self._documents)

    def drop(self) -> None:
        """Forgets what waits."""
        self._clear()

    def commit(self) -> None:
        """Everything that waits, durable or not at all. Raises `sqlite3.Error`, and then it still waits."""
        run, many = self._db.execute, self._db.executemany
        run("BEGIN IMMEDIATE")
        try:
            many("INSERT INTO entries VALUES(?,?,?,?,?,?,?,?,?,?)", self._entries)
            many("UPDATE entries SET holds = 0 WHERE seq = ?", self._ended)
            many("UPDATE entries SET pbody = ?, psig = ? WHERE seq = ?", self._halves)
            many("INSERT OR REPLACE INTO pairs VALUES(?,?,?,?,?,?)", self._pairs.values())
            many("INSERT OR REPLACE INTO openings VALUES(?,?,?,?,?,?,?,?)", self._openings.values())
            heads = [(h.entry.author, h.entry.net, h.body, h.signature) for h in self._heads.values()]
            many("INSERT OR REPLACE INTO heads VALUES(?,?,?,?)", heads)
            many("INSERT OR IGNORE INTO proofs VALUES(?,?,?)", self._proofs)
            named = [(*name, value) for name, value in self._documents.items()]
            many("INSERT OR REPLACE INTO documents VALUES(?,?,?)", [d for d in named if d[2]])
            many("DELETE FROM documents WHERE kind = ? AND key = ?", [d[:2] for d in named if not d[2]])
            if self._pool:
                run("INSERT OR REPLACE INTO pool VALUES(0,?,?)", self._pool)
            run("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                run("ROLLBACK")
            raise
        self._clear()

    # What is there, including what waits.

    def find(self, kind: int, peer: bytes, rid: bytes) -> Row | None:
        fresh = self._fresh.get((kind, peer, rid))
        if fresh:
            return fresh
        found = self._one(f"{_ROW} WHERE kind = ? AND peer = ? AND rid = ?", (kind, peer, rid))
        return Row._make(found) if found else None

    def opening(self, peer: bytes, rid: bytes) -> Opening | None:
        waiting = self._openings.get((peer, rid))
        if waiting:
            return waiting
        found = self._one(f"{_OPENING} WHERE peer = ? AND rid = ?", (peer, rid))
        return Opening._make(found) if found else None

    def head(self, peer: NodeId) -> Signed | None:
        """The highest entry that this peer showed us."""
        waiting = self._heads.get(peer)
        if waiting:
            return waiting
        found = self._one("SELECT net, body, sig FROM heads WHERE peer = ?", (peer,))
        if not found:
            return None
        net, body, signature = found
        return Signed(read_body(body, net), body, leaf_of(body), signature)

    def document(self, kind: str, key: bytes) -> bytes:
        """Empty if there is none."""
        waiting = self._documents.get((kind, key))
        if waiting is not None:
            return waiting
        found = self._one("SELECT value FROM documents WHERE kind = ? AND key = ?", (kind, key))
        return found[0] if found else b""

    # What is there, without what waits.

    def documents(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        yield from self._all("SELECT key, value FROM documents WHERE kind = ? ORDER BY key", (kind,))

    def count(self) -> int:
        last = self._one("SELECT max(seq) FROM entries", ())
        return 0 if last is None or last[0] is None else int(last[0]) + 1

    def rows(self, first: int = 0, *, backwards: bool = False) -> Iterator[Row]:
        order = "DESC" if backwards else "ASC"
        for found in self._all(f"{_ROW} WHERE seq >= ? ORDER BY seq {order}", (first,)):
            yield Row._make(found)

    def pairs(self) -> Iterator[tuple[NodeId, Pair, int]]:
        for peer, served, consumed, moved_in, moved_out, unpaid in self._all("SELECT * FROM pairs", ()):
            yield NodeId(peer), Pair(served, consumed, moved_in, moved_out), unpaid

    def serving(self) -> Iterator[Opening]:
        for found in self._all(f"{_OPENING} WHERE state < 2", ()):
            yield Opening._make(found)

    def unanswered(self, limit: int) -> Iterator[Row]:
        """SETTLEs without the worker's EARN, oldest first."""
        for found in self._all(f"{_ROW} WHERE kind = 2 AND psig IS NULL ORDER BY seq LIMIT ?", (limit,)):
            yield Row._make(found)

    def holds(self) -> Iterator[Row]:
        """OPENs without SETTLE or VOID."""
        for found in self._all(f"{_ROW} WHERE holds = 1", ()):
            yield Row._make(found)

    def proofs(self) -> Iterator[tuple[NodeId, str, bytes]]:
        for peer, kind, proof in self._all("SELECT peer, kind, proof FROM proofs", ()):
            yield NodeId(peer), kind, proof

    def pool(self) -> tuple[int, int]:
        found = self._one("SELECT forgiven, at_ms FROM pool", ())
        return (found[0], found[1]) if found else (0, 0)

    def _one(self, sql: str, values: tuple[Any, ...]) -> Any:
        try:
            return self._db.execute(sql, values).fetchone()
        except sqlite3.DatabaseError as error:
            raise _unreadable(error) from error

    def _all(self, sql: str, values: tuple[Any, ...]) -> Iterator[Any]:
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise _unreadable(error) from error

    def limit_pages(self, pages: int) -> None:
        """The database may not grow beyond this: how the tests fill a disk."""
        self._db.execute(f"PRAGMA max_page_count={pages}")

    def close(self) -> None:
        self._db.close()


def _unreadable(error: sqlite3.DatabaseError) -> LedgerReadOnly:
    return LedgerReadOnly(f"the ledger's database cannot be read: {error}", hint="keep the file as it is")
