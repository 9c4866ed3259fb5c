"""Whereabouts on their way from peer to peer, on the I/O loop: how much of it is listened to.

What is let through is judged by the Registry (introductions.py). Here a flood is stopped before it fills
that actor's mailbox.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from actors.kernel import Address
from actors.messages import PeerSaid, RegistryMessage
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.peer_messages import PeerMessage, Peers, SeekNode, SeekPeers

PER_MINUTE = 30
"""Of each kind from one peer. A node asks three peers per search and searches in seconds; its own
whereabouts change when its addresses do."""

ANSWER_WITHIN_S = 30.0
"""An answer that comes later is not one: nobody may fill our book unasked."""


@dataclass(slots=True)
class _Heard:
    minute: float = 0.0
    kinds: Counter[str] | None = None
    asked_at: float = float("-inf")
    sought_at: float = float("-inf")
    """The same of a question for more than company."""
    answers: int = 0
    """How many answers are due."""


class Gossip:
    def __init__(
        self, registry: Address[RegistryMessage], *, send: Callable[[NodeId, Message], bool]
    ) -> None:
        self._registry = registry
        self._send = send
        self._heard: dict[NodeId, _Heard] = {}
        self.counters: Counter[str] = Counter()

    def say(self, peer: NodeId, message: Message) -> None:
        if self._send(peer, message) and isinstance(message, SeekPeers | SeekNode):
            self._asked(peer, sought=isinstance(message, SeekNode) or bool(message.model))
            self.counters["asked"] += 1

    def expect(self, peer: NodeId) -> None:
        """It will say whom it spoke of, unasked."""
        self._asked(peer, sought=True)

    def _asked(self, peer: NodeId, *, sought: bool) -> None:
        heard = self._heard.setdefault(peer, _Heard())
        heard.asked_at, heard.answers = time.monotonic(), min(heard.answers + 1, PER_MINUTE)
        if sought:
            heard.sought_at = heard.asked_at

    def heard(self, peer: NodeId, message: PeerMessage) -> None:
        now, heard = time.monotonic(), self._heard.setdefault(peer, _Heard())
        if now - heard.minute >= 60.0 or heard.kinds is None:
            heard.minute, heard.kinds = now, Counter()
        kind = type(message).__name__
        heard.kinds[kind] += 1
        if heard.kinds[kind] > PER_MINUTE:
            self.counters["flood"] += 1
        elif isinstance(message, Peers) and not self._was_due(heard, now):
            self.counters["unasked"] += 1
        else:
            # Not every question is answered, so which one this answers nobody can say.
            sought = isinstance(message, Peers) and now - heard.sought_at <= ANSWER_WITHIN_S
            self._registry.tell(PeerSaid(peer, message, sought))

    def lost(self, peer: NodeId) -> None:
        self._heard.pop(peer, None)

    def _was_due(self, heard: _Heard, now: float) -> bool:
        due = heard.answers > 0 and now - heard.asked_at <= ANSWER_WITHIN_S
        heard.answers = max(0, heard.answers - 1) if due else 0
        return due
