"""What peers owe us for answers: their SETTLEs become our EARNs, and go back.

Runs on the I/O loop, between the wire and the book (actors/ledger.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import Earn, LedgerMessage
from actors.together import Together
from opengateway.errors import OpenGatewayError
from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.messages import Earned, Message, Settle

logger = logging.getLogger(__name__)


class Earning:
    def __init__(
        self, io: IoLoop, ledger: Address[LedgerMessage], *, send: Callable[[NodeId, Message], bool]
    ) -> None:
        self._io = io
        self._ledger = ledger
        self._send = send
        self.settles = Together(io, self._earn)

    def heard(self, peer: NodeId, settle: Settle) -> None:
        self.settles.add((peer, settle))

    def _earn(self, heard: tuple[tuple[NodeId, Settle], ...]) -> None:
        by_peer: dict[NodeId, list[Settle]] = {}
        for peer, settle in heard:
            by_peer.setdefault(peer, []).append(settle)
        for peer, settles in by_peer.items():
            self._ask(peer, settles)

    def _ask(self, peer: NodeId, settles: list[Settle]) -> None:
        reply = self._ledger.ask(Earn(peer, tuple(settle.entry for settle in settles)))
        reply.then(lambda r: self._io.call(self._earned, peer, settles, r))

    def _earned(
        self, peer: NodeId, settles: list[Settle], reply: Reply[list[bytes | OpenGatewayError]]
    ) -> None:
        try:
            earned = reply.get(timeout=0)
        except Exception as error:  # sent again with the next session
            logger.warning("the ledger earned nothing of %s: %s", short(peer), error)
            return
        for settle, entry in zip(settles, earned, strict=True):
            if isinstance(entry, OpenGatewayError):
                logger.warning("a SETTLE of %s is refused: %s", short(peer), entry)
            else:
                self._send(peer, Earned(settle.stream, entry))
