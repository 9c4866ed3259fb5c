"""The map as a picture. Only this needs matplotlib.

This node is in the middle. A peer's distance from it is its round trip, on a logarithmic scale; its direction
is the compass bearing of the region that it claims. Peers of one region fan out, those on our own link stand
around us.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from opengateway import regions
from opengateway.app.cli.output import clean
from opengateway.errors import UnknownRegion

COLOURS: Final = {
    "lan": "#009E73",
    "nearest": "#0072B2",
    "country": "#56B4E9",
    "continent": "#E69F00",
    "world": "#CC79A7",
}
"""Okabe and Ito's, which people tell apart who see colours differently."""
NOWHERE: Final = 1.25 * math.pi
"""Where there is no direction: south-west."""
LAN_FROM: Final = 0.3 * math.pi
CIRCLES_MS: Final = (1, 10, 100)
FAN: Final = math.radians(11)
"""Between peers of one region."""
LABELS: Final = 60
"""Peers that are named; more names would hide each other."""


def draw(found: dict[str, Any], path: Path) -> None:
    """Raises `ImportError` without matplotlib, `OSError` where `path` cannot be written, `ValueError` for an
    ending that names no kind of picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    peers = [peer for ring in found["rings"] for peer in ring["peers"]]
    spots = places(found["here"]["region"], peers)
    with plt.style.context("default"), mpl.rc_context({"font.size": 10}):
        figure, axes = plt.subplots(figsize=(11, 11), layout="constrained")
        axes.set_aspect("equal")
        axes.axis("off")
        _circles(axes, plt, max([radius(CIRCLES_MS[-1]), *(math.hypot(*spot) for spot in spots)]))
        by_name = {peer["name"]: spot for peer, spot in zip(peers, spots, strict=True)}
        for peer, spot in zip(peers, spots, strict=True):
            _line(axes, peer, spot, by_name)
        for number, (peer, spot) in enumerate(zip(peers, spots, strict=True)):
            _peer(axes, peer, spot, named=number < LABELS)
        _here(axes, found)
        _legend(axes, mpl, found)
        figure.savefig(path, dpi=110, facecolor="white")
        plt.close(figure)


def places(own_region: str, peers: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Where each peer is drawn, x to the east and y to the north of us."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, peer in enumerate(peers):
        groups["" if peer["ring"] == "lan" else peer["region"]].append(index)
    angles = [0.0] * len(peers)
    for group, members in groups.items():
        middle, step = (bearing(own_region, group), FAN) if group else (LAN_FROM, math.tau)
        step = min(step, math.tau / len(members))
        for rank, index in enumerate(members):
            angles[index] = middle + (rank - (len(members) - 1) / 2) * step
    return [
        (radius(peer.get("rtt_ms")) * math.sin(angle), radius(peer.get("rtt_ms")) * math.cos(angle))
        for peer, angle in zip(peers, angles, strict=True)
    ]


def radius(rtt_ms: float | None) -> float:
    return 0.35 + math.log10(1 + (rtt_ms if rtt_ms is not None else FAR_UNKNOWN_MS))


FAR_UNKNOWN_MS: Final = 300.0
"""Where somebody is drawn whose round trip was not measured yet."""


def bearing(one: str, other: str) -> float:
    """Radians clockwise from north, along the great circle; `NOWHERE` if the regions are one or unknown."""
    try:
        a, b = regions.region(one), regions.region(other)
    except UnknownRegion:
        return NOWHERE
    if a.code == b.code:
        return NOWHERE
    north, south = math.radians(a.latitude), math.radians(b.latitude)
    turn = math.radians(b.longitude - a.longitude)
    east = math.sin(turn) * math.cos(south)
    up = math.cos(north) * math.sin(south) - math.sin(north) * math.cos(south) * math.cos(turn)
    return math.atan2(east, up)


def _circles(axes: Any, plt: Any, reach: float) -> None:
    for ms in CIRCLES_MS:
        axes.add_patch(plt.Circle((0, 0), radius(ms), fill=False, color="#DDDDDD", zorder=0))
        text = {"color": "#999999", "ha": "center", "va": "center", "fontsize": 9, "zorder": 1}
        axes.text(0, -radius(ms), f"{ms} ms", backgroundcolor="white", **text)
    edge = reach + 0.45
    axes.set_xlim(-edge, edge)
    axes.set_ylim(-edge, edge)
    axes.text(0, edge, "N", ha="center", va="top", color="#999999")


def _line(axes: Any, peer: dict[str, Any], spot: tuple[float, float], by_name: dict[str, Any]) -> None:
    colour = COLOURS.get(peer["ring"], "#777777")
    via = by_name.get(peer["path"].removeprefix("relayed via "))
    relayed = peer["path"].startswith("relayed")
    points = [(0.0, 0.0), via, spot] if relayed and via is not None else [(0.0, 0.0), spot]
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=colour,
        linestyle=":" if relayed else "-",
        linewidth=1.6,
        alpha=0.7,
        zorder=2,
    )


def _peer(axes: Any, peer: dict[str, Any], spot: tuple[float, float], *, named: bool) -> None:
    x, y = spot
    serves = bool(peer["models"])
    colour = COLOURS.get(peer["ring"], "#777777")
    axes.scatter(
        [x], [y], s=90, color=colour if serves else "white", edgecolors=colour, linewidths=2, zorder=3
    )
    if not named:
        return
    models = ", ".join(peer["models"][:2]) + (" ..." if len(peer["models"]) > 2 else "")
    wrong = f"not in {peer['region']}" if peer.get("place_disproved") else peer["region"]
    rtt = f"{peer['rtt_ms']:.1f} ms" if peer.get("rtt_ms") is not None else "not measured"
    text = "\n".join(part for part in (clean(peer["name"]), rtt, wrong, clean(models)) if part)
    side = "left" if x >= 0 else "right"
    # `$` would begin a formula, and names come from strangers.
    axes.annotate(
        text.replace("$", r"\$"),
        spot,
        xytext=(9 if x >= 0 else -9, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=8.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.5},
        zorder=4,
    )


def _here(axes: Any, found: dict[str, Any]) -> None:
    axes.scatter([0], [0], s=240, marker="*", color="#D55E00", zorder=5)
    here = found["here"]
    title = f"{clean(here['name'])} in {here['region']}: the network as seen from here"
    axes.set_title(title.replace("$", r"\$"), fontsize=13, fontweight="bold", loc="left")


def _legend(axes: Any, mpl: Any, found: dict[str, Any]) -> None:
    line = mpl.lines.Line2D
    shown = [
        line(
            [],
            [],
            color=COLOURS.get(ring["ring"], "#777777"),
            marker="o",
            label=f"{ring['ring']}: {len(ring['peers'])}",
        )
        for ring in found["rings"]
    ]
    shown += [
        line([], [], color="#777777", linestyle=":", label="through a relay"),
        line(
            [], [], color="#777777", marker="o", markerfacecolor="white", linestyle="", label="serves nothing"
        ),
    ]
    axes.legend(handles=shown, loc="lower left", frameon=False)
