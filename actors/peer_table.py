"""Peers and clusters as people see them: `opengateway peers`, `clusters`, `map`."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from actors.own_record import OwnRecord
from actors.roster import Roster, Session
from opengateway.discovery.clocks import compared, own_error_ms
from opengateway.discovery.known_peer import Peer
from opengateway.discovery.peers import PeerBook
from opengateway.identity import base32, short

RECENTLY_MS = 24 * 3600 * 1000
"""How long `peers` shows somebody who is down."""


def peers(roster: Roster, book: PeerBook, own: OwnRecord, cluster: str, now_ms: int) -> list[dict[str, Any]]:
    """Who is connected, and who was known to be there within a day."""
    error_ms = own_error_ms(roster.aheads()) or 0
    mapped = own.reached.kind == "mapped"
    rows = [
        {**_row(roster, session, error_ms), "path": _path(roster, session, mapped)}
        for session in roster.sessions.values()
    ]
    for peer in book:
        if peer.node_id in roster.sessions or now_ms - max(peer.answered_ms, peer.last_seen_ms) > RECENTLY_MS:
            continue
        rows.append(
            {
                "id": base32(peer.node_id),
                "short": short(peer.node_id),
                "name": "",
                "region": "",
                "ring": "",
                "rtt_ms": None,
                "best_ms": None,
                "place_disproved": False,
                "quiet": False,
                "state": _state(book, peer, len(roster.sessions), now_ms),
                "why": roster.reasons.get(peer.node_id, ""),
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


def _state(book: PeerBook, peer: Peer, company: int, now_ms: int) -> str:
    """Of somebody without a session. `known`: not dialled, because there are enough others."""
    if peer.departed_ms:
        return "gone"
    if not book.missed(peer, company, now_ms):
        return "known"
    return "down" if peer.answered_ms else "connecting"


def _path(roster: Roster, session: Session, mapped: bool) -> str:
    """How a session's frames travel. `mapped`: our router forwards a port, through which it came in."""
    if session.relay is not None:
        return f"relayed via {roster.name(session.relay)}"
    return "mapped" if mapped and not session.dialled and roster.ring(session) != "lan" else "direct"


def _row(roster: Roster, session: Session, error_ms: int) -> dict[str, Any]:
    now, record = time.monotonic(), session.record
    return {
        "id": base32(session.peer),
        "short": short(session.peer),
        "name": record.name,
        "region": record.region,
        "ring": roster.ring(session),
        "rtt_ms": session.rtt_ms,
        "state": "up",
        "why": "",
        "models": [offer.name for offer in record.models],
        "slots": record.slots,
        "paused": record.state == "paused",
        "endpoint": session.endpoint or next(iter(record.endpoints), ""),
        "best_ms": session.best_ms,
        "place_disproved": session.peer in roster.judged.disproved,
        "quiet": roster.quiet(session),
        "dialled": session.dialled,
        "up_s": now - session.up_since,
        "last_seen_s": max(0.0, now - session.last_heard),
        "clock_off_s": (session.ahead_ms + error_ms) / 1000,
        "version": record.version,
        "clusters": list(record.clusters),
    }


def clusters(roster: Roster, own: OwnRecord) -> list[dict[str, Any]]:
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
    for session in roster.sessions.values():
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


def itself(roster: Roster, own: OwnRecord) -> dict[str, Any]:
    """What `status` says of this node as peers see it."""
    return {
        **own.describe(),
        "relay_names": roster.names(own.reached.relays),
        "by_ring": roster.by_ring(),
        "by_path": dict(Counter("relayed" if s.relay else "direct" for s in roster.sessions.values())),
        "places": {
            "disproved": len(roster.judged.disproved),
            "ours": roster.judged.ours,
            "total": roster.places_disproved,
        },
        "dial_errors": dict(roster.dial_errors),
        "clock": compared(roster.aheads()),
    }
