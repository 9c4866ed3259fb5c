"""What peers say about a key that was given up, and about the accounts that follow it (LEDGER.md, "Changes of
keys")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Rotated:
    """Somebody has changed its key: the papers (ledger/rotation.py), whoever shows them."""

    number: ClassVar[int] = 46
    papers: bytes


@dataclass(frozen=True, slots=True)
class Account:
    """This is my latest entry about our account since one of us changed its key, and what the old key signed
    of what it owes me (ledger/signed_debts.py)."""

    number: ClassVar[int] = 47
    entry: bytes
    evidence: bytes


@dataclass(frozen=True, slots=True)
class NotFollowed:
    """I do not follow the change of keys that you told of, or not the account."""

    number: ClassVar[int] = 48
    reason: str
    message: str


SuccessionMessage: TypeAlias = Rotated | Account | NotFollowed
