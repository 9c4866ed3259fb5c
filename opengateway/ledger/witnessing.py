"""What peers say as witnesses of each other's ledgers, and what follows from it in the book.

No sockets here: every call returns what is to be sent, and to whom, once the book is committed.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from opengateway.errors import LedgerRefused
from opengateway.identity import Identity, short
from opengateway.ledger.audit_notes import origin
from opengateway.ledger.checkpoint import Checkpoints
from opengateway.ledger.cosign import Cosigning
from opengateway.ledger.heads import Heads, read_tree
from opengateway.ledger.journal import Journal
from opengateway.ledger.keeping import Keeping
from opengateway.ledger.recovery import Recovery
from opengateway.ledger.showing import Showing
from opengateway.ledger.standing import Standing
from opengateway.units import NodeId
from opengateway.wire.messages import Settle
from opengateway.wire.witness_messages import (
    AddCheckpoint,
    Cosigned,
    Entries,
    GetEntries,
    Head,
    NotCosigned,
    WitnessMessage,
)

WITNESSES = 7
"""Peers asked to cosign: enough for a quorum of 4 or 5 of what others trust, at 0.1 ms each."""

Sends = list[tuple[NodeId, WitnessMessage | Settle]]


@dataclass(slots=True)
class Heard:
    """What came of heads that peers told of."""

    news: list[tuple[NodeId, Head]] = field(default_factory=list)
    """Who told it, and what to pass on."""
    refused: Counter[str] = field(default_factory=Counter)


class Witnessing:
    def __init__(
        self, journal: Journal, identity: Identity, checkpoints: Checkpoints, reload: Callable[[], None]
    ) -> None:
        """`reload` reads the book again from the disk."""
        self._journal = journal
        self._checkpoints = checkpoints
        self.heads = Heads(journal, checkpoints)
        self.cosigning = Cosigning(journal, identity, checkpoints, self.heads)
        self.showing = Showing(journal, checkpoints, self.cosigning)
        self.standing = Standing(journal, self.heads)
        self.recovery = Recovery(journal, checkpoints, reload)
        self._keeping = Keeping(journal, self.heads)

    def load(self) -> None:
        self.cosigning.load()

    def hear(self, peer: NodeId, message: WitnessMessage) -> Sends:
        """What to answer. Raises `LedgerReadOnly`."""
        match message:
            case AddCheckpoint(body):
                return [(peer, self.cosigning.cosign(body, peer))]
            case GetEntries(first):
                return [(peer, self._keeping.answer(peer, first))]
            case Entries():
                again = self.recovery.hear(peer, message)
                return [(peer, again)] if again else []
            case Cosigned(line):
                self.cosigning.keep(peer, line)
                self.showing.keep(peer, line)
            case NotCosigned(409, size, _) if size > self._journal.vault.chain.entries:
                return [(peer, self.recovery.question())]  # it has seen more of us than there is
            case NotCosigned(409, size, _):
                request = self.cosigning.behind(peer, size)
                return [(peer, request)] if request else []
        return []

    def met(self, peer: NodeId) -> Sends:
        """A new session: what did it see of us? And this is what there is."""
        head = self.heads.greet()
        return [(peer, self.recovery.question()), *([(peer, head)] if head else [])]

    def seek(self, peers: Collection[NodeId]) -> Sends:
        """Whom of these peers to ask for a cosignature now: those with whom there is most business."""
        self._checkpoints.make()
        asked = [(peer, self.cosigning.request(peer)) for peer in self._chosen(peers)]
        return [(peer, request) for peer, request in asked if request]

    def announce(self, peers: Collection[NodeId]) -> Sends:
        """Our ledger has grown: everybody may know how far. These are all that are here."""
        self.standing.connected = peers
        head = self.heads.announce()
        return [(peer, head) for peer in peers] if head else []

    def heard(self, heads: Collection[tuple[NodeId, Head]]) -> Heard:
        """Heads that peers announced or passed on."""
        found = Heard()
        for peer, head in heads:
            try:
                if news := self._news(head):
                    found.news.append((peer, news))
            except LedgerRefused as error:
                found.refused[error.reason] += 1
        return found

    def _news(self, head: Head) -> Head | None:
        net = self._journal.net
        if head.note.startswith(f"{origin(net, self._journal.vault.chain.author)}\n"):
            with contextlib.suppress(ValueError):  # ours: is it further than we know?
                self.recovery.shown(read_tree(head.note, net))
            return None
        return self.heads.hear(head)

    def facts(self) -> dict[str, Any]:
        """For people: how far witnesses have seen the ledger, and how many."""
        vault = self._journal.vault
        waits_for = self.recovery.missing() if vault.lost and vault.marked is None else set()
        return {
            **self.cosigning.facts(),
            "read_only": vault.damage,
            "waits_for": [short(peer) for peer in sorted(waits_for - {vault.chain.author})],
        }

    def _chosen(self, peers: Collection[NodeId]) -> list[NodeId]:
        debts = self._journal.debts

        def business(peer: NodeId) -> int:
            pair = debts.pair(peer)
            return pair.served + pair.consumed + pair.moved_in + pair.moved_out

        return sorted(peers, key=lambda peer: (-business(peer), peer))[:WITNESSES]
