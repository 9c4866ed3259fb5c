"""What stands in the ledger's tables, without what waits for the next commit (store.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opengateway.ledger.database import Database
from opengateway.ledger.entry import Signed, leaf_of, read_body
from opengateway.ledger.rows import Opening, Row
from opengateway.ledger.rules import Pair
from opengateway.units import NodeId

ROW = "SELECT seq, leaf, body, sig, pbody, psig, peer, rid FROM entries"
OPENING = "SELECT peer, rid, body, sig, at_ms, state, due, paid FROM openings"
_HERE = "peer NOT IN (SELECT key FROM documents WHERE kind = 'rotation')"
"""Whose key was given up is settled with by FOLLOW and CARRY."""
_MOVED = "SELECT DISTINCT peer FROM entries WHERE kind IN (7, 8)"

Key = tuple[Any, ...]
"""What names a row, its request id last."""


class Stored:
    """The committed rows. Every question raises `LedgerReadOnly` if the file cannot be read."""

    def __init__(self, path: Path | str) -> None:
        """Raises `sqlite3.DatabaseError` if the file is damaged beyond reading."""
        self._db = Database(path)

    def last_half(self, kind: int, peer: bytes) -> Row | None:
        """Our last entry of this kind beside which stands this peer's own."""
        where = "WHERE kind = ? AND peer = ? AND psig IS NOT NULL ORDER BY seq DESC LIMIT 1"
        found = self._db.one(f"{ROW} {where}", (kind, peer))
        return Row._make(found) if found else None

    def moved_with(self) -> list[NodeId]:
        """With whom there is an entry about a change of keys."""
        return [NodeId(peer) for (peer,) in self._db.all(_MOVED, ())]

    def entry_keys(self, after: Key | None, limit: int) -> list[Key]:
        """(kind, peer, rid), in this order."""
        return self._keys("kind, peer, rid FROM entries", "(kind, peer, rid) > (?,?,?)", after, limit)

    def opening_keys(self, after: Key | None, limit: int) -> list[Key]:
        """(peer, rid), in this order."""
        return self._keys("peer, rid FROM openings", "(peer, rid) > (?,?)", after, limit)

    def _keys(self, what: str, follows: str, after: Key | None, limit: int) -> list[Key]:
        where, order = (f" WHERE {follows}" if after else ""), what.partition(" FROM")[0]
        values = (*(after or ()), limit)
        return list(self._db.all(f"SELECT {what}{where} ORDER BY {order} LIMIT ?", values))

    def documents(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        yield from self._db.all("SELECT key, value FROM documents WHERE kind = ? ORDER BY key", (kind,))

    def count(self) -> int:
        last = self._db.one("SELECT max(seq) FROM entries", ())
        return 0 if last is None or last[0] is None else int(last[0]) + 1

    def rows(self, first: int = 0, *, backwards: bool = False) -> Iterator[Row]:
        order = "DESC" if backwards else "ASC"
        for found in self._db.all(f"{ROW} WHERE seq >= ? ORDER BY seq {order}", (first,)):
            yield Row._make(found)

    def rows_with(self, peer: NodeId, first: int) -> Iterator[Row]:
        """With this peer, the newest first, down to `first`."""
        where = f"{ROW} WHERE seq >= ? AND peer = ? ORDER BY seq DESC"
        for found in self._db.all(where, (first, peer)):
            yield Row._make(found)

    def openings_of(self, peer: NodeId, limit: int) -> Iterator[Opening]:
        """The newest first."""
        where = f"{OPENING} WHERE peer = ? ORDER BY at_ms DESC LIMIT ?"
        for found in self._db.all(where, (peer, limit)):
            yield Opening._make(found)

    def pairs(self) -> Iterator[tuple[NodeId, Pair, int]]:
        for peer, served, consumed, moved_in, moved_out, unpaid in self._db.all("SELECT * FROM pairs", ()):
            yield NodeId(peer), Pair(served, consumed, moved_in, moved_out), unpaid

    def serving(self) -> Iterator[Opening]:
        for found in self._db.all(f"{OPENING} WHERE state < 2", ()):
            yield Opening._make(found)

    def unanswered(self, limit: int) -> Iterator[Row]:
        """SETTLEs without the worker's EARN, oldest first."""
        for found in self._db.all(
            f"{ROW} WHERE kind = 2 AND psig IS NULL AND {_HERE} ORDER BY seq LIMIT ?", (limit,)
        ):
            yield Row._make(found)

    def holds(self) -> Iterator[Row]:
        """OPENs without SETTLE or VOID."""
        for found in self._db.all(f"{ROW} WHERE holds = 1", ()):
            yield Row._make(found)

    def proofs(self) -> Iterator[tuple[NodeId, str, bytes]]:
        for peer, kind, proof in self._db.all("SELECT peer, kind, proof FROM proofs", ()):
            yield NodeId(peer), kind, proof

    def heads(self) -> Iterator[Signed]:
        for net, body, signature in self._db.all("SELECT net, body, sig FROM heads", ()):
            yield Signed(read_body(body, net), body, leaf_of(body), signature)

    def pool(self) -> tuple[int, int]:
        found = self._db.one("SELECT forgiven, at_ms FROM pool", ())
        return (found[0], found[1]) if found else (0, 0)

    def limit_pages(self, pages: int) -> None:
        """The database may not grow beyond this: how the tests fill a disk."""
        self._db.limit_pages(pages)

    def close(self) -> None:
        self._db.close()
