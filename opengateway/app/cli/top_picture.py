"""What `top` shows: asked of the node once a second, as rows of text."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

from opengateway.app.cli.actors import branches
from opengateway.app.cli.output import clean, number, parts, seconds
from opengateway.app.client import NodeClient
from opengateway.errors import OpenGatewayError
from opengateway.units import show_credits

Row = tuple[str, ...]

PEERS = ("PEER", "RING", "RTT ms", "SERVES", "SLOTS", "STATE", "OWES US", "PATH")
JOBS = ("FOR", "AT", "RING", "MODEL", "STATE", "FIRST ms", "AGE s", "REQUEST")
ACTORS = ("ACTOR", "STATE", "LIFE", "HANDLED", "MAIL", "LOST", "DOING")
ACCOUNTS = ("PEER", "SERVED", "CONSUMED", "OWES US")
FAILURES = 5
"""Requests that were not answered, below those in flight."""
STATES = {"up": 0, "connecting": 1, "down": 2, "gone": 3}


@dataclass(slots=True)
class Picture:
    title: str = ""
    line: str = ""
    credit: str = ""
    balance: int = 0
    """ucr."""
    warnings: list[str] = field(default_factory=list)
    peers: list[Row] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)
    actors: list[Row] = field(default_factory=list)
    accounts: list[Row] = field(default_factory=list)


def take(client: NodeClient) -> Picture:
    """Raises `NotRunning`; a part of the node that does not answer leaves its rows empty."""
    status = client.get("/node/status")
    credit, jobs, engine = (status.get(name) or {} for name in ("credit", "jobs", "engine"))
    peers = status.get("peers") or {}
    slots = f"{engine.get('busy', 0)} of {engine.get('slots', 0)} slots busy"
    counts = ", ".join(f"{jobs.get(key, 0)} {key}" for key in ("running", "queued", "done", "failed"))
    by_ring = parts(peers.get("by_ring") or {})
    total = int(peers.get("total", 0))
    near = f"{total} peer{'' if total == 1 else 's'}" + (f" ({by_ring})" if by_ring else "")
    serves = f"{engine.get('name')}, {engine.get('state')}, {slots}" if engine.get("name") else "no engine"
    balance, earned, spent, held = (
        show_credits(int(credit.get(name, 0))) for name in ("balance", "earned", "spent", "held")
    )
    return Picture(
        title=clean(f"{status.get('name')} ({status.get('short')}), up {seconds(status.get('uptime_s'))}"),
        line=clean(f"{serves}; {near}; jobs: {counts}"),
        credit=f"{balance} credits: earned {earned}, spent {spent}, held {held}",
        balance=int(credit.get("balance", 0)),
        warnings=[clean(one.get("text", "")) for one in status.get("warnings") or []],
        peers=[_peer(row) for row in _rows(client, "/node/peers", "peers")],
        jobs=[_job(row) for row in _rows(client, "/node/jobs", "jobs")]
        + [_failure(row) for row in _rows(client, f"/node/trace?failed=1&limit={FAILURES}", "requests")],
        actors=_tree(_rows(client, "/node/actors", "actors")),
        accounts=[_account(row) for row in _rows(client, "/node/ledger/peers", "peers")],
    )


def _rows(client: NodeClient, path: str, name: str) -> list[dict[str, Any]]:
    with contextlib.suppress(OpenGatewayError):
        return list(client.get(path)[name])
    return []


def _peer(row: dict[str, Any]) -> Row:
    rtt, owes = row.get("rtt_ms"), int(row.get("owes_us") or 0)
    return _clean(
        row["name"] or row["short"],
        row["ring"],
        number(rtt),
        ", ".join(row["models"][:3]),
        row["slots"] or "",
        row["state"],
        show_credits(owes) if owes else "",
        row["path"],
    )


def _job(row: dict[str, Any]) -> Row:
    place = f"place {row['position']}" if row.get("position") else row["state"]
    return _clean(
        row["from"] or "you",
        row["at"],
        row["ring"],
        row["model"],
        place,
        number(row["ttft_ms"]),
        number(row["age_s"]),
        row["id"],
    )


def _failure(row: dict[str, Any]) -> Row:
    age = time.time() - (row["at_ms"] + row["ms"]) / 1000
    return _clean("you", "", "", row["model"], row["code"] or "failed", "", number(age), row["request"])


def _tree(rows: list[dict[str, Any]]) -> list[Row]:
    limbs = branches([int(row["depth"]) for row in rows])
    return [
        _clean(
            limb + str(row["name"]).rpartition("/")[2],
            row["state"],
            row["life"],
            row["handled"],
            row["mailbox"],
            row["lost"],
            row["error"] if row["state"] != "running" else row["doing"],
        )
        for limb, row in zip(limbs, rows, strict=True)
    ]


def _account(row: dict[str, Any]) -> Row:
    amounts = (show_credits(int(row[name])) for name in ("served", "consumed", "net"))
    return _clean(row["name"], *amounts)


def _clean(*cells: object) -> Row:
    return tuple(clean(cell).replace("\n", " ") for cell in cells)
