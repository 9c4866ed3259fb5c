"""peers, clusters, connect (join), disconnect (leave)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json
from opengateway.app.cli.output import emit_json, number, say, seconds, table
from opengateway.app.cli.tables import Column
from opengateway.discovery.clocks import NOTABLE_MS
from opengateway.units import show_credits

RING_ORDER = ("self", "lan", "nearest", "country", "continent", "world")

CLOCK = Column("CLOCK", "right")
"""Shown where somebody's is wrong."""
PEERS = (
    Column("ID", style="cyan"),
    Column("NAME", squeeze=True),
    Column("RING"),
    Column("RTT ms", "right"),
    Column("STATE"),
    Column("PATH", squeeze=True, drop=5),
    Column("SLOTS", "right", drop=2),
    Column("MODELS", squeeze=True),
    Column("REGION", drop=4),
    Column("OWES US", "right", drop=3),
    Column("SEEN", "right", drop=1),
)


def peers(
    cluster: Annotated[str | None, typer.Argument(help="Only the members of this cluster.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """The nodes this one knows, nearest first."""
    answer = session.node().get("/node/peers", cluster=cluster)
    if as_json:
        emit_json(answer)
        return
    found = sorted(
        answer["peers"], key=lambda peer: (_ring_rank(peer.get("ring", "")), peer.get("rtt_ms") or 1e9)
    )
    late = any(abs(peer.get("clock_off_s") or 0) * 1000 > NOTABLE_MS for peer in found)
    rows = [
        (
            peer["short"],
            peer.get("name", ""),
            peer.get("ring", ""),
            number(peer.get("rtt_ms")),
            "quiet" if peer.get("quiet") else peer.get("state", ""),
            peer.get("path", ""),
            peer.get("slots", 0),
            ", ".join(peer.get("models") or []),
            place(peer),
            show_credits(int(peer.get("owes_us") or 0)),
            seconds(peer.get("last_seen_s")),
            *([_clock(peer.get("clock_off_s"))] if late else ()),
        )
        for peer in found
    ]
    nobody = f"no peers in {cluster}" if cluster else "no peers yet: nodes on this link appear by themselves"
    table((*PEERS, CLOCK) if late else PEERS, rows, empty=nobody)


def clusters(*, as_json: Json = False) -> None:
    """The clusters this node knows, and which it is in."""
    answer = session.node().get("/node/clusters")
    if as_json:
        emit_json(answer)
        return
    columns = (
        Column("CLUSTER", style="cyan"),
        Column("REGION"),
        Column("MODEL", squeeze=True),
        Column("IN IT"),
        Column("MEMBERS", "right"),
    )
    rows = [
        (
            found["name"],
            found["region"],
            found["model"],
            "yes" if found["joined"] else "no",
            len(found["members"]),
        )
        for found in answer["clusters"]
    ]
    table(columns, rows, empty="no clusters: this node serves no model, and knows nobody who does")


def connect(
    target: Annotated[
        str, typer.Argument(help="A node's id or short id, host:port, or an invitation (- reads one).")
    ],
    *,
    as_json: Json = False,
) -> None:
    """Connect to a node, or join the network of an invitation (also: join)."""
    from opengateway.discovery.invitation import looks_like_one

    if looks_like_one(target) or target == "-":
        from opengateway.app.cli.invite import join_by

        join_by(target, as_json=as_json)
        return
    found = session.node().post("/node/connect", {"target": target})
    if as_json:
        emit_json(found)
    else:
        trip = f", {number(found['rtt_ms'])} ms away" if found.get("rtt_ms") is not None else ""
        say(f"Connected to {found['name']} ({found['short']}) at {found['endpoint']}{trip}")


def disconnect(
    target: Annotated[str, typer.Argument(help="A peer's id, short id or name.")], *, as_json: Json = False
) -> None:
    """Disconnect from a node (also: leave)."""
    found = session.node().post("/node/disconnect", {"target": target})
    if as_json:
        emit_json(found)
    else:
        say(f"Disconnected from {found['short']}")


def _clock(off_s: float | None) -> str:
    """By how much a peer's clock is wrong; nothing where it hardly is."""
    return f"{off_s:+.0f} s" if off_s is not None and abs(off_s) * 1000 > NOTABLE_MS else ""


def place(peer: dict[str, Any]) -> str:
    """Where it says it is."""
    return f"not {peer['region']}" if peer.get("place_disproved") else str(peer.get("region", ""))


def _ring_rank(ring: str) -> int:
    return RING_ORDER.index(ring) if ring in RING_ORDER else len(RING_ORDER)
