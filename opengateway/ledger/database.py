"""The ledger's SQLite file: one writer, transactions, and when they are durable.

WAL mode: what a `transaction` ended is in the file and survives kill -9; what `sync` returned from survives a
power cut as well (60 kill -9 lost none of the acknowledged entries). The two are apart because a disk takes
0.2 ms to say that it has everything, and 4 ms where others write too, and the ledger can sign meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opengateway.errors import LedgerReadOnly
from opengateway.ledger.mark import sync_file, sync_folder

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
_TOGETHER = 64
"""Rows of one statement at most. Every statement lets go of the interpreter and waits for it again, up to
0.5 ms in a busy node: row by row a commit of 8 requests took 1.8 ms, of which 0.4 ms were work."""
_STATEMENTS = 256
"""Texts that SQLite keeps prepared: some 20 of the store's, those with VALUES in seven lengths each."""


class Database:
    def __init__(self, path: Path | str) -> None:
        """Raises `sqlite3.DatabaseError` if the file is damaged beyond reading."""
        self._wal = -1
        self._db = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
        )
        try:
            self._db.execute("PRAGMA busy_timeout=5000")
            (mode,) = self._db.execute("PRAGMA journal_mode=WAL").fetchone()
            # NORMAL: SQLite synchronises checkpoints, as it must, and leaves commits to `sync`. Where the
            # file system knows no WAL it does both.
            self._db.execute(f"PRAGMA synchronous={'NORMAL' if mode == 'wal' else 'FULL'}")
            self._db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            self._db.executescript(_SCHEMA)
            if mode == "wal":
                self._wal = os.open(f"{path}-wal", os.O_RDWR)
                sync_folder(Path(path).parent)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; durable after the next `sync`. Raises `sqlite3.Error`."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Like `executemany`, with as few statements as can be: VALUES(?,...) is repeated for many rows."""
        before, values, after = sql.partition("VALUES")
        row, closing, after = after.partition(")")
        at = 0
        while at < len(rows):
            # Powers of two, so that few texts are ever prepared.
            count = min(_TOGETHER, 1 << ((len(rows) - at).bit_length() - 1))
            text = before + values + ",".join([row + closing] * count) + after
            self._db.execute(text, [value for part in rows[at : at + count] for value in part])
            at += count

    def sync(self) -> None:
        """Every transaction before is durable when this returns. From any thread. Raises `OSError`."""
        if self._wal >= 0:
            sync_file(self._wal)

    def one(self, sql: str, values: tuple[Any, ...]) -> Any:
        """The first row or None. Raises `LedgerReadOnly` if the file cannot be read."""
        try:
            return self._db.execute(sql, values).fetchone()
        except sqlite3.DatabaseError as error:
            raise _unreadable(error) from error

    def all(self, sql: str, values: tuple[Any, ...]) -> Iterator[Any]:
        """Raises `LedgerReadOnly` if the file cannot be read."""
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise _unreadable(error) from error

    def limit_pages(self, pages: int) -> None:
        """The file may not grow beyond this: how the tests fill a disk."""
        self._db.execute(f"PRAGMA max_page_count={pages}")

    def close(self) -> None:
        if self._wal >= 0:
            os.close(self._wal)  # SQLite has no locks on this file that closing it could end
            self._wal = -1
        self._db.close()


def _unreadable(error: sqlite3.DatabaseError) -> LedgerReadOnly:
    return LedgerReadOnly(f"the ledger's database cannot be read: {error}", hint="keep the file as it is")
