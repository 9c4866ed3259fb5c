"""Who is connected now, and how each looks to the Scheduler. How they look to people: peer_table.py."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.messages import PeerUp, Trip
from opengateway.discovery.addresses import parse_endpoint, parse_relay
from opengateway.discovery.claims import NOBODY, Claim, Judged, judge
from opengateway.discovery.record import NodeRecord
from opengateway.identity import base32, short
from opengateway.ledger.admission import apart
from opengateway.models.machine import Machine
from opengateway.routing.placement import offered
from opengateway.routing.rings import private, ring_of
from opengateway.routing.views import PeerView, Price, ServedModel
from opengateway.units import NodeId

RTT_CHANGE = 0.3
"""Share by which a round trip must change before the Scheduler is told: it plans in whole milliseconds."""
QUIET_AFTER = 3.0
"""Seconds: pings go out every 2 s from either end, so whoever is silent for longer is slow, or dead."""
DIAL_ERRORS = 64


@dataclass(slots=True)
class Session:
    peer: NodeId
    record: NodeRecord
    endpoint: str | None
    dialled: bool
    up_since: float
    last_heard: float
    ahead_ms: int = 0
    """How far its clock is ahead of ours."""
    rtt_ms: float | None = None
    best_ms: float | None = None
    """The shortest round trip: it is no farther than light gets in half of it."""
    told: tuple[Any, ...] = ()
    """Of what the Scheduler was told last, that which changes by itself."""
    host: str = ""
    """The address that it dialled us from."""
    whereabouts: bytes = b""
    """Its own signed word of where it is, to be passed on; empty until it said so."""
    relay: NodeId | None = None
    """Through whom; None if direct."""
    near: bool = field(init=False)
    """Its address shows that it is on our own network."""

    def __post_init__(self) -> None:
        # As far as we see it. What its record says of its addresses is its own word, and would let anybody be
        # our neighbour; it counts only where nothing is seen.
        hosts = [self.host] if self.host else []
        for place in () if hosts else (self.endpoint,) if self.endpoint else self.record.endpoints:
            with contextlib.suppress(ValueError):
                hosts.append(str(parse_endpoint(place, scoped=True)[0]))
        self.near = private(hosts)

    def introduce(self) -> dict[str, Any]:
        """For whoever asked to be connected."""
        return {
            "id": base32(self.peer),
            "short": short(self.peer),
            "name": self.record.name,
            "endpoint": self.endpoint or "",
            "rtt_ms": self.rtt_ms,
        }


class _Bounded(dict[str, str]):
    """The newest errors only: endpoints come from strangers."""

    def __setitem__(self, key: str, value: str) -> None:
        super().__setitem__(key, value)
        while len(self) > DIAL_ERRORS:
            del self[next(iter(self))]


@dataclass(slots=True)
class Roster:
    own_region: str
    private: bool
    """Our network has a secret."""
    sessions: dict[NodeId, Session] = field(default_factory=dict)
    on_link: set[NodeId] = field(default_factory=set)
    """Seen by multicast on a link of ours."""
    reasons: dict[NodeId, str] = field(default_factory=dict)
    dial_errors: dict[str, str] = field(default_factory=_Bounded)
    machine: Machine | None = None
    judged: Judged = NOBODY
    """Who is not where it says it is."""
    places_disproved: int = 0
    """How often that was found."""

    def up(self, up: PeerUp, record: NodeRecord) -> None:
        now = time.monotonic()
        self.sessions[up.peer] = Session(
            up.peer,
            record,
            up.endpoint,
            up.dialled,
            now,
            now,
            ahead_ms=up.ahead_ms,
            host=up.host,
            relay=up.relay,
        )
        self.reasons.pop(up.peer, None)
        if up.endpoint:
            self.dial_errors.pop(up.endpoint, None)

    def down(self, peer: NodeId, reason: str) -> Session | None:
        session = self.sessions.pop(peer, None)
        if session is not None:
            self.reasons[peer] = reason
            while len(self.reasons) > 1000:
                del self.reasons[next(iter(self.reasons))]
        return session

    def round_trips(self, seen: tuple[Trip, ...], relays: Mapping[NodeId, NodeId]) -> bool:
        """Take them in; whether one has changed so much that plans change."""
        for known in self.sessions.values():
            known.relay = relays.get(known.peer)
        fresh: set[NodeId] = set()
        for trip in seen:
            session = self.sessions.get(trip.peer)
            if session is None:
                continue
            session.rtt_ms, session.ahead_ms = trip.rtt_ms, trip.ahead_ms
            measured = [ms for ms in (session.best_ms, trip.best_ms) if ms is not None]
            session.best_ms = min(measured, default=None)
            # Of two connections that are settling the one that is heard counts.
            again = trip.peer in fresh
            session.last_heard = max(session.last_heard, trip.last_heard) if again else trip.last_heard
            fresh.add(trip.peer)
        self._judge()
        changed = [self._changed(session) for session in self.sessions.values()]
        return any(changed)

    def _judge(self) -> None:
        """Who says that it is where it cannot be. On our own link nobody gains by that."""
        claims = [
            Claim(peer, session.record.region, session.best_ms)
            for peer, session in self.sessions.items()
            if session.best_ms is not None and not self._on_link(session)
        ]
        judged = judge(self.own_region, claims)
        self.places_disproved += len(judged.disproved - self.judged.disproved)
        self.judged = judged

    def _changed(self, session: Session) -> bool:
        """Whether the Scheduler should hear of this session again."""
        before, rtt_ms = session.told[:1], session.rtt_ms
        known: float | None = before[0] if before else None
        if rtt_ms is not None and known is not None and abs(rtt_ms - known) <= max(1.0, RTT_CHANGE * known):
            rtt_ms = known
        told = (
            rtt_ms, self.ring(session), self.quiet(session), session.relay, apart(session.ahead_ms)
        )  # fmt: skip
        changed, session.told = told != session.told, told
        return changed

    def quiet(self, session: Session) -> bool:
        return time.monotonic() - session.last_heard > QUIET_AFTER

    def ring(self, session: Session) -> str:
        return ring_of(
            session.record.region,
            self.own_region,
            on_link=self._on_link(session),
            best_ms=session.best_ms,
            disproved=session.peer in self.judged.disproved,
        )

    def _on_link(self, session: Session) -> bool:
        return session.peer in self.on_link or (session.near and session.relay is None)

    def names(self, relays: Iterable[str]) -> list[str]:
        """Of relays, as records name them."""
        return [self.name(NodeId(parse_relay(text)[0])) for text in relays]

    def name(self, peer: NodeId) -> str:
        session = self.sessions.get(peer)
        return (session.record.name if session is not None else "") or short(peer)

    def aheads(self) -> list[int]:
        """How far each peer's clock is ahead of ours, in ms."""
        return [session.ahead_ms for session in self.sessions.values()]

    def by_ring(self) -> dict[str, int]:
        return dict(Counter(self.ring(session) for session in self.sessions.values()))

    def views(self) -> tuple[PeerView, ...]:
        return tuple(
            PeerView(
                session.peer,
                session.record.name or short(session.peer),
                self.ring(session),
                session.rtt_ms,
                session.record.slots if session.record.state == "ready" else 0,
                self._usable(session),
                session.record.offer,
                self.quiet(session),
                session.ahead_ms,
            )
            for session in self.sessions.values()
        )

    def _usable(self, session: Session) -> tuple[ServedModel, ...]:
        if session.record.state == "client":
            return ()  # one that is paused keeps its models and has no slots: they are waited for
        ring = self.ring(session)
        offers = [o for o in session.record.models if offered(ring, demo=o.demo, private=self.private)]
        return tuple(_served(offer) for offer in offers)


def _served(offer: Any) -> ServedModel:
    return ServedModel(
        name=offer.name,
        context=offer.context,
        parameters_m=offer.parameters_m,
        prompt_tps=float(offer.prompt_tps),
        generate_tps=float(offer.generate_tps),
        price=Price(offer.price_prompt, offer.price_completion),
        demo=offer.demo,
        digest=offer.digest,
        quantisation=offer.quantisation,
        abilities=offer.abilities,
    )
