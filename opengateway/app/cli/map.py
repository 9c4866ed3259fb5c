"""map: the network as seen from here, ring by ring."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opengateway.app.cli import session
from opengateway.app.cli.lifecycle import Json, home_status
from opengateway.app.cli.membership import RING_ORDER, place
from opengateway.app.cli.output import clean, emit_json, is_terminal, note, number, parts, say
from opengateway.errors import OpenGatewayError
from opengateway.units import show_credits

WHERE: Final = {
    "lan": "on this link",
    "nearest": "a few milliseconds away",
    "country": "in this country",
    "continent": "on this continent",
    "world": "farther away",
}
LONGEST: Final = 24
"""Characters of the line to a peer that is `FAR_MS` away."""
FAR_MS: Final = 400.0


def show_map(
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Draw it into this file instead.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """The network as seen from here: who is how far away, and by which way."""
    client = session.node()
    found = seen(home_status(client), client.get("/node/peers")["peers"])
    if png is not None:
        _draw(found, png)
    if as_json:
        emit_json(found)
    elif png is not None:
        say(f"The network as this node sees it is drawn in {png}")
    else:
        _print(found)


def seen(status: dict[str, Any], peers: list[dict[str, Any]]) -> dict[str, Any]:
    """This node, its peers by ring from near to far, and how many there are without a session."""
    up = [peer for peer in peers if peer["state"] == "up"]
    up.sort(key=lambda peer: (peer.get("rtt_ms") is None, peer.get("rtt_ms") or 0.0, peer["name"]))
    away: dict[str, int] = {}
    for peer in peers:
        if peer["state"] != "up":
            away[peer["state"]] = away.get(peer["state"], 0) + 1
    names = ("short", "name", "region", "reachability", "models", "clusters")
    return {
        "here": {key: status[key] for key in names},
        "rings": [
            {"ring": ring, "peers": inside}
            for ring in RING_ORDER
            if (inside := [peer for peer in up if peer["ring"] == ring])
        ],
        "away": away,
    }


def _print(found: dict[str, Any]) -> None:
    here = found["here"]
    say(f"{here['name']} ({here['short']}), {here['region']}", style="bold")
    note(f"  reached: {here['reachability']['text']}")
    if not found["rings"]:
        say("  nobody is connected; nodes on this link appear by themselves")
    every = [peer for ring in found["rings"] for peer in ring["peers"]]
    width = max((len(clean(peer["name"])) for peer in every), default=0)
    for ring in found["rings"]:
        inside = ring["peers"]
        many = f"{len(inside)} {WHERE.get(ring['ring'], '')}"
        say(f"\n{ring['ring']:<10} {many}", style="bold cyan")
        for peer in inside:
            say(f"  {line_to(peer)} {clean(peer['name']):<{width}}  {_about(peer)}".rstrip())
    if found["away"]:
        say(f"\nwithout a session: {parts(found['away'])} (`opengateway peers` lists them)")


def line_to(peer: dict[str, Any]) -> str:
    """As long as the logarithm of the round trip; dotted where a relay carries it."""
    rtt_ms = peer.get("rtt_ms")
    share = math.log1p(rtt_ms or 0.0) / math.log1p(FAR_MS)
    length = max(1, min(LONGEST, round(share * LONGEST)))
    drawn = ("┈" if peer["path"].startswith("relayed") else "─") * length
    shown = f"{number(rtt_ms)} ms" if rtt_ms is not None else "? ms"
    return f"●{drawn}○{' ' * (LONGEST - length)} {shown:>9}"


def _about(peer: dict[str, Any]) -> str:
    owes = int(peer.get("owes_us") or 0)
    said = [
        peer["path"],
        place(peer),
        ", ".join(peer["models"]),
        "quiet" if peer.get("quiet") else "",
        f"owes us {show_credits(owes)}" if owes > 0 else f"we owe {show_credits(-owes)}" if owes else "",
    ]
    return "; ".join(clean(part) for part in said if part)


def _draw(found: dict[str, Any], path: Path) -> None:
    from opengateway.app.cli.map_picture import draw

    try:
        draw(found, path)
    except ImportError as error:
        raise OpenGatewayError(
            "drawing needs matplotlib, which is not installed",
            hint="pip install matplotlib; without --png the map is text",
        ) from error
    except ValueError as error:  # an ending that matplotlib does not know
        raise session.WrongUsage(f"{path}: {error}", hint="--png FILE.png") from error
    if is_terminal():
        note(f"  {sum(len(ring['peers']) for ring in found['rings'])} peers")
