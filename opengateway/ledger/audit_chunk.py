"""What is known of a chain before a chunk of it is audited, and what that chunk shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from opengateway.ledger.audit_ahead import Step
from opengateway.ledger.entry import Signed
from opengateway.ledger.evidence import Columns, reread
from opengateway.ledger.rules import Pair


class Context(NamedTuple):
    """What all chunks of a file are held against."""

    path: Path
    net: bytes
    author: bytes
    latest_ms: int
    """Nothing may be later."""
    credit: int | None = None
    """ucr that may be spent and held beyond what was earned."""
    price_cap: int | None = None
    tokens_per_s: int = 20_000
    audited: int = 0
    """Of entries below this position signatures and halves were checked before."""
    sample: int | None = None
    """Signatures are checked of one entry in so many."""
    recovery: bytes = b""
    """SHA-256 of the recovery key, from the GENESIS."""
    vouched: frozenset[bytes] = frozenset()
    """Leaves of OPENs that the trailer holds vouchers for."""


class Found(NamedTuple):
    place: int
    offset: int
    code: str
    detail: str
    proven: bool


def spot_of(offset: int, part: int = 0) -> int:
    """Where an entry (`part` 0) or what the counterparty signed beside it (2, 4) stands, in one number."""
    return offset << 3 | part


def at_spot(context: Context, spot: int) -> Signed:
    return reread(context.path, spot >> 3, spot & 7, context.net)


class Closed(NamedTuple):
    """The account with a key that was given up."""

    place: int
    offset: int
    old: bytes
    new: bytes
    taken: Pair
    """What the FOLLOW moved and is still to be compared."""


@dataclass(slots=True)
class ChunkResult:
    """What one chunk shows, small enough to be sent between processes."""

    first: int
    findings: list[Found] = field(default_factory=list)
    proofs: list[tuple[str, bytes]] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    kinds: Counter[int] = field(default_factory=Counter)
    signatures: int = 0
    leaves: bytearray = field(default_factory=bytearray)
    requests: Columns = field(default_factory=Columns)
    places: Columns = field(default_factory=Columns)
    starts: dict[bytes, tuple[int, int, Pair]] = field(default_factory=dict)
    """Of each peer's first entry here place, offset, and the pair totals that must come before it."""
    pairs: dict[bytes, tuple[Pair, int]] = field(default_factory=dict)
    """Of each peer's last entry here pair totals and offset."""
    opens: dict[tuple[bytes, bytes], tuple[int, int, int]] = field(default_factory=dict)
    """Holds taken and not released here: seq, offset, amount."""
    releases: list[tuple[int, int, tuple[bytes, bytes]]] = field(default_factory=list)
    """SETTLEs and VOIDs of holds taken before: place, offset, peer and rid."""
    tops: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Of each counterparty the spots of its first half here and of its highest."""
    vouched: dict[bytes, list[int]] = field(default_factory=dict)
    """Entries that say how a request with a voucher began and ended, by the leaf of its OPEN."""
    ahead: list[Step] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    first_ms: int = 0
    last: Signed | None = None
