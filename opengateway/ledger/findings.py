"""What an audit can find, how bad it is, and how it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from opengateway.ledger.rules import Pair, Totals

VALID, WARNINGS, TAMPERED, PROVEN, TRUNCATED, UNREADABLE = range(6)
USAGE, INTERNAL = 64, 70
VERDICTS = {
    VALID: "VALID",
    WARNINGS: "VALID, WITH WARNINGS",
    TAMPERED: "TAMPERED OR INCONSISTENT",
    PROVEN: "FRAUD PROVEN",
    TRUNCATED: "INCOMPLETE",
    UNREADABLE: "UNREADABLE",
}
_RANK = {VALID: 0, WARNINGS: 1, TRUNCATED: 2, TAMPERED: 3, UNREADABLE: 4, PROVEN: 5}

CODES: dict[str, tuple[str, int]] = {
    "E_FORMAT": ("encoding", TAMPERED),
    "E_VERSION": ("encoding", UNREADABLE),
    "E_KIND": ("encoding", UNREADABLE),
    "E_NETWORK": ("encoding", TAMPERED),
    "E_WRONG_KEY": ("signatures", TAMPERED),
    "E_SIG": ("signatures", TAMPERED),
    "E_HEADLESS": ("chain", TAMPERED),
    "E_GENESIS": ("chain", TAMPERED),
    "E_SEQ": ("chain", TAMPERED),
    "E_PREV": ("chain", TAMPERED),
    "E_TIME": ("time", TAMPERED),
    "E_FUTURE": ("time", TAMPERED),
    "E_TOTALS": ("totals", TAMPERED),
    "E_PAIR": ("totals", TAMPERED),
    "E_LEGS": ("transfers", TAMPERED),
    "E_LIMIT": ("credit limit", TAMPERED),
    "E_SELF": ("terms", TAMPERED),
    "E_PRICE": ("terms", TAMPERED),
    "E_AMOUNT": ("terms", TAMPERED),
    "E_HOLD": ("holds", TAMPERED),
    "E_NOOPEN": ("holds", TAMPERED),
    "E_LINK": ("holds", TAMPERED),
    "E_DUPRID": ("request ids", TAMPERED),
    "E_ONESIDED": ("halves", TAMPERED),
    "E_PEERFORMAT": ("halves", TAMPERED),
    "E_PEERSIG": ("halves", TAMPERED),
    "E_PEERKEY": ("halves", TAMPERED),
    "E_PEERKIND": ("halves", TAMPERED),
    "E_PEERLINK": ("halves", TAMPERED),
    "E_PEERTERMS": ("halves", TAMPERED),
    "E_MISMATCH": ("halves", TAMPERED),
    "E_PAIRVIEW": ("halves", TAMPERED),
    "E_PAIRTIME": ("halves", TAMPERED),
    "E_PEERFORK": ("counterparties", PROVEN),
    "E_PEERHISTORY": ("counterparties", PROVEN),
    "E_FORK": ("evidence", PROVEN),
    "E_EVIDENCE": ("evidence", TAMPERED),
    "E_VOUCHER": ("vouchers", TAMPERED),
    "E_UNDERSETTLE": ("vouchers", PROVEN),
    "E_CHECKPOINT": ("checkpoints", TAMPERED),
    "E_ROOT": ("checkpoints", TAMPERED),
    "E_BEHIND": ("checkpoints", TRUNCATED),
    "E_CONFLICT": ("checkpoints", PROVEN),
    "E_COSIG": ("checkpoints", TAMPERED),
    "E_QUORUM": ("checkpoints", TAMPERED),
    "E_EQUIVOCATION": ("checkpoints", PROVEN),
    "E_ROTATE": ("rotation", TAMPERED),
    "E_CERTIFICATE": ("certificate", TAMPERED),
    "E_CERTIFIED": ("certificate", TAMPERED),
    "E_ROLLBACK": ("certificate", TRUNCATED),
    "E_PROOF": ("file", TAMPERED),
    "E_DIGEST": ("file", TAMPERED),
    "E_TORN": ("file", TRUNCATED),
    "E_TRUNCATED": ("evidence", TRUNCATED),
    "E_UNSUPPORTED": ("file", UNREADABLE),
    "E_UNREADABLE": ("file", UNREADABLE),
    "E_DISAGREE": ("pair", TAMPERED),
    "W_UNSETTLED": ("holds", WARNINGS),
    "W_NOCOUNTER": ("halves", WARNINGS),
    "W_PAIRTIME": ("halves", WARNINGS),
    "W_RATE": ("time", WARNINGS),
    "W_INFLIGHT": ("pair", WARNINGS),
}
"""Code -> the check that finds it, and the exit code that it means."""

_FOLLOWS = frozenset(
    {"E_SEQ", "E_PREV", "E_TOTALS", "E_PAIR", "E_LINK", "E_PEERLINK", "E_NOOPEN", "E_PAIRVIEW", "E_MISMATCH"}
)
"""What one change drags along behind it: a single rewritten entry once broke 1,582 links held by others."""


class Finding(NamedTuple):
    code: str
    seq: int
    """Position of the entry in the file; -1 for the file as a whole."""
    offset: int
    """Byte where its record starts; -1 for the file as a whole."""
    detail: str
    severity: int
    """The exit code that it means alone."""
    cascade_of: int | None
    """`seq` of the finding that this one most likely follows from."""


@dataclass(slots=True)
class Subject:
    """Whose chain it is. Bytes are hex; times are milliseconds since 1970 UTC."""

    author: bytes = b""
    net: bytes = b""
    entries: int = 0
    position: int = -1
    """`seq` of the last entry."""
    created_ms: int = 0
    first_ms: int = 0
    last_ms: int = 0
    head: bytes = b""
    root: bytes = b""
    frontier: list[bytes] = field(default_factory=list)
    """Roots of the tree's full subtrees, largest first."""


