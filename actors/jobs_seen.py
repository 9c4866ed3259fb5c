"""The jobs in flight as people see them: where each comes from, where it is, how long. Never its text."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

from actors.in_flight import InFlight
from actors.messages import Job
from opengateway.identity import short
from opengateway.routing.market import Market, Place
from opengateway.units import NodeId

MOST = 100
"""Rows; the counts say how many there are."""


def jobs_seen(flight: InFlight) -> list[dict[str, Any]]:
    """Those that run, the oldest first, then those that wait, in the order in which they will be placed."""
    now = time.monotonic()
    running = [_row(job, flight.market, now, place) for job, place in islice(flight.running.items(), MOST)]
    in_order = flight.waiting.in_order(flight.running)[: MOST - len(running)]
    waiting = [_row(job, flight.market, now) for job in in_order]
    return running + [row | {"position": place} for place, row in enumerate(waiting, start=1)]


def _row(job: Job, market: Market, now: float, place: Place | None = None) -> dict[str, Any]:
    stream = job.stream
    first_at, route = stream.first_at, stream.route
    return {
        "id": job.id,
        "kind": job.request.kind,
        "model": job.request.model,
        "from": _name(market, job.origin) if job.origin is not None else "",
        "state": "waiting" if place is None else "answering" if first_at is not None else "asked",
        "at": place if isinstance(place, str) else _name(market, place) if place is not None else "",
        "at_id": short(place) if isinstance(place, bytes) else "",
        "ring": "local" if isinstance(place, str) else route.ring if route is not None else "",
        "age_s": round(now - job.created, 1),
        "ttft_ms": None if first_at is None else round((first_at - stream.created) * 1000, 1),
        "why": str(job.why) if job.why is not None and place is None else "",
        "position": None,
        "eta_s": job.told.eta_s if job.told is not None and place is None else None,
    }


def _name(market: Market, peer: NodeId) -> str:
    view = market.peer(peer)
    return view.name if view is not None else short(peer)
