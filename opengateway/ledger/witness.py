"""What a counterparty showed us of its own chain, held against what it shows us next.

Two entries are enough to prove a lie to anybody: the container is the canonical CBOR array
`["ogw-proof/1", kind, [body, signature], [body, signature]]`, under 1 kB, checked in 0.3 ms.
"""

from __future__ import annotations

import cbor2

from opengateway.ledger.entry import ADJ, EntryInvalid, Signed, leaf_of, read_body, signed_by_author
from opengateway.ledger.rules import RuleBroken, check_legs, totals_after, totals_in
from opengateway.ledger.voucher import UNDER_SETTLE, check_under_settle

FORK, HISTORY, DUPLICATE, LEGS = "F1-fork", "F2-history", "F3-duplicate", "F4-transfer"


class Contradiction(ValueError):
    """Two signed entries that cannot belong to one honest chain."""

    def __init__(self, kind: str, first: Signed, second: Signed) -> None:
        super().__init__(f"{kind}: entries {first.entry.seq} and {second.entry.seq}")
        self.kind = kind
        self.proof = cbor2.dumps(
            ["ogw-proof/1", kind, [first.body, first.signature], [second.body, second.signature]]
        )


def compare(first: Signed, second: Signed) -> None:
    """Raises `Contradiction` if these two entries by one author cannot both be true.

    Everything that an honest chain does is monotonic: neither time nor what was ever given, taken, served or
    consumed (with the same peer) becomes less. Neighbours must follow from each other exactly.
    """
    earlier, later = (first, second) if first.entry.seq <= second.entry.seq else (second, first)
    a, b = earlier.entry, later.entry
    if a.seq == b.seq:
        if first.leaf != second.leaf:
            raise Contradiction(FORK, earlier, later)
        return
    if (a.kind, a.peer, a.rid) == (b.kind, b.peer, b.rid):
        raise Contradiction(DUPLICATE, earlier, later)
    if a.kind == b.kind == ADJ and a.rid == b.rid and (a.amount, a.hold) != (b.hold, b.amount):
        raise Contradiction(LEGS, earlier, later)
    shrinks = b.t_ms < a.t_ms or b.given < a.given or b.taken < a.taken
    if a.peer == b.peer:
        shrinks = (
            shrinks
            or b.served < a.served
            or b.consumed < a.consumed
            or b.moved_in < a.moved_in
            or b.moved_out < a.moved_out
        )
    if b.seq == a.seq + 1:
        try:
            shrinks = shrinks or b.prev != earlier.leaf or totals_after(totals_in(a), b) != totals_in(b)
        except RuleBroken:
            shrinks = True
    if shrinks:
        raise Contradiction(HISTORY, earlier, later)
    if b.seq == a.seq + 1:
        try:
            check_legs(a, b)
        except RuleBroken as error:
            raise Contradiction(LEGS, earlier, later) from error


def check_proof(proof: bytes, net: bytes) -> bytes:
    """The public key that this proof convicts. Raises `ValueError` if it proves nothing."""
    if len(proof) > 4096:
        raise ValueError("too long for a proof")
    try:
        name, kind, *pieces = cbor2.loads(proof)
        if kind == UNDER_SETTLE and name == "ogw-proof/1":
            release, voucher = pieces
            return check_under_settle(release, voucher, net)
        signed = [Signed(read_body(body, net), body, leaf_of(body), signature) for body, signature in pieces]
    except (EntryInvalid, RecursionError, cbor2.CBORError, TypeError, ValueError) as error:
        raise ValueError("not a fault proof") from error
    if name != "ogw-proof/1" or len(signed) != 2 or signed[0].entry.author != signed[1].entry.author:
        raise ValueError("not a fault proof")
    if not all(signed_by_author(one.entry.author, one.leaf, one.signature) for one in signed):
        raise ValueError("a signature in this proof is not by its author")
    try:
        compare(*signed)
    except Contradiction as found:
        if found.kind == kind:
            return signed[0].entry.author
    raise ValueError("these two entries do not contradict each other")
