"""What survives: the own chain in its database, the high-water mark beside it, and the way back to both.

At start the last entries are checked and held against the mark. A ledger that has lost something opens
read-only: signing on from an older state would be a fork, which costs the node its good name for ever.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from opengateway.errors import DiskFull, LedgerMismatch, LedgerReadOnly, SetupError
from opengateway.home import write_atomically
from opengateway.identity import Identity, short
from opengateway.ledger.chain import Chain, checked
from opengateway.ledger.entry import ENTRY_LIMIT, ROTATE, EntryInvalid, Signed, read_body
from opengateway.ledger.mark import Mark, Position
from opengateway.ledger.rules import RuleBroken
from opengateway.ledger.space import Space
from opengateway.ledger.store import Store
from opengateway.units import NetworkId

TAIL = 1000
"""Entries checked at start, 0.1 s. Older damage is found by the audit and repaired from counterparties."""

_MAKE_ROOM = "make room on the disk of the node's home folder"


class Vault:
    """Chain, database and mark as one thing. `damage` says why it is read-only, and is empty if it is not."""

    def __init__(
        self,
        path: Path,
        identity: Identity,
        net: NetworkId,
        now_ms: Callable[[], int],
        recovery: bytes = b"",
    ) -> None:
        """`recovery`: SHA-256 of the key that a new chain commits to, if it is not kept beside it. Raises
        `HomeBusy`, `LedgerMismatch`, `DiskFull`, `SetupError` (not writable)."""
        self.now_ms = now_ms
        self.chain = Chain(identity, net)
        self.damage = ""
        self.lost = False
        """What is missing is a piece of the end, which peers may have (recovery.py)."""
        self.unchecked = ""
        """Why nothing is signed for the moment: peers have not said yet what they have seen."""
        self._doubt = path.with_name(path.name + ".readonly")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._mark = Mark(path.with_name(path.name + ".mark"))
        except OSError as error:
            kind = DiskFull if error.errno == errno.ENOSPC else SetupError
            raise kind(
                f"the ledger cannot be kept in {path.parent}: {error.strerror}",
                hint="the node's home folder must be a folder that you may write to, with room in it",
            ) from error
        try:
            self.space = Space(path.with_name(path.name + ".ballast"))
            self.store = self._open(path)
            self._mark.fresh = False
            if not self.damage and not self.chain.entries:
                new = self.chain.genesis(recovery or _recovery_of(path), now_ms())
                self.chain.advance(new)
                self.store.add_entry(new)
                self.commit()
        except BaseException:
            self._mark.close()
            raise

    def _open(self, path: Path) -> Store:
        try:
            store = Store(path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskFull("the disk is full: no ledger can be begun", hint=_MAKE_ROOM) from error
            self.damage = f"the ledger's database cannot be opened: {error}"
            return Store(":memory:")
        try:
            self._load(store)
        except LedgerReadOnly as error:
            self.damage = f"the ledger is damaged: {error}"
        except (RuleBroken, EntryInvalid) as error:
            self.damage, self.lost = f"the ledger is damaged: {error}", self.chain.entries > 0
        except LedgerMismatch:
            store.close()
            raise
        if self._doubt.exists():
            self.lost, doubt = self._doubted()
            self.damage = self.damage or doubt
        return store

    def _doubted(self) -> tuple[bool, str]:
        """Whether it can be healed, and why nothing is signed: kept in a file, because the next start would
        not see it."""
        first, _, why = self._doubt.read_text(errors="replace").partition("\n")
        return first == "lost", why.strip() or f"it was found wanting before, see {self._doubt}"

    def doubt(self, why: str, *, lost: bool) -> None:
        """From now on nothing is signed, over restarts too: peers showed what is not in this ledger.
        `lost`: it is only shorter than what they have seen."""
        self.damage, self.lost = why, lost
        write_atomically(self._doubt, f"{'lost' if lost else 'forked'}\n{why}\n".encode())

    @property
    def marked(self) -> int | None:
        """How many entries had been signed, if that is known for sure."""
        mark = self._mark.position
        return None if mark is None or self._doubt.exists() else mark.entries

    def commit_adopted(self) -> None:
        """A commit in spite of the damage: of entries of this chain that peers had kept. Raises
        `LedgerReadOnly`, and then nothing has changed."""
        try:
            self._commit_rows()
            self.store.sync()
        except (sqlite3.DatabaseError, OSError) as error:
            self.restore()
            raise LedgerReadOnly(f"what peers had kept could not be written: {error}") from error

    def healed(self) -> None:
        """Nothing is missing any more."""
        self._mark.write(Position(self.chain.entries, self.chain.leaf))
        self._doubt.unlink(missing_ok=True)
        self.damage, self.lost = "", False

    def _load(self, store: Store) -> None:
        """The chain's end from the database. Raises what the checks raise, `damage` is for lost entries."""
        count = store.count()
        rows = list(store.rows(max(0, count - TAIL)))
        if rows:
            self._require_ours(store)
        for entry in checked(rows, self.chain.author, self.chain.net):
            self.chain.advance(entry)  # one by one: what is read-only shows as far as it is sound
            if entry.entry.kind == ROTATE:
                self.damage = f"its key was given up: {short(entry.entry.peer)} comes after it"
        if len(rows) != min(count, TAIL):
            raise RuleBroken("E_SEQ", "entries are missing from the database")
        mark = self._mark.position
        if mark is None:
            self.damage = "the ledger's high-water mark cannot be read, so lost entries would not be noticed"
            self.lost = True
        elif self._mark.fresh and count:
            self.doubt("the ledger's high-water mark is gone: lost entries would not be noticed", lost=True)
        elif mark.entries > count:
            self.damage = f"the ledger ends at entry {count - 1}, entry {mark.entries - 1} had been signed"
            self.lost = count > 0
        elif mark.entries:
            marked = next(store.rows(mark.entries - 1), None)
            if marked is None or marked.leaf != mark.leaf:
                self.damage = f"entry {mark.entries - 1} of the ledger is not the one that had been signed"

    def _require_ours(self, store: Store) -> None:
        first = next(store.rows(), None)
        if first is None or len(first.body) > ENTRY_LIMIT:
            return
        try:
            genesis = read_body(first.body, self.chain.net)
        except EntryInvalid as error:
            if error.reason != "network":
                raise
            raise LedgerMismatch(
                "the ledger in this home is of another network",
                hint="set the network's name and secret back, or use another --home for the other network",
            ) from error
        if genesis.author != self.chain.author:
            raise LedgerMismatch(
                f"the ledger here is that of {short(genesis.author)}, not of {short(self.chain.author)}",
                hint="put the old identity.key back, or move ledger.db and what is named after it away "
                "to begin as a new node without its credit",
            )

    def require_writable(self) -> None:
        """Raises `LedgerReadOnly`."""
        if self.damage:
            raise LedgerReadOnly(
                f"{self.damage}; nothing is signed, because that could contradict what was signed before",
                hint="keep the folder as it is: peers hold the missing entries to repair it from",
            )

    @property
    def sealed(self) -> bool:
        """Nothing may be signed now."""
        return bool(self.damage or self.unchecked)

    def require_signable(self) -> None:
        """As `require_writable`, and peers have had their say. Raises `LedgerReadOnly`."""
        self.require_writable()
        if self.unchecked:
            raise LedgerReadOnly(self.unchecked, hint="try again in a few seconds", retry_after=1.0)

    def append(self, new: Signed, half: Signed | None = None) -> Signed:
        """Makes `new` the head. It may be sent after the next commit."""
        self.chain.advance(new)
        self.store.add_entry(new, half)
        return new

    def commit(self) -> None:
        """Everything since the last commit is durable when this returns.

        Raises `DiskFull` or `LedgerReadOnly`; then nothing of it happened and `restore` must follow.
        """
        position = self.write()
        if position is not None:
            self.make_durable(position)

    def write(self) -> Position | None:
        """The first half of a commit: everything since the last one is in the database, and may be lost in a
        power cut until `make_durable`. None if there was nothing. Raises like `commit`."""
        if not self.store.waiting:
            return None
        self.require_writable()
        try:
            self._commit_rows()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                self.damage = f"the ledger's database failed: {error}"
                self.require_writable()
            raise DiskFull(
                "the disk is full: the ledger could not be written, and nothing was sent",
                hint=_MAKE_ROOM,
            ) from error
        return Position(self.chain.entries, self.chain.leaf)

    def make_durable(self, position: Position) -> None:
        """The second half, on any thread, in the order of the writes: up to `position` nothing can be lost,
        or not without a trace. Raises `LedgerReadOnly`."""
        try:
            self.store.sync()
            self._mark.write(position)
        except OSError as error:
            self.damage = f"the disk did not keep the ledger: {os.strerror(error.errno or 0)}"
            self.require_writable()

    def _commit_rows(self) -> None:
        try:
            self.store.commit()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL or not self.space.release():
                raise
            self.store.commit()

    def restore(self) -> None:
        """Back to the last commit."""
        self.store.drop()
        self.chain.reset()
        known = self.damage
        try:
            self._load(self.store)
        except (LedgerReadOnly, RuleBroken, EntryInvalid) as error:
            self.damage = f"the ledger is damaged: {error}"
        self.damage = known or self.damage

    def close(self) -> None:
        """Drops what was not committed."""
        self.store.close()
        self._mark.close()


def _recovery_of(path: Path) -> bytes:
    """Made on first use, beside the ledger; to be moved off the machine."""
    return hashlib.sha256(Identity.load_or_create(path.with_name("recovery.key")).node_id).digest()
