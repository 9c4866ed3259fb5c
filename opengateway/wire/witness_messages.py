"""What nodes say to each other as witnesses of each other's ledgers: a part of messages.py.

The bodies of the first three are those of c2sp.org/tlog-witness, so that a witness of that kind could stand
behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """Please cosign my newest checkpoint: "old SIZE", the consistency proof from what you cosigned last (one
    base64 line a hash), an empty line, and the checkpoint."""

    number: ClassVar[int] = 50
    body: str


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The signature line that goes under it."""

    number: ClassVar[int] = 51
    line: str


@dataclass(frozen=True, slots=True)
class NotCosigned:
    """I shall not, or not so. `status` is what tlog-witness answers with over HTTP: 409 and the `size` that I
    cosigned last, if the proof began elsewhere."""

    number: ClassVar[int] = 52
    status: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Head:
    """This is the newest tree of somebody's ledger: a checkpoint signed by its author, with cosignatures
    where the sender has some. May be passed on."""

    number: ClassVar[int] = 53
    note: str
    old: int
    """Size of the tree that its author announced before; 0: none."""
    path: bytes
    """Hashes of the proof that leads from there to here."""


@dataclass(frozen=True, slots=True)
class GetEntries:
    """My ledger as I have it ends before `first`. What did you see of it from there on?"""

    number: ClassVar[int] = 54
    first: int


@dataclass(frozen=True, slots=True)
class Entries:
    """That is what I hold of your ledger. CBOR arrays (ledger/recovery.py)."""

    number: ClassVar[int] = 55
    first: int
    """As asked."""
    highest: bytes
    """The statement signed by you that reaches furthest, wherever that is; empty: I hold none."""
    records: bytes
    """Entries from `first` on, each with my half beside it, in the order of your ledger."""
    vouchers: bytes
    """Your last ones for requests that you have not settled with me."""
    more: bool
    """Ask again from behind the last record."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose cosignatures I want to see under your ledger before I serve you on trust."""

    number: ClassVar[int] = 56
    anchors: bytes
    """Their ids, 32 bytes each."""
    known: int
    """One more than the place of the highest entry of yours that I have seen: open this one, too. 0: none."""


@dataclass(frozen=True, slots=True)
class Present:
    """My ledger, cosigned by those, with entries opened (ledger/opened.py)."""

    number: ClassVar[int] = 57
    note: str
    openings: bytes


WitnessMessage: TypeAlias = (
    AddCheckpoint | Cosigned | NotCosigned | Head | GetEntries | Entries | Wanted | Present
)
