"""What nodes say of each other's ledgers, on the I/O loop: which part of it concerns whom here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.announcing import Announcing
from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.messages import LedgerMessage, LedgerShown
from actors.showing import Showing
from actors.witnesses import Witnesses
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.witness_messages import Head, Present, Wanted, WitnessMessage


class Testimony:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        *,
        send: Callable[[NodeId, Message], bool],
        peers: Callable[[], list[NodeId]],
        expect: Callable[[NodeId], None],
    ) -> None:
        """`expect`: this peer will introduce those whom it just named."""
        self._ledger = ledger
        self._expect = expect
        self.witnesses = Witnesses(io, ledger, send=send, peers=peers)
        self.announcing = Announcing(io, ledger, send=send, peers=peers)
        self.showing = Showing(io, ledger, send=send, peers=peers)
        self.witnesses.answered = self.showing.came

    def heard(self, peer: NodeId, message: WitnessMessage) -> None:
        match message:
            case Head():
                self.announcing.heard(peer, message)
            case Wanted():
                self.showing.heard(peer, message)
                self._expect(peer)
            case Present():  # express, as the request that it is for is
                self._ledger.tell(LedgerShown(peer, message), express=True)
                self.announcing.heard(peer, Head(message.note, 0, b""))
            case _:
                self.witnesses.heard(peer, message)

    def met(self, peer: NodeId) -> None:
        self.witnesses.met(peer)

    def tick(self) -> None:
        """Once a second."""
        self.witnesses.tick()
        self.announcing.tick()

    def lost(self, peer: NodeId) -> None:
        self.witnesses.lost(peer)
        self.announcing.lost(peer)
        self.showing.lost(peer)

    def counters(self) -> dict[str, int]:
        parts: dict[str, Counter[str]] = {
            "witness": self.witnesses.counters,
            "head": self.announcing.counters,
            "ledger": self.showing.counters,
        }
        return {f"{part}_{name}": n for part, found in parts.items() for name, n in found.items()}
