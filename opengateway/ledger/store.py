"""The ledger's tables: what is stored, what waits for the next commit, and what was stored a moment ago.

Rows are collected in memory and written in one transaction, so a request that is refused half-way leaves the
rest of its batch alone.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from opengateway.errors import LedgerReadOnly
from opengateway.ledger.entry import CARRY, FOLLOW, OPEN, Entry, Signed, leaf_of, read_body
from opengateway.ledger.rows import Opening, Row
from opengateway.ledger.rules import Pair
from opengateway.ledger.stored import OPENING, ROW, Stored
from opengateway.ledger.used_rids import UsedRids
from opengateway.units import NodeId

RECENT = 2048
"""Committed rows of each kind that are kept in memory: what is settled now was opened a moment ago."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_HALVES = (
    "WITH new(body, sig, place) AS (VALUES(?,?,?)) UPDATE entries SET (pbody, psig) = "
    "(SELECT body, sig FROM new WHERE place = seq) WHERE seq IN (SELECT place FROM new)"
)

_OPENINGS = (
    "INSERT INTO openings VALUES(?,?,?,?,?,?,?,?) ON CONFLICT(peer, rid) DO UPDATE "
    "SET state = excluded.state, due = excluded.due, paid = excluded.paid"
)
"""In place: a row that is replaced is written anew, and so is its place in every index."""


