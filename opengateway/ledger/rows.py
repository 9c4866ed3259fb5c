"""What the ledger's tables give back: stored entries, and requests of others that are served here."""

from __future__ import annotations

from typing import NamedTuple

from opengateway.ledger.entry import write_wire
from opengateway.units import NodeId

ADMITTED, DELIVERED, SETTLED, RELEASED, UNPAID = range(5)


class Opening(NamedTuple):
    """A requester's OPEN that we admitted. `due`: what we delivered is worth; `paid`: what was settled."""

    peer: NodeId
    rid: bytes
    body: bytes
    signature: bytes
    at_ms: int
    state: int = ADMITTED
    due: int = 0
    paid: int = 0

    @property
    def missing(self) -> int:
        """ucr of an ended request that were delivered and not paid."""
        return max(0, self.due - self.paid)


class Row(NamedTuple):
    """One stored entry with its counterparty's half."""

    seq: int
    leaf: bytes
    body: bytes
    signature: bytes
    peer_body: bytes | None
    peer_signature: bytes | None
    peer: bytes
    rid: bytes


def wire_of(row: Row) -> bytes:
    """What travels, from storage."""
    return write_wire(row.body, row.signature)
