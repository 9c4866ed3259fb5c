"""Changes of keys, on the I/O loop: who is told of them, who is turned away, and what two nodes say of an
account that has moved. No paper is passed on before the Ledger has checked it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import (
    HearAccount,
    KeyNews,
    LedgerMessage,
    MeetSuccessor,
    RegistryMessage,
    Succeeded,
    TakeRotation,
)
from actors.per_minute import PerMinute
from opengateway.errors import LedgerRefused
from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.succession_messages import Account, NotFollowed, Rotated, SuccessionMessage

logger = logging.getLogger(__name__)

PER_MINUTE = 60
"""Messages of this kind from one peer; papers take 0.4 ms to check."""
REMEMBERED = 32
"""Papers told to each new peer: the latest of this run. Who changed its key tells everybody it meets."""
GIVEN_UP = "the key of this node was given up"


class Heirs:
    def __init__(
        self,
        io: IoLoop,
        ledger: Address[LedgerMessage],
        registry: Address[RegistryMessage],
        *,
        given_up: Mapping[NodeId, NodeId],
        send: Callable[[NodeId, Message], bool],
        hang_up: Callable[[NodeId, str], None],
        peers: Callable[[], list[NodeId]],
    ) -> None:
        """`given_up`: every key of which the Ledger knows that another came after it."""
        self._io = io
        self._ledger, self._registry = ledger, registry
        self._given_up = given_up
        self._send, self._hang_up, self._peers = send, hang_up, peers
        self._latest: dict[bytes, None] = {}
        self._limit = PerMinute(PER_MINUTE)
        self.counters: Counter[str] = Counter()

    def met(self, peer: NodeId) -> bool:
        """A new session; False if its key was given up: it is told so, and that is all."""
        for papers in self._latest:
            self._send(peer, Rotated(papers))
        gone = peer in self._given_up
        ask = self._ledger.ask(MeetSuccessor(peer), express=True)
        ask.then(lambda r: self._io.call(self._tell, r, peer if gone else None))
        return not gone

    def turned_away(self, peer: NodeId) -> bool:
        """Whether what this peer says counts for nothing."""
        if not self._given_up or peer not in self._given_up:
            return False
        self.counters["turned_away"] += 1
        return True

    def lost(self, peer: NodeId) -> None:
        self._limit.lost(peer)

    def _tell(self, reply: Reply[KeyNews], gone: NodeId | None) -> None:
        try:
            heard = reply.get(timeout=0)
        except Exception as error:
            logger.warning("the ledger says nothing of changes of keys: %s", error)
        else:
            self.carry_out(heard)
        if gone is not None:
            self._hang_up(gone, GIVEN_UP)

    def carry_out(self, heard: KeyNews) -> None:
        for peer, message in heard.sends:
            if self._send(peer, message):
                self.counters[f"sent_{type(message).__name__}"] += 1

    def heard(self, peer: NodeId, message: SuccessionMessage) -> None:
        if not self._limit.takes(peer):
            self.counters["too_many"] += 1
            return
        self.counters[f"heard_{type(message).__name__}"] += 1
        match message:
            case Rotated(papers):
                if papers not in self._latest:
                    # Express, as the request is that the successor may send next.
                    ask = self._ledger.ask(TakeRotation(peer, papers), express=True)
                    ask.then(lambda r: self._io.call(self._taken, peer, papers, r))
            case Account(entry, evidence):
                ask = self._ledger.ask(HearAccount(peer, entry, evidence), express=True)
                ask.then(lambda r: self._io.call(self._answered, peer, r))
            case NotFollowed(reason, text):
                logger.warning("%s does not follow: %s (%s)", short(peer), text, reason)

    def _taken(self, source: NodeId, papers: bytes, reply: Reply[KeyNews]) -> None:
        heard = self._answered(source, reply)
        if heard is None or heard.rotation is None:
            return
        old, new = heard.rotation
        logger.warning("%s has given up its key; its accounts go over to %s", short(old), short(new))
        self._latest[papers] = None
        while len(self._latest) > REMEMBERED:
            del self._latest[next(iter(self._latest))]
        self._registry.tell(Succeeded(old, new))
        for peer in self._peers():
            if peer != source:
                self._send(peer, Rotated(papers))
            if peer == old:
                self._hang_up(peer, GIVEN_UP)

    def _answered(self, peer: NodeId, reply: Reply[KeyNews]) -> KeyNews | None:
        try:
            heard = reply.get(timeout=0)
        except LedgerRefused as error:
            self.counters[f"refused_{error.reason}"] += 1
            logger.warning("what %s says of a change of keys is refused: %s", short(peer), error)
            self._send(peer, NotFollowed(error.reason, error.message[:512]))
            return None
        except Exception as error:  # told again with the next session
            logger.warning("the ledger could not look at a change of keys: %s", error)
            return None
        self.carry_out(heard)
        return heard
