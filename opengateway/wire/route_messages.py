"""What nodes say to find a way for credit over others (numbers 60 to 64); LEDGER.md, "Finding a way".

`query` is chosen by who asks, and comes back in the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class FindRoute:
    """You refused me for want of credit. These owe me: is there a way on which you could owe it to me?"""

    number: ClassVar[int] = 60
    query: int
    amount: int
    """ucr that are missing."""
    debtors: bytes
    """Node ids, 32 bytes each."""


@dataclass(frozen=True, slots=True)
class RouteFound:
    """Over these, as far as I can see; empty: none."""

    number: ClassVar[int] = 61
    query: int
    routes: bytes
    """72 bytes each: a debtor of yours; a creditor of mine that owes it, or zeros: I owe it myself; ucr."""


@dataclass(frozen=True, slots=True)
class AskOwed:
    """I owe you. Which of these do you owe?"""

    number: ClassVar[int] = 62
    query: int
    amount: int
    """ucr; more is not to be told."""
    creditors: bytes
    """Node ids, 32 bytes each."""


@dataclass(frozen=True, slots=True)
class Owed:
    """This one; empty: none of them."""

    number: ClassVar[int] = 63
    query: int
    creditor: bytes
    amount: int


RouteMessage: TypeAlias = FindRoute | RouteFound | AskOwed | Owed
