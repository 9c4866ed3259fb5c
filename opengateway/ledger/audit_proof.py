"""Fault proofs that convince anybody alone: canonical CBOR ["ogw-proof/1", kind, first, second] or with an
extra piece at the end, where first and second are [body, signature].

    F1-fork          two entries, one place
    F2-history       two entries whose totals, time or links do not follow
    F3-duplicate     two entries, one request
    F4-transfer      two legs of a transfer that do not cancel
    F5-under-settle  a SETTLE or VOID, and a voucher over more
    F6-rewrite       checkpoints (text, signature), heads or entries that are not of one ledger
    F7-witness       two checkpoints (text, seconds (8) || cosignature) by one witness, whose key is the extra
    F8-repudiation   a SETTLE, and a later entry by its author for the same peer that omits it
"""

from __future__ import annotations

from typing import Any, NamedTuple

from opengateway.ledger.audit_rewrite import Piece, check_equivocation, check_rewrite, note_of
from opengateway.ledger.entry import SETTLE, EntryInvalid
from opengateway.ledger.evidence import genuine, read_signed
from opengateway.ledger.head import TAG
from opengateway.ledger.voucher import check_under_settle
from opengateway.ledger.witness import Contradiction, compare
from opengateway.wire import cbor

PROOF_LIMIT = 4096
NAME = "ogw-proof/1"


class Convicted(NamedTuple):
    kind: str
    key: bytes
    text: str


def proof_of(kind: str, first: Piece, second: Piece, *extra: bytes) -> bytes:
    return cbor.encode([NAME, kind, list(first), list(second), *extra])


def convicts(proof: bytes, net: bytes | None) -> Convicted:
    """Whom this proof convicts of what. `net` None: of whatever network. Raises `ValueError`."""
    try:
        value: Any = cbor.decode(proof, limit=PROOF_LIMIT)
    except cbor.NotCanonical as error:
        raise ValueError(f"not a fault proof: {error}") from error
    if type(value) is not list or len(value) not in (4, 5) or value[0] != NAME or type(value[1]) is not str:
        raise ValueError("not a fault proof")
    kind, first, second = value[1], _piece(value[2]), _piece(value[3])
    extra = value[4] if len(value) == 5 else b""
    if type(extra) is not bytes:
        raise ValueError("not a fault proof")
    if kind == "F6-rewrite":
        return Convicted(kind, *check_rewrite(first, second, extra, net))
    if kind == "F7-witness":
        return Convicted(kind, *check_equivocation(first, second, extra, net))
    net = _net_of(first[0]) if net is None else net
    if kind == "F5-under-settle":
        key = check_under_settle(first, second, net)
        return Convicted(kind, key, "settled less than it had vouched for")
    return _entries(kind, first, second, net)


def places_in(proof: bytes) -> list[int]:
    """Places in the ledger of whom it convicts that a proof, which `convicts` read, speaks of; a checkpoint
    speaks of the last that it covers. None for a witness."""
    value: Any = cbor.decode(proof, limit=PROOF_LIMIT)
    if value[1] == "F7-witness":
        return []
    found = [_place(body) for body, _ in (value[2], value[3])]
    return [place for place in found if place is not None]


def _place(body: bytes) -> int | None:
    if body.startswith(b"opengateway/"):
        return note_of(body).size - 1
    fields: Any = cbor.decode(body)
    at = {25: 4, 6: 3}.get(len(fields))  # an entry, a head; but a voucher stands beside its SETTLE
    if at is None or (at == 3 and fields[0] != TAG):
        return None
    return int(fields[at])


def _piece(value: Any) -> Piece:
    if type(value) is not list or len(value) != 2 or any(type(item) is not bytes for item in value):
        raise ValueError("a piece of a proof is [body, signature]")
    return value[0], value[1]


def _net_of(body: bytes) -> bytes:
    try:
        fields: Any = cbor.decode(body)
        net = fields[2]
    except (cbor.NotCanonical, LookupError, TypeError) as error:
        raise ValueError("not an entry") from error
    return net if type(net) is bytes else b""


def _entries(kind: str, first: Piece, second: Piece, net: bytes) -> Convicted:
    try:
        one, two = read_signed(*first, net), read_signed(*second, net)
    except EntryInvalid as error:
        raise ValueError(f"not an entry: {error}") from error
    a, b = one.entry, two.entry
    if a.author != b.author or not genuine(one) or not genuine(two):
        raise ValueError("the two entries are not signed by one author")
    if kind == "F8-repudiation":
        if a.kind != SETTLE or b.seq <= a.seq or b.peer != a.peer or b.consumed >= a.consumed:
            raise ValueError("the later entry does not omit what was settled")
        return Convicted(
            kind, a.author, f"entry {b.seq} omits {a.consumed - b.consumed} ucr that {a.seq} owes"
        )
    try:
        compare(one, two)
    except Contradiction as found:
        if found.kind == kind:
            return Convicted(kind, a.author, str(found))
    raise ValueError(f"these two entries do not prove {kind}")