@dataclass(slots=True)
class Report:
    """Everything that one audit found."""

    path: str
    subject: Subject = field(default_factory=Subject)
    totals: Totals = field(default_factory=Totals)
    pairs: dict[bytes, Pair] = field(default_factory=dict)
    ahead: Counter[bytes] = field(default_factory=Counter)
    """ucr earned from each peer by its voucher alone: no SETTLE has come."""
    kinds: Counter[int] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    """How often each check ran."""
    bad: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    proofs: list[tuple[str, bytes]] = field(default_factory=list)
    """Kind and bytes of fault proofs that were extracted or found."""
    checkpoints: list[tuple[int, bytes, list[bytes], bool | None]] = field(default_factory=list)
    """Size, root, who cosigned, and whether that is the quorum of the policy (None: it wants none)."""
    enclosed: list[bytes] = field(default_factory=list)
    """Keys that proofs enclosed by the author convict: others, whom it met."""
    not_checked: list[str] = field(default_factory=list)
    signatures: int = 0
    seconds: float = 0.0
    _root: int | None = None

    def add(self, code: str, seq: int, offset: int, detail: str, *, proven: bool = False) -> None:
        """`proven`: a proof that convinces third parties was extracted, so that is what it means."""
        check, severity = CODES[code]
        cascade = self._root if code in _FOLLOWS and self._root != seq else None
        if self._root is None and code[0] == "E" and seq >= 0:
            self._root = seq
        self.bad[check] += 1
        self.findings.append(Finding(code, seq, offset, detail, PROVEN if proven else severity, cascade))

    @property
    def exit(self) -> int:
        return worst(finding.severity for finding in self.findings)


def worst(codes: Iterable[int]) -> int:
    """3 > 5 > 2 > 4 > 1 > 0: a proof stays a proof, but what follows from an entry that this version cannot
    read is no sign of tampering."""
    return max(codes, key=_RANK.__getitem__, default=VALID)
