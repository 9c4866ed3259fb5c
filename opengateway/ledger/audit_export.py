"""An export straight from a ledger's database, read-only: for an auditor who has the disk and not the node,
and for an owner whose node no longer starts."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, BinaryIO

from opengateway.ledger.ogwl import FORMAT, LENGTH, MAGIC, TRAILER
from opengateway.wire import cbor

T_MS = 6
"""Where an entry has its time."""
EARN = 3
MOVED = (7, 8)


class NotALedger(ValueError):
    """This database holds no ledger, or cannot be read."""


def export_database(database: Path, out: Path) -> int:
    """Writes OGWL1 beside `out` and moves it there when it is whole; the number of entries. What the node
    has committed is all there, also while it runs. Raises `NotALedger`, `OSError`."""
    draft = out.with_name(f"{out.name}.{os.getpid()}.new")
    try:
        if not database.is_file():
            raise NotALedger(f"{database} is not there")
        db = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            db.execute("BEGIN")  # one state of the ledger, however long this takes
            with draft.open("wb") as file:
                count = _write(db, file)
        finally:
            db.close()
        draft.replace(out)
    except sqlite3.Error as error:
        raise NotALedger(f"{database}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def _write(db: sqlite3.Connection, file: BinaryIO) -> int:
    found = db.execute("SELECT count(*), max(seq) FROM entries").fetchone()
    first = db.execute("SELECT body FROM entries ORDER BY seq LIMIT 1").fetchone()
    if not first:
        raise NotALedger("there are no entries")
    genesis: Any = cbor.decode(first[0])
    (newest,) = db.execute("SELECT body FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    created_ms = max(time.time_ns() // 1_000_000, cbor.decode(newest)[T_MS])
    digest = hashlib.sha256()

    def write(data: bytes) -> None:
        file.write(data)
        digest.update(data)

    def record(value: list[Any]) -> None:
        data = cbor.encode(value)
        write(LENGTH.pack(len(data)) + data)

    write(MAGIC)
    record([FORMAT, genesis[2], genesis[3], created_ms, found[0]])
    papers = _papers(db)
    for kind, leaf_peer, rid, *parts in db.execute(
        "SELECT kind, peer, rid, body, sig, pbody, psig FROM entries ORDER BY seq"
    ):
        beside = [part for part in parts[2:] if part is not None]
        if kind == EARN and not beside:
            beside = _vouched(db, leaf_peer, rid)
        if kind in MOVED and rid in papers:
            beside.append(papers[rid])
        record([*parts[:2], *beside])
    proofs = [proof for (proof,) in db.execute("SELECT proof FROM proofs")]
    record([TRAILER, _vouchers(db), _checkpoints(db), proofs])
    file.write(digest.digest())
    return int(found[0])


def _vouched(db: sqlite3.Connection, peer: bytes, rid: bytes) -> list[bytes]:
    """Of an EARN by voucher: the voucher and its OPEN."""
    opening = db.execute("SELECT body, sig FROM openings WHERE peer = ? AND rid = ?", (peer, rid)).fetchone()
    return _voucher(db, opening) if opening else []


def _voucher(db: sqlite3.Connection, opening: tuple[bytes, bytes]) -> list[bytes]:
    leaf = hashlib.sha256(b"\x00" + opening[0]).digest()
    found = db.execute("SELECT value FROM documents WHERE kind = 'voucher' AND key = ?", (leaf,)).fetchone()
    voucher: Any = cbor.decode(found[0]) if found else None
    return [*voucher, *opening] if voucher else []


def _papers(db: sqlite3.Connection) -> dict[bytes, bytes]:
    """Of changes of keys, by the request id of the entries that move accounts by them."""
    found: dict[bytes, bytes] = {}
    for (value,) in db.execute("SELECT value FROM documents WHERE kind = 'rotation'"):
        papers: Any = cbor.decode(value)
        found[hashlib.sha256(b"\x00" + papers[2][0]).digest()[:16]] = value
    return found


def _vouchers(db: sqlite3.Connection) -> list[list[bytes]]:
    mine = db.execute("SELECT value FROM documents WHERE kind = 'vouched' ORDER BY key").fetchall()
    found: list[Any] = [cbor.decode(value) for (value,) in mine]
    serving = db.execute("SELECT body, sig FROM openings WHERE state < 2").fetchall()
    return found + [theirs for opening in serving if (theirs := _voucher(db, opening))]


def _checkpoints(db: sqlite3.Connection) -> list[str]:
    """The newest, and the newest that others cosigned: often the same."""
    found = dict(db.execute("SELECT key, value FROM documents WHERE kind = 'checkpoint'"))
    newest, cosigned = (found.get(key, b"").decode() for key in (b"note", b"cosigned"))
    return [note for note in (cosigned, "" if newest and cosigned.startswith(newest) else newest) if note]
