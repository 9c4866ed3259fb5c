"""What the dashboard shows of the node: bounded, and rounded so that only what changed changes."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from actors.kernel import describe
from actors.messages import DescribeBalance, DescribeJobs, DescribeMachine, DescribeTraces, ListJobs
from opengateway.app.gateway.picture import (
    Parts,
    account_rows,
    history_rows,
    if_it_answers,
    model_rows,
    overview,
    peer_rows,
)

MOST_PEERS = 200
MOST_ACCOUNTS = 50
ENTRIES = 12
FAILURES = 3
PEER_FACTS = (
    "id", "short", "name", "region", "ring", "state", "why", "models", "slots", "path", "clock_off_s",
    "owes_us", "quiet", "paused", "place_disproved",
)  # fmt: skip
NODE_FACTS = (
    "node_id", "short", "name", "version", "home", "region", "country", "network", "http", "reachability",
    "models", "engine", "peers", "warnings", "stamp", "discovery",
)  # fmt: skip


async def look(parts: Parts) -> dict[str, Any]:
    """One picture: each section is sent when it differs from the one before."""
    status, peers, models, machine, jobs, flying, failures, balance, accounts, entries = await asyncio.gather(
        overview(parts),
        _or(peer_rows(parts), []),
        _or(model_rows(parts), {"local": [], "network": []}),
        if_it_answers(parts.gauge.ask(DescribeMachine())),
        if_it_answers(parts.scheduler.ask(DescribeJobs())),
        if_it_answers(parts.scheduler.ask(ListJobs())),
        if_it_answers(parts.scheduler.ask(DescribeTraces(FAILURES, failed=True))),
        if_it_answers(parts.ledger.ask(DescribeBalance())),
        _or(account_rows(parts), []),
        _or(history_rows(parts, ENTRIES), []),
    )
    return {
        "node": {name: status[name] for name in NODE_FACTS},
        "peers": {"total": len(peers), "rows": [_peer(row) for row in peers[:MOST_PEERS]]},
        "models": {**models, "speeds": speeds(parts)},
        "machine": machine or {},
        "jobs": {"counts": jobs or {}, "rows": flying or [], "failures": failures or []},
        "actors": [_actor(asdict(row)) for row in describe(parts.root)],
        "ledger": {
            "balance": balance or {},
            "accounts": sorted(accounts, key=lambda row: -(row["served"] + row["consumed"]))[:MOST_ACCOUNTS],
            "entries": entries,
        },
    }


def speeds(parts: Parts) -> list[dict[str, Any]]:
    """Tokens/s of each model that this node serves, as far as they were measured."""
    return [
        {"model": model.name, "prompt_tps": model.prompt_tps, "generate_tps": model.generate_tps}
        for view in list(parts.workers.values())
        for model in view.models
        if model.generate_tps
    ]


def _peer(row: dict[str, Any]) -> dict[str, Any]:
    rtt = row.get("rtt_ms")
    known = {name: row.get(name) for name in PEER_FACTS}
    return known | {"rtt_ms": None if rtt is None else round(rtt, 1 if rtt < 10 else 0)}


def _actor(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"uptime_s": int(row["uptime_s"]), "busy_s": round(row["busy_s"], 1)}


async def _or(work: Any, otherwise: Any) -> Any:
    """An actor that is down leaves its section empty."""
    try:
        return await work
    except Exception:
        return otherwise
