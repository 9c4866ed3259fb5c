"""What is wrong with a ledger, and what its owner is told before it is mended."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from opengateway.errors import SetupError
from opengateway.home import Home
from opengateway.identity import Identity
from opengateway.ledger.accusations import Accusations, parting
from opengateway.ledger.book import Book
from opengateway.units import NetworkId

GIVEN_UP = ("the key of this node was given up", "its key was given up")
OWED = (
    "whatever the old key signed in either history is owed to who holds it; what others owe stays owed; "
    "service from before gives the new key no line of credit"
)


class Standing(NamedTuple):
    """What a change of keys takes over (ucr)."""

    entries: int = 0
    accounts: int = 0
    owed_to_us: int = 0
    owed_by_us: int = 0


def standing(ledger_db: Path) -> Standing:
    """Read-only, also while a node writes it. All zero if there is nothing that can be read."""
    if not ledger_db.exists():
        return Standing()
    try:
        with closing(sqlite3.connect(f"file:{ledger_db}?mode=ro", uri=True)) as db:
            (entries,) = db.execute("SELECT count(*) FROM entries").fetchone()
            nets = [
                served + moved_in - consumed - moved_out
                for served, consumed, moved_in, moved_out in db.execute(
                    "SELECT served, consumed, moved_in, moved_out FROM pairs "
                    "WHERE served + consumed + moved_in + moved_out > 0"
                )
            ]
    except sqlite3.Error:
        return Standing()
    owed, owe = sum(net for net in nets if net > 0), -sum(net for net in nets if net < 0)
    return Standing(entries, len(nets), owed, owe)


class Diagnosis(NamedTuple):
    why: str = ""
    """Empty: nothing is wrong."""
    first: int = 0
    """From which place on the old key may have signed another history."""
    heals: bool = False
    """Peers may still give back what is missing."""
    excuse: bool = False
    """It is the key before this one that is accused: only its papers are to be signed anew."""

    @property
    def consequence(self) -> str:
        if self.excuse:
            return "the change of keys names the accident, so that this key is not blamed; " + OWED
        return "the node goes on with a new key and all its accounts; " + OWED


def diagnose(home: Home, net: NetworkId, now_ms: Callable[[], int]) -> Diagnosis:
    """The home must be held. Raises `SetupError` where repairing is not the way."""
    if not home.ledger_db.exists():
        raise SetupError(
            "there is no ledger here", hint="if it is lost: opengateway key rotate --lost --from BACKUP"
        )
    accused = Accusations(home.ledger_db)
    book = Book(home.ledger_db, Identity.load_or_create(home.identity_key), net, now_ms=now_ms)
    try:
        damage, heals = book.damage, book.succession.heals
        entries, blamed = book.balance().entries, book.succession.blamed
    finally:
        book.close()
    if damage.startswith(GIVEN_UP):
        raise SetupError(
            damage, hint="go on where the new key is; nothing is to be repaired with the old one"
        )
    if accused.first:
        return Diagnosis(damage or "others hold two histories that this key has signed", accused.first)
    if damage and not heals:
        return Diagnosis(damage, max(1, entries))
    if damage:
        return Diagnosis(damage, max(1, entries), heals=True)
    if blamed:
        first = min(parting(proof, net) for proof in blamed)
        return Diagnosis("the key before this one is accused of two histories", first, excuse=True)
    return Diagnosis()
