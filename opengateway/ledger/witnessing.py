"""What peers say as witnesses of each other's ledgers, and what follows from it in the book.

No sockets here: every call returns what is to be sent, and to whom, once the book is committed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opengateway.identity import Identity
from opengateway.ledger.checkpoint import Checkpoints
from opengateway.ledger.cosign import Cosigning
from opengateway.ledger.journal import Journal
from opengateway.units import NodeId
from opengateway.wire.witness_messages import AddCheckpoint, Cosigned, NotCosigned, WitnessMessage

WITNESSES = 7
"""Peers asked to cosign: enough for a quorum of 4 or 5 of what others trust, at 0.1 ms each."""

Sends = list[tuple[NodeId, WitnessMessage]]


class Witnessing:
    def __init__(self, journal: Journal, identity: Identity, checkpoints: Checkpoints) -> None:
        self._journal = journal
        self._checkpoints = checkpoints
        self.cosigning = Cosigning(journal, identity, checkpoints)

    def load(self) -> None:
        self.cosigning.load()

    def hear(self, peer: NodeId, message: WitnessMessage) -> Sends:
        """What to answer. Raises `LedgerReadOnly`."""
        match message:
            case AddCheckpoint(body):
                return [(peer, self.cosigning.cosign(body, peer))]
            case Cosigned(line):
                self.cosigning.keep(peer, line)
            case NotCosigned(status, size, _):
                again = self.cosigning.behind(peer, size) if status == 409 else None
                return [(peer, again)] if again else []
        return []

    def seek(self, peers: Collection[NodeId]) -> Sends:
        """Whom of these peers to ask for a cosignature now: those with whom there is most business."""
        self._checkpoints.make()
        asked = [(peer, self.cosigning.request(peer)) for peer in self._chosen(peers)]
        return [(peer, request) for peer, request in asked if request]

    def facts(self) -> dict[str, Any]:
        """For people: how far witnesses have seen the ledger, and how many."""
        return self.cosigning.facts()

    def _chosen(self, peers: Collection[NodeId]) -> list[NodeId]:
        debts = self._journal.debts

        def business(peer: NodeId) -> int:
            pair = debts.pair(peer)
            return pair.served + pair.consumed + pair.moved_in + pair.moved_out

        return sorted(peers, key=lambda peer: (-business(peer), peer))[:WITNESSES]
