"""Which relays a node keeps that cannot be dialled. Pure: events in, whom to ask out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from opengateway.discovery.addresses import relay
from opengateway.units import NodeId

KEPT: Final = 2
"""One may go at any time, and its circuits with it; whoever looks for us then finds the other at once."""
ANSWER_S: Final = 5.0
REFUSED_S: Final = {"full": 300.0, "unreachable": 20.0}
"""Until a relay that said no is asked again. `unreachable`: it is being dialled back itself just now."""
OTHERWISE_S: Final = 600.0
TAMPERED_S: Final = 3600.0
COMPLAINTS: Final = 2
"""Peers over whose sessions a relay altered or lost a frame before it is left for an hour. Of one peer
alone nobody can tell whether it was the relay, or the peer who wants us to think so."""


@dataclass(frozen=True, slots=True)
class Candidate:
    peer: NodeId
    endpoint: str
    """Where we reach it, so others from outside our network should."""
    rtt_ms: float | None


@dataclass(slots=True)
class _Held:
    endpoint: str
    renew_at: float
    until: float


@dataclass(slots=True)
class RelayChoice:
    held: dict[NodeId, _Held] = field(default_factory=dict)
    _asked: dict[NodeId, tuple[str, float]] = field(default_factory=dict)
    _shunned: dict[NodeId, float] = field(default_factory=dict)
    _complaints: dict[NodeId, set[NodeId]] = field(default_factory=dict)
    """Relay -> peers; of relays that we have a session with."""

    def plan(self, candidates: Iterable[Candidate], now: float, *, wanted: bool) -> list[NodeId]:
        """Whom to ask for a reservation now, or to renew one. Not wanted: those that are held run out."""
        for peer in [peer for peer, held in self.held.items() if now > held.until]:
            del self.held[peer]
        for peer, (_, at) in list(self._asked.items()):
            if now > at + ANSWER_S:
                self.refused(peer, "silent", now)
        self._shunned = {peer: until for peer, until in self._shunned.items() if until > now}
        if not wanted:
            return []
        renewed = [
            peer for peer, held in self.held.items() if now > held.renew_at and peer not in self._asked
        ]
        for peer in renewed:
            self._asked[peer] = self.held[peer].endpoint, now
        free = [
            one
            for one in candidates
            if one.peer not in self.held and one.peer not in self._asked and one.peer not in self._shunned
        ]
        free.sort(key=lambda one: (one.rtt_ms is None, one.rtt_ms or 0.0, one.peer))
        missing = KEPT - len(self.held.keys() | self._asked.keys())
        chosen = free[: max(0, missing)]
        for one in chosen:
            self._asked[one.peer] = one.endpoint, now
        return [*renewed, *(one.peer for one in chosen)]

    def reserved(self, peer: NodeId, life_s: int, now: float) -> None:
        """It relays to us. Without having been asked its word is nothing."""
        asked = self._asked.pop(peer, None)
        if asked is not None:
            self.held[peer] = _Held(asked[0], now + life_s / 3, now + life_s)

    def refused(self, peer: NodeId, reason: str, now: float) -> None:
        if self._asked.pop(peer, None) is not None:
            self.held.pop(peer, None)
            self._shunned[peer] = now + REFUSED_S.get(reason, OTHERWISE_S)

    def tampered(self, relay: NodeId, peer: NodeId, now: float) -> None:
        """The session with `peer` through `relay` lost a frame, or got a false one."""
        against = self._complaints.setdefault(relay, set())
        against.add(peer)
        if len(against) >= COMPLAINTS:
            del self._complaints[relay]
            self.lost(relay)
            self._shunned[relay] = now + TAMPERED_S

    def lost(self, peer: NodeId) -> None:
        """The session with it is over, and so is the reservation."""
        self.held.pop(peer, None)
        self._asked.pop(peer, None)
        self._complaints.pop(peer, None)

    def named(self) -> tuple[str, ...]:
        """For the record."""
        return tuple(relay(peer, held.endpoint) for peer, held in sorted(self.held.items()))
