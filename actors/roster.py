"""Who is connected now, and how each looks to the Scheduler and to people."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.messages import PeerUp, Trip
from actors.own_record import OwnRecord
from opengateway.discovery.addresses import parse_endpoint, parse_relay
from opengateway.discovery.clocks import own_error_ms
from opengateway.discovery.peers import PeerBook
from opengateway.discovery.record import NodeRecord
from opengateway.identity import base32, short
from opengateway.models.machine import Machine
from opengateway.routing.placement import offered
from opengateway.routing.rings import private, ring_of
from opengateway.routing.views import PeerView, Price, ServedModel
from opengateway.units import NodeId

RTT_CHANGE = 0.3
"""Share by which a round trip must change before the Scheduler is told: it plans in whole milliseconds."""
RECENTLY_MS = 24 * 3600 * 1000
"""How long `peers` shows somebody who is down."""
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
    told_rtt: float | None = None
    host: str = ""
    """The address that it dialled us from."""
    whereabouts: bytes = b""
    """Its own signed word of where it is, to be passed on; empty until it said so."""
    relay: NodeId | None = None
    """Through whom; None if direct."""

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
        changed = False
        for known in self.sessions.values():
            changed |= known.relay != relays.get(known.peer)
            known.relay = relays.get(known.peer)
        for trip in seen:
            session = self.sessions.get(trip.peer)
            if session is None:
                continue
            rtt_ms = session.rtt_ms = trip.rtt_ms
            session.last_heard, session.ahead_ms = trip.last_heard, trip.ahead_ms
            told = session.told_rtt
            if rtt_ms is not None and (told is None or abs(rtt_ms - told) > max(1.0, RTT_CHANGE * told)):
                session.told_rtt, changed = rtt_ms, True
        return changed

    def ring(self, session: Session) -> str:
        hosts = []
        for endpoint in (session.endpoint, *session.record.endpoints):
            if endpoint:
                try:
                    hosts.append(str(parse_endpoint(endpoint, scoped=True)[0]))
                except ValueError:
                    continue
        # The address shows whether it is on our own network, as far as we see it. What its record says of
        # its addresses is its own word, and would let anybody be our neighbour.
        if session.relay is not None:
            return ring_of(session.record.region, self.own_region, on_link=session.peer in self.on_link)
        seen = hosts[:1] if session.dialled else [session.host] if session.host else hosts
        on_link = session.peer in self.on_link or private(seen)
        return ring_of(session.record.region, self.own_region, on_link=on_link)

    def path(self, relay: NodeId | None) -> str:
        """How a session's frames travel, for people."""
        return f"relayed via {self.name(relay)}" if relay is not None else "direct"

    def names(self, relays: Iterable[str]) -> list[str]:
        """Of relays, as records name them."""
        return [self.name(NodeId(parse_relay(text)[0])) for text in relays]

    def name(self, peer: NodeId) -> str:
        session = self.sessions.get(peer)
        return (session.record.name if session is not None else "") or short(peer)

    def by_ring(self) -> dict[str, int]:
        return dict(Counter(self.ring(session) for session in self.sessions.values()))

    def views(self) -> tuple[PeerView, ...]:
        return tuple(
            PeerView(
                session.peer,
                session.record.name or short(session.peer),
                self.ring(session),
                session.rtt_ms,
                session.record.slots,
                self._usable(session),
                session.record.offer,
            )
            for session in self.sessions.values()
        )

    def _usable(self, session: Session) -> tuple[ServedModel, ...]:
        if session.record.state != "ready":
            return ()
        ring = self.ring(session)
        offers = [o for o in session.record.models if offered(ring, demo=o.demo, private=self.private)]
        return tuple(_served(offer) for offer in offers)

    # -- for people ------------------------------------------------------------------------------

    def describe(self, book: PeerBook, cluster: str, now_ms: int) -> list[dict[str, Any]]:
        error_ms = own_error_ms(self.aheads()) or 0
        rows = [self._row(session, error_ms) for session in self.sessions.values()]
        for peer in book:
            if (
                peer.node_id in self.sessions
                or now_ms - max(peer.answered_ms, peer.last_seen_ms) > RECENTLY_MS
            ):
                continue
            rows.append(
                {
                    "id": base32(peer.node_id),
                    "short": short(peer.node_id),
                    "name": "",
                    "region": "",
                    "ring": "",
                    "rtt_ms": None,
                    "state": "gone" if peer.departed_ms else "down" if peer.answered_ms else "connecting",
                    "why": self.reasons.get(peer.node_id, ""),
                    "models": [],
                    "slots": 0,
                    "endpoint": next(iter(peer.endpoints()), ""),
                    "path": "",
                    "dialled": False,
                    "up_s": None,
                    "last_seen_s": max(0.0, (now_ms - max(peer.answered_ms, peer.last_seen_ms)) / 1000),
                    "clock_off_s": None,
                    "version": "",
                    "clusters": [],
                }
            )
        if cluster:
            rows = [row for row in rows if cluster in row["clusters"]]
        return sorted(rows, key=lambda row: (row["state"] != "up", row["name"], row["id"]))

    def aheads(self) -> list[int]:
        """How far each peer's clock is ahead of ours, in ms."""
        return [session.ahead_ms for session in self.sessions.values()]

    def _row(self, session: Session, error_ms: int) -> dict[str, Any]:
        now, record = time.monotonic(), session.record
        return {
            "id": base32(session.peer),
            "short": short(session.peer),
            "name": record.name,
            "region": record.region,
            "ring": self.ring(session),
            "rtt_ms": session.rtt_ms,
            "state": "up",
            "why": "",
            "models": [offer.name for offer in record.models],
            "slots": record.slots,
            "endpoint": session.endpoint or next(iter(record.endpoints), ""),
            "path": self.path(session.relay),
            "dialled": session.dialled,
            "up_s": now - session.up_since,
            "last_seen_s": max(0.0, now - session.last_heard),
            "clock_off_s": (session.ahead_ms + error_ms) / 1000,
            "version": record.version,
            "clusters": list(record.clusters),
        }

    def clusters(self, own: OwnRecord) -> list[dict[str, Any]]:
        """Every cluster that we or a peer are in, or that the registry lists for our region."""
        found: dict[str, dict[str, Any]] = {}

        def entry(name: str, region: str, model: str) -> dict[str, Any]:
            blank = {"name": name, "region": region, "model": model, "joined": False, "members": []}
            return found.setdefault(name, blank)

        for _, model in own.offers():
            name = own.registry.cluster_for(own.region.code, model.name)
            row = entry(name, own.region.code, model.name)
            row["joined"] = True
            row["members"].append(short(own.identity.node_id))
        for session in self.sessions.values():
            for name in session.record.clusters:
                region = session.record.region
                served = [
                    m.name for m in session.record.models if own.registry.cluster_for(region, m.name) == name
                ]
                entry(name, region, served[0] if served else "")["members"].append(short(session.peer))
        for name, region, model_name in own.registry.clusters():
            if region == own.region.code:
                entry(name, region, model_name)
        return sorted(found.values(), key=lambda row: str(row["name"]))


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
