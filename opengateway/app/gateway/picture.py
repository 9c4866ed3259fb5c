"""What can be seen of the node: gathered from the actors that own the facts, for /node/* and the dashboard.

Nothing is kept here. An actor that is down leaves a gap in the picture; it must not hide the rest.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.kernel import Address, answer
from actors.messages import (
    DescribeAccounts,
    DescribeBalance,
    DescribeDiscovery,
    DescribeHistory,
    DescribeJobs,
    DescribeModels,
    DescribePeers,
    DescribeSelf,
    DescribeWire,
    DiscoveryMessage,
    GaugeMessage,
    LedgerMessage,
    RegistryMessage,
    SchedulerMessage,
    SwarmPeerMessage,
)
from opengateway.app.gateway.status import Facts, engine_state, further_warnings, reachability, warnings
from opengateway.models.catalog import tier_of
from opengateway.routing.views import WorkerView

PATIENCE = 5.0
"""Seconds for an actor to answer; one that does not is shown as such by `opengateway actors`."""


@dataclass(slots=True)
class Parts:
    """The addresses of whom the routes ask, and what does not change while the node runs."""

    root: Address[Any]
    ledger: Address[LedgerMessage]
    registry: Address[RegistryMessage]
    discovery: Address[DiscoveryMessage]
    swarm_peer: Address[SwarmPeerMessage]
    gauge: Address[GaugeMessage]
    scheduler: Address[SchedulerMessage]
    workers: dict[str, WorkerView]
    facts: Facts
    stop: Callable[[], None]
    stamp: Callable[[], dict[str, Any]]


async def overview(parts: Parts) -> dict[str, Any]:
    """As GET /node/status answers."""
    me, wire, jobs, credit, peers, discovery = await asyncio.gather(
        if_it_answers(parts.registry.ask(DescribeSelf())),
        if_it_answers(parts.swarm_peer.ask(DescribeWire())),
        if_it_answers(parts.scheduler.ask(DescribeJobs())),
        if_it_answers(parts.ledger.ask(DescribeBalance())),
        if_it_answers(parts.registry.ask(DescribePeers())),
        if_it_answers(parts.discovery.ask(DescribeDiscovery())),
    )
    facts = parts.facts
    up = [peer for peer in peers or [] if peer["state"] == "up"]
    busy = (jobs or {}).get("busy", 0)
    return {
        **facts.fixed(),
        "pid": os.getpid(),
        "uptime_s": time.monotonic() - facts.born,
        "http": facts.http_url(),
        "wire": (me or {}).get("endpoints", []),
        "reachability": reachability(me or {}, facts),
        "relays": (me or {}).get("relay_names", []),
        "relays_at": ((me or {}).get("reached") or {}).get("relays", []),
        "clock": (me or {}).get("clock", {}),
        "discovery": discovery or {},
        "clusters": (me or {}).get("clusters", []),
        "models": (me or {}).get("models", []),
        "engine": engine_state(parts.workers, busy, facts),
        "peers": {"total": len(up), "by_ring": (me or {}).get("by_ring", {})},
        "stamp": parts.stamp(),
        "credit": credit or {"balance": 0, "earned": 0, "spent": 0, "held": 0},
        "jobs": jobs or {"running": 0, "queued": 0, "done": 0, "failed": 0},
        "warnings": warnings(parts.root, parts.workers, me, wire, up, facts)
        + further_warnings(credit, discovery),
    }


async def peer_rows(parts: Parts, cluster: str = "") -> list[dict[str, Any]]:
    peers, accounts = await asyncio.gather(
        answer(parts.registry.ask(DescribePeers(cluster)), PATIENCE),
        if_it_answers(parts.ledger.ask(DescribeAccounts())),
    )
    net = {account["id"]: account["net"] for account in accounts or []}
    return [{**peer, "owes_us": net.get(peer["id"], 0)} for peer in peers]


async def model_rows(parts: Parts) -> dict[str, list[dict[str, Any]]]:
    """What this node's engines have, and what can be asked for anywhere."""
    network = await answer(parts.scheduler.ask(DescribeModels()), PATIENCE)
    local = [
        {
            "name": model.name,
            "engine": view.engine,
            "state": view.state,
            "parameters": model.parameters_m / 1000,
            "quantisation": model.quantisation,
            "context": model.context,
            "size": model.size,
            "demo": model.demo,
            "tier": tier.name if (tier := tier_of(model.name)) else "",
        }
        for view in list(parts.workers.values())
        for model in view.models
    ]
    return {"local": local, "network": network}


async def history_rows(parts: Parts, limit: int) -> list[dict[str, Any]]:
    """Entries of the ledger, the newest first."""
    entries = await answer(parts.ledger.ask(DescribeHistory(limit)), PATIENCE)
    return await _named(parts, entries, "peer")


async def account_rows(parts: Parts) -> list[dict[str, Any]]:
    accounts = await answer(parts.ledger.ask(DescribeAccounts()), PATIENCE)
    return await _named(parts, accounts, "id")


async def _named(parts: Parts, rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """With the names that peers give themselves; who is not known any more keeps its short id."""
    peers = await if_it_answers(parts.registry.ask(DescribePeers())) or []
    names = {peer["id"]: peer["name"] for peer in peers if peer["name"]}
    return [{**row, "name": names.get(row[key], row["name"])} for row in rows]


async def if_it_answers(reply: Any, patience: float = PATIENCE) -> Any:
    """None from an actor that is down or slow."""
    try:
        return await answer(reply, patience)
    except Exception:
        return None