class Store(Stored):
    """The tables, and the rows that wait for the next commit."""

    def __init__(self, path: Path | str) -> None:
        """Raises `sqlite3.DatabaseError` if the file is damaged beyond reading."""
        super().__init__(path)
        self._used, self._used_openings = UsedRids(self.entry_keys), UsedRids(self.opening_keys)
        self._recent_rows: dict[tuple[int, bytes, bytes], Row] = {}
        self._recent_openings: dict[tuple[bytes, bytes], Opening] = {}
        self._recent_heads: dict[NodeId, Signed] = {}
        self._names: set[tuple[str, bytes]] | None = None
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
        self._cut = -1

    # What waits for the commit.

    def add_entry(self, new: Signed, half: Signed | None = None) -> None:
        entry = new.entry
        other = (half.body, half.signature) if half else (None, None)
        row = Row(entry.seq, new.leaf, new.body, new.signature, other[0], other[1], entry.peer, entry.rid)
        self._fresh[entry.kind, entry.peer, entry.rid] = row
        self._used.add(entry.rid)
        self._entries.append(
            (entry.seq, new.leaf, entry.kind, entry.peer, entry.rid, *row[2:6], entry.kind == OPEN)
        )

    def cut(self, first: int) -> None:
        """Whatever stands from this place on is thrown away before new entries take it."""
        self._cut = first
        self._recent_rows.clear()

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
        key = opening.peer, opening.rid
        if key not in self._openings and key not in self._recent_openings:
            self._used_openings.add(opening.rid)
        self._openings[key] = opening

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
        """Everything that waits is written, or nothing of it; durable after the next `sync`. Raises
        `sqlite3.Error`, and then it still waits."""
        many = self._db.many
        names = self._named() if self._documents else set()
        with self._db.transaction():
            if self._cut >= 0:
                many("DELETE FROM entries WHERE seq >= (VALUES(?))", [(self._cut,)])
            many("INSERT INTO entries VALUES(?,?,?,?,?,?,?,?,?,?)", self._entries)
            many("UPDATE entries SET holds = 0 WHERE seq IN (VALUES(?))", self._ended)
            many(_HALVES, self._halves)
            many("INSERT OR REPLACE INTO pairs VALUES(?,?,?,?,?,?)", list(self._pairs.values()))
            many(_OPENINGS, list(self._openings.values()))
            heads = [(h.entry.author, h.entry.net, h.body, h.signature) for h in self._heads.values()]
            many("INSERT OR REPLACE INTO heads VALUES(?,?,?,?)", heads)
            many("INSERT OR IGNORE INTO proofs VALUES(?,?,?)", self._proofs)
            named = [(*name, value) for name, value in self._documents.items()]
            many("INSERT OR REPLACE INTO documents VALUES(?,?,?)", [d for d in named if d[2]])
            many(
                "DELETE FROM documents WHERE (kind, key) IN (VALUES(?,?))", [d[:2] for d in named if not d[2]]
            )
            if self._pool:
                many("INSERT OR REPLACE INTO pool VALUES(0,?,?)", [self._pool])
        _keep(self._recent_rows, self._fresh)
        _keep(self._recent_openings, self._openings)
        _keep(self._recent_heads, self._heads)
        for name, value in self._documents.items():
            (names.add if value else names.discard)(name)
        self._clear()
        with suppress(
            LedgerReadOnly
        ):  # the batch is written; who asks for a row that is damaged will be told
            self._used.read_on()
            self._used_openings.read_on()

    def sync(self) -> None:
        """What `commit` wrote is durable when this returns. From any thread. Raises `OSError`."""
        self._db.sync()

    # What is there, including what waits.

    def find(self, kind: int, peer: bytes, rid: bytes) -> Row | None:
        key = (kind, peer, rid)
        fresh = self._fresh.get(key) or self._recent_rows.get(key)
        if fresh:
            return fresh
        if not self._used.may_hold(rid):
            return None
        found = self._db.one(f"{ROW} WHERE kind = ? AND peer = ? AND rid = ?", (kind, peer, rid))
        return Row._make(found) if found else None

    def opening(self, peer: bytes, rid: bytes) -> Opening | None:
        key = (peer, rid)
        known = self._openings.get(key) or self._recent_openings.get(key)
        if known:
            return known
        if not self._used_openings.may_hold(rid):
            return None
        found = self._db.one(f"{OPENING} WHERE peer = ? AND rid = ?", (peer, rid))
        return Opening._make(found) if found else None

    def head(self, peer: NodeId) -> Signed | None:
        """The highest entry that this peer showed us."""
        known = self._heads.get(peer) or self._recent_heads.get(peer)
        if known:
            return known
        found = self._db.one("SELECT net, body, sig FROM heads WHERE peer = ?", (peer,))
        if not found:
            return None
        net, body, signature = found
        return Signed(read_body(body, net), body, leaf_of(body), signature)

    def document(self, kind: str, key: bytes) -> bytes:
        """Empty if there is none."""
        waiting = self._documents.get((kind, key))
        if waiting is not None:
            return waiting
        if (kind, key) not in self._named():
            return b""
        found = self._db.one("SELECT value FROM documents WHERE kind = ? AND key = ?", (kind, key))
        return found[0] if found else b""

    def _named(self) -> set[tuple[str, bytes]]:
        """Which documents are stored: most questions are after a voucher, and most requests have none."""
        if self._names is None:
            self._names = set(self._db.all("SELECT kind, key FROM documents", ()))
        return self._names

    def statement(self, peer: bytes) -> Row | None:
        """Our latest entry about a change of keys between this peer and us."""
        waiting = [row for key, row in self._fresh.items() if key[0] in (CARRY, FOLLOW) and key[1] == peer]
        if waiting:
            return waiting[-1]
        found = self._db.one(f"{ROW} WHERE kind IN (7, 8) AND peer = ? ORDER BY seq DESC LIMIT 1", (peer,))
        return Row._make(found) if found else None

    def all_proofs(self) -> list[tuple[NodeId, str, bytes]]:
        return [*self.proofs(), *((NodeId(key), kind, proof) for key, kind, proof in self._proofs)]


def _keep(recent: dict[_Key, _Value], new: dict[_Key, _Value]) -> None:
    for key, value in new.items():
        recent.pop(key, None)
        recent[key] = value
    while len(recent) > RECENT:
        del recent[next(iter(recent))]
