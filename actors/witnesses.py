"""Witnesses, on the I/O loop: what peers say as witnesses goes to the Ledger, and its answers go out."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import HearWitness, LedgerMessage, MeetWitness, SeekWitnesses
from opengateway.ledger.witnessing import Sends
from opengateway.units import NodeId
from opengateway.wire.messages import Settle
from opengateway.wire.witness_messages import WitnessMessage

logger = logging.getLogger(__name__)

SEEK_EVERY = 10.0
"""Seconds between looks at whether the ledger has grown, and who has not cosigned its newest checkpoint.
Where nothing happened they find nothing to say."""
SEEK_SOON = 3.0
"""Seconds after somebody new is there."""
PER_MINUTE = 60
"""Messages of this kind that one peer may send; checking one takes 0.1 ms, and 5 are what it needs."""


class Witnesses:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        *,
        send: Callable[[NodeId, WitnessMessage | Settle], bool],
        peers: Callable[[], list[NodeId]],
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._send = send
        self._peers = peers
        self._sought = 0.0
        self.answered: Callable[[], None] = lambda: None
        """Told after everything that was heard."""
        self._heard: dict[NodeId, list[float]] = {}
        self.counters: Counter[str] = Counter()

    def heard(self, peer: NodeId, message: WitnessMessage) -> None:
        now = time.monotonic()
        recent = [at for at in self._heard.get(peer, []) if at > now - 60.0]
        self._heard[peer] = [*recent, now][-PER_MINUTE:]
        if len(recent) >= PER_MINUTE:
            self.counters["too_many"] += 1
            return
        self.counters[f"heard_{type(message).__name__}"] += 1
        self._ledger.ask(HearWitness(peer, message)).then(lambda r: self._io.call(self._answer, r))

    def _answer(self, reply: Reply[Sends]) -> None:
        try:
            sends = reply.get(timeout=0)
        except Exception as error:
            self.counters["refused"] += 1
            logger.info("a message between witnesses was refused: %s", error)
            return
        for peer, message in sends:
            if self._send(peer, message):
                self.counters[f"sent_{type(message).__name__}"] += 1
        self.answered()

    def tick(self) -> None:
        """Once a second."""
        now = time.monotonic()
        peers = self._peers()
        if peers and now - self._sought >= SEEK_EVERY:
            self._sought = now
            self._ledger.ask(SeekWitnesses(tuple(peers))).then(lambda r: self._io.call(self._answer, r))

    def met(self, peer: NodeId) -> None:
        """A new session. What it saw of us is asked first, before anything is signed for it."""
        self._ledger.ask(MeetWitness(peer)).then(lambda r: self._io.call(self._answer, r))
        self._sought = min(self._sought, time.monotonic() - SEEK_EVERY + SEEK_SOON)

    def lost(self, peer: NodeId) -> None:
        self._heard.pop(peer, None)
