"""Who is let go where there are too many sessions, on the I/O loop (the rule: discovery/company.py).

A node that many know as their entry would otherwise have a session with each of them for ever: with 200 nodes
its pings took 34 kB a second, with a million nodes its port.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from opengateway.discovery.company import LET_GO, PLENTY, USED_S, Guest, too_many
from opengateway.units import NodeId
from opengateway.wire.hub import Wire
from opengateway.wire.messages import Message, Proof, RecordChanged, Stamp
from opengateway.wire.peer_messages import Here, Peers, SeekNode, SeekPeers
from opengateway.wire.relay_messages import DialBack, NotReached, NotReserved, Seen
from opengateway.wire.witness_messages import AddCheckpoint, Cosigned, Entries, GetEntries, Head, NotCosigned

UPKEEP: frozenset[type[Message]] = frozenset(
    {RecordChanged, Stamp, Proof, Here, SeekPeers, Peers, SeekNode, Seen, DialBack, NotReached, NotReserved}
    | {Head, GetEntries, Entries, AddCheckpoint, Cosigned, NotCosigned}
)
"""What everybody says to everybody. All else is a use of the session."""


class Company:
    def __init__(self, wire: Callable[[], Wire]) -> None:
        self._wire = wire
        self._used: dict[NodeId, float] = {}
        self._chance = random.Random()  # noqa: S311 - a lottery, not a secret
        self.counters = {"let_go": 0}

    def heard(self, peer: NodeId, message: Message) -> None:
        if type(message) not in UPKEEP:
            self._used[peer] = time.monotonic()

    def lost(self, peer: NodeId) -> None:
        self._used.pop(peer, None)

    def tick(self) -> None:
        """Once a second."""
        now = time.monotonic()
        wire = self._wire()
        if len(wire.roll.sending) <= PLENTY:
            return
        all_of_them = wire.sessions()
        ours = {one.peer for one in all_of_them if one.dialled or one.relay is not None}
        theirs = {one.peer: now - one.up_since for one in all_of_them if one.peer not in ours}
        relayed = wire.relaying.relay.users() if theirs else set()
        guests = [Guest(peer, up_s) for peer, up_s in theirs.items() if not self._needed(peer, relayed, now)]
        for peer in too_many(guests, len(ours) + len(theirs), self._chance):
            self.counters["let_go"] += 1
            wire.hang_up(peer, LET_GO)

    def _needed(self, peer: NodeId, relayed: set[NodeId], now: float) -> bool:
        return peer in relayed or now - self._used.get(peer, float("-inf")) < USED_S
