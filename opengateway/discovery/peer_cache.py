"""`peers.db`: the peer book on disk, so that a node finds its peers again after a restart.

Only a cache: losing it costs a search, so nothing about it stops the node. A file that cannot be read
is moved aside, not deleted, and said so; a disk that takes nothing more is `problem`.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from opengateway.discovery.addresses import parse_place
from opengateway.discovery.known_peer import ADDRESS_LIMIT, Peer, Place
from opengateway.discovery.peers import PEER_LIMIT, PeerBook
from opengateway.units import NodeId

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS peers (
    node_id BLOB PRIMARY KEY, last_seen_ms INTEGER NOT NULL, answered_ms INTEGER NOT NULL,
    last_good TEXT NOT NULL, departed_ms INTEGER NOT NULL, departed_seq INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (
    node_id BLOB NOT NULL, endpoint TEXT NOT NULL, advertised_ms INTEGER NOT NULL,
    PRIMARY KEY (node_id, endpoint)
) STRICT, WITHOUT ROWID;
"""

_READ = """
SELECT node_id, last_seen_ms, answered_ms, last_good, departed_ms, departed_seq, seq FROM peers
ORDER BY answered_ms DESC, last_seen_ms DESC LIMIT ?
"""


class PeerCache:
    """One file. Synchronous; used by one thread at a time, but not always the same (an actor that was
    restarted has a new one)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._loaded = False
        self.problem = ""
        """One sentence for `status` while nothing can be kept; empty otherwise."""

    def load(self, book: PeerBook) -> int:
        """Puts everything readable into the book; the number of peers read."""
        try:
            try:
                return self._load(book)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                    raise
                self._move_aside(error)
                return self._load(book)
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
            return 0

    def save(self, book: PeerBook) -> None:
        """Writes what changed since the last call. Raises nothing: see `problem`."""
        rows = {node_id: book.get(node_id) for node_id in book.changed}
        if not rows:
            return
        try:
            if (
                not self._loaded
            ):  # it could not be read then: what it holds of these peers must not be lost now
                self._load(book)
            with self._open() as db:
                for node_id, peer in rows.items():
                    db.execute("DELETE FROM places WHERE node_id = ?", (node_id,))
                    if peer is None:
                        db.execute("DELETE FROM peers WHERE node_id = ?", (node_id,))
                        continue
                    db.execute(
                        "INSERT OR REPLACE INTO peers VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (
                            node_id,
                            peer.last_seen_ms,
                            peer.answered_ms,
                            peer.last_good,
                            peer.departed_ms,
                            peer.departed_seq,
                            peer.seq,
                        ),
                    )
                    db.executemany(
                        "INSERT INTO places VALUES (?, ?, ?)",
                        [(node_id, text, place.advertised_ms) for text, place in peer.places.items()],
                    )
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
        else:
            book.changed -= rows.keys()
            self.problem = ""

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            db = sqlite3.connect(self._path, timeout=2, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.executescript(_SCHEMA)
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _load(self, book: PeerBook) -> int:
        db = self._open()
        found = db.execute(_READ, (PEER_LIMIT,))
        count = 0
        with closing(found):
            for row in found.fetchall():
                if len(row[0]) == 32:
                    peer = Peer(NodeId(row[0]), *row[1:])
                    peer.places = dict(self._places(db, peer.node_id))
                    book.restore(peer)
                    count += 1
        self._loaded = True
        return count

    def _places(self, db: sqlite3.Connection, node_id: NodeId) -> Iterator[tuple[str, Place]]:
        query = (
            "SELECT endpoint, advertised_ms FROM places WHERE node_id = ? ORDER BY advertised_ms DESC LIMIT ?"
        )
        for text, advertised_ms in db.execute(query, (node_id, ADDRESS_LIMIT)).fetchall():
            try:
                parse_place(text)
            except ValueError:
                continue  # written by another version, or edited by hand
            yield text, Place(advertised_ms)

    def _move_aside(self, error: sqlite3.DatabaseError) -> None:
        self.close()
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns() // 1_000_000}")
        self._path.rename(aside)
        for tail in ("-wal", "-shm"):
            self._path.with_name(self._path.name + tail).unlink(missing_ok=True)
        log.warning(
            "%s is damaged (%s): moved to %s, starting with an empty one", self._path, error, aside.name
        )

    def _fail(self, error: Exception) -> None:
        sentence = f"peers are not remembered across restarts: {self._path}: {error}"
        if sentence != self.problem:
            log.warning("%s", sentence)
        self.problem = sentence


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """A missing column (another program's file) is damage; a full disk or a lock is not."""
    return error.sqlite_errorcode == sqlite3.SQLITE_ERROR
