"""Proofs of fraud on their way from peer to peer. None is passed on before the Ledger has checked it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import LedgerMessage, TakeProof
from opengateway.units import NodeId
from opengateway.wire.messages import Proof

logger = logging.getLogger(__name__)

PER_MINUTE = 60
"""From one peer; the 32 of a new session fit twice. Checking one takes 0.3 ms."""
REMEMBERED = 32
"""Proofs told to each new peer: the latest of this run. Older ones went round long ago."""


class Rumours:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        *,
        send: Callable[[NodeId, Proof], bool],
        peers: Callable[[], list[NodeId]],
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._send = send
        self._peers = peers
        self._latest: dict[bytes, NodeId | None] = {}
        """Proof -> who told us of it."""
        self._heard: dict[NodeId, list[float]] = {}

    def heard(self, peer: NodeId, proof: bytes) -> None:
        now = time.monotonic()
        recent = [at for at in self._heard.get(peer, []) if at > now - 60.0]
        self._heard[peer] = [*recent, now][-PER_MINUTE:]
        if proof in self._latest or len(recent) >= PER_MINUTE:
            return
        self._remember(proof, peer)
        # If it is new and durable, the Ledger has `flood` called.
        self._ledger.ask(TakeProof(proof)).then(lambda r: self._io.call(self._judged, proof, r))

    def _judged(self, proof: bytes, reply: Reply[None]) -> None:
        try:
            reply.get(timeout=0)
        except Exception as error:
            self._latest.pop(proof, None)
            logger.warning("a proof of fraud that a peer sent was refused: %s", error)

    def flood(self, proof: bytes) -> None:
        source = self._latest.get(proof)
        self._remember(proof, source)
        for peer in self._peers():
            if peer != source:
                self._send(peer, Proof(proof))

    def met(self, peer: NodeId) -> None:
        for proof, source in self._latest.items():
            if source != peer:
                self._send(peer, Proof(proof))

    def lost(self, peer: NodeId) -> None:
        self._heard.pop(peer, None)

    def _remember(self, proof: bytes, source: NodeId | None) -> None:
        self._latest[proof] = source
        while len(self._latest) > REMEMBERED:
            del self._latest[next(iter(self._latest))]
