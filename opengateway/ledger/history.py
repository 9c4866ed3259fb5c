"""The ledger as people read it."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from opengateway.ledger.entry import KINDS, read_body
from opengateway.ledger.store import Store
from opengateway.units import NetworkId, NodeId


class Balance(NamedTuple):
    """ucr, integers."""

    balance: int
    """Earned less spent."""
    earned: int
    spent: int
    held: int
    """For our own requests in flight."""
    entries: int


class Line(NamedTuple):
    seq: int
    t_ms: int
    kind: str
    """GENESIS, OPEN, SETTLE, EARN or VOID."""
    peer: NodeId
    rid: bytes
    model: str
    prompt_tokens: int
    completion_tokens: int
    amount: int
    """ucr spent (SETTLE) or earned (EARN)."""
    hold: int
    """ucr held (OPEN) or released (SETTLE, VOID)."""
    countersigned: bool
    """The other side's half is here too."""


def lines(store: Store, net: NetworkId, limit: int) -> list[Line]:
    """The newest committed entries first."""
    found = []
    for row in islice(store.rows(backwards=True), limit):
        entry = read_body(row.body, net)
        found.append(
            Line(
                entry.seq,
                entry.t_ms,
                KINDS[entry.kind],
                entry.peer,
                entry.rid,
                entry.model,
                entry.prompt_tokens,
                entry.completion_tokens,
                entry.amount,
                entry.hold,
                row.peer_signature is not None,
            )
        )
    return found
