"""Changing a node's key, on the disk: whatever is killed when, the home holds the old node or the new one.

    rotation/identity.key    the new key; so far nothing has happened
    rotation/papers          the change of keys, signed: from here on there is no way back   <- the commit
    rotation/ledger.db       the successor's ledger, built anew by every try until `ready` is there too
    old-keys/NAME/           the old key and its ledger move there, and the new ones take their places
    (papers removed)         done

`begin` comes as far as the papers, `finish` does the rest; a node finishes what it finds when it starts.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from opengateway.errors import LedgerMismatch, OpenGatewayError, SetupError
from opengateway.home import Home, write_atomically
from opengateway.identity import Identity, short
from opengateway.keys import write_key
from opengateway.ledger.book import Book
from opengateway.ledger.entry import ROTATE, EntryInvalid, Signed, leaf_of, read_body, read_form, sign
from opengateway.ledger.mark import sync_folder
from opengateway.ledger.rotation import (
    Rotation,
    RotationInvalid,
    authorise,
    excuse,
    read_rotation,
    rotate_entry,
)
from opengateway.ledger.rules import totals_in
from opengateway.ledger.store import Store
from opengateway.ledger.successor_book import build
from opengateway.units import NetworkId

FOLDER: Final = "rotation"
ARCHIVE: Final = "old-keys"
LEDGER: Final = (
    "ledger.db-wal",
    "ledger.db-shm",
    "ledger.db.ballast",
    "ledger.db.mark",
    "ledger.db.readonly",
    "ledger.db.accused",
    "identity.key",
    "ledger.db",
)
"""In the order in which they move: the database last, so that everything of the old one is gone before."""

Now = Callable[[], int]


def begin_planned(home: Home, net: NetworkId, recovery: Identity, now_ms: Now) -> Rotation:
    """Signed by the old key and the recovery key. The node must not run. Raises `SetupError`,
    `OpenGatewayError`; then nothing has happened."""
    identity = Identity.load_or_create(home.identity_key)
    book = Book(home.ledger_db, identity, net, now_ms=now_ms)
    try:
        if book.damage:
            raise SetupError(f"the ledger is read-only: {book.damage}", hint="opengateway ledger repair")
        if book.transfers.promises.pending():
            raise SetupError(
                "a transfer of credit is still on its way", hint="try again in 15 minutes, when it is over"
            )
        for opened in book.open_holds():
            book.void(opened.rid)
        book.commit()
        genesis, head = book.succession.ends()
    finally:
        book.close()
    new = _new_key(home)
    entry = rotate_entry(
        genesis.entry,
        new.node_id,
        seq=head.entry.seq + 1,
        prev=head.leaf,
        t_ms=max(head.entry.t_ms, now_ms()),
        totals=totals_in(head.entry),
    )
    return _sign_papers(home, genesis, sign(identity, entry), recovery, new)


def begin_lost(  # noqa: PLR0917 - what is left of a node
    home: Home,
    net: NetworkId,
    recovery: Identity,
    now_ms: Now,
    genesis_wire: bytes = b"",
    accident: int = 0,
) -> Rotation:
    """Signed by the recovery key alone: the old key is lost, or its ledger must not go on. `genesis_wire`:
    from a backup, where the ledger is lost as well. `accident`: the place from which on the old key signed
    two histories. Raises as `begin_planned`."""
    head, genesis = None, _genesis_of(genesis_wire, net)
    if home.ledger_db.exists():
        with _old_store(home) as store:
            genesis, head = _ends(store, net)
    if genesis is None:
        raise SetupError(
            "neither the ledger nor this backup tells where the ledger began",
            hint="a backup by this version holds it: opengateway key backup, while the node is well",
        )
    last = head or genesis
    new = _new_key(home)
    entry = rotate_entry(
        genesis.entry,
        new.node_id,
        seq=last.entry.seq + 1,
        prev=last.leaf,
        t_ms=max(last.entry.t_ms, now_ms()),
        totals=totals_in(last.entry),
    )
    rotate = Signed(entry, entry.body, leaf_of(entry.body), b"")
    return _sign_papers(home, genesis, rotate, recovery, new, accident)


def _genesis_of(wire: bytes, net: NetworkId) -> Signed | None:
    try:
        return read_form(wire, net) if wire else None
    except EntryInvalid as error:
        raise SetupError(
            f"the ledger of this backup is not of this network: {error}",
            hint="set the network's name and secret back",
        ) from error


def _forget_what_was_not_begun(home: Home) -> None:
    """Of a change without papers nothing has happened, or everything: what is left would mislead the next."""
    shutil.rmtree(home.path / FOLDER, ignore_errors=True)


def _new_key(home: Home) -> Identity:
    home.prepare()
    _forget_what_was_not_begun(home)
    folder = home.path / FOLDER
    folder.mkdir(mode=0o700)
    new = Identity.generate()
    write_key(folder / "identity.key", new)
    return new


def _sign_papers(  # noqa: PLR0917 - everybody who signs
    home: Home, genesis: Signed, rotate: Signed, recovery: Identity, new: Identity, accident: int = 0
) -> Rotation:
    try:
        made = authorise(genesis, rotate, recovery, new, accident)
    except RotationInvalid as error:
        raise _not_the_key(error) from error
    write_atomically(home.path / FOLDER / "papers", made.wire)
    return made


def excuse_before(home: Home, net: NetworkId, recovery: Identity, first: int, now_ms: Now) -> Rotation:
    """The papers by which this key came after another name an accident of that one, from the place `first`
    on. The home must be held. Raises `SetupError`."""
    identity = Identity.load_or_create(home.identity_key)
    book = Book(home.ledger_db, identity, net, now_ms=now_ms)
    try:
        last = read_rotation(book.succession.own[-1], net, known=True)
        excused = excuse(last, recovery, first)
        book.succession.succeed(excused)
        book.commit()
    except RotationInvalid as error:
        raise _not_the_key(error) from error
    finally:
        book.close()
    return excused


def _not_the_key(error: RotationInvalid) -> SetupError:
    return SetupError(str(error), hint="use the backup, or the recovery.key, of this node")


def finish(home: Home, net: NetworkId, now_ms: Now) -> Rotation | None:
    """Completes a change of keys that was begun; None if there is none. The home must be held. Raises
    `SetupError`."""
    folder = home.path / FOLDER
    papers = folder / "papers"
    if not papers.exists():
        _forget_what_was_not_begun(home)
        return None
    try:
        rotation = read_rotation(papers.read_bytes(), net)
    except RotationInvalid as error:
        raise LedgerMismatch(
            f"the change of keys begun in {folder} is not of this network, or damaged: {error}",
            hint="set the network's name and secret back",
        ) from error
    ready = folder / "ready"
    if not ready.exists():
        _end_old(home, net, rotation, now_ms)
        _build(home, net, rotation, now_ms)
        write_atomically(ready, b"")
    _swap(home, rotation)
    papers.unlink()
    sync_folder(folder)
    shutil.rmtree(folder)
    return rotation


def _end_old(home: Home, net: NetworkId, rotation: Rotation, now_ms: Now) -> None:
    """The ROTATE becomes the last entry of the old ledger, if the old key signed it."""
    if not rotation.rotate.signature:
        return
    with _old_store(home) as store:
        _, head = _ends(store, net)
    if head.entry.kind == ROTATE:
        return
    identity = Identity.load_or_create(home.identity_key)
    book = Book(home.ledger_db, identity, net, now_ms=now_ms)
    try:
        book.succession.end_with(rotation)
        book.commit()
    finally:
        book.close()


def _build(home: Home, net: NetworkId, rotation: Rotation, now_ms: Now) -> None:
    folder = home.path / FOLDER
    for name in LEDGER:
        if name != "identity.key":
            (folder / name).unlink(missing_ok=True)
    identity = Identity.load_or_create(folder / "identity.key")
    if home.ledger_db.exists():
        with _old_store(home) as store:
            build(folder / "ledger.db", identity, net, rotation, now_ms, store)
    else:
        build(folder / "ledger.db", identity, net, rotation, now_ms, None)
    for name in ("recovery.key", "ledger.db.ballast"):  # the recovery key is not the successor's to keep
        (folder / name).unlink(missing_ok=True)


def _swap(home: Home, rotation: Rotation) -> None:
    """Old files out, new ones in; every step may be done already."""
    folder, archive = home.path / FOLDER, home.path / ARCHIVE / short(rotation.old)
    archive.mkdir(parents=True, exist_ok=True)
    if not (folder / "ledger.db").exists():
        return
    for name in LEDGER:
        new, place, old = folder / name, home.path / name, archive / name
        goes = name not in {"identity.key", "ledger.db.mark"} or new.exists()
        if goes and place.exists() and not old.exists():
            place.rename(old)
        if new.exists():
            new.rename(place)
        sync_folder(home.path)
    sync_folder(archive)


@contextmanager
def _old_store(home: Home) -> Iterator[Store]:
    try:
        store = Store(home.ledger_db)
    except sqlite3.DatabaseError as error:
        raise SetupError(
            f"the ledger in {home.ledger_db} cannot be read: {error}",
            hint="move it away and use --from BACKUP: what others owe is asked of them",
        ) from error
    with closing(store):
        yield store


def _ends(store: Store, net: NetworkId) -> tuple[Signed, Signed]:
    """The first and the last entry. Raises `SetupError`."""
    try:
        first, last = next(store.rows()), next(store.rows(backwards=True))
        genesis, head = (
            Signed(read_body(row.body, net), row.body, leaf_of(row.body), row.signature)
            for row in (first, last)
        )
        return genesis, head
    except (StopIteration, EntryInvalid, OpenGatewayError) as error:
        raise SetupError(
            f"the old ledger cannot be read: {error}", hint="is the network's name and secret the same?"
        ) from error
