"""invite: the line with which another node joins, and `join`, which takes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opengateway.app.cli import session
from opengateway.app.cli.accepting import accept
from opengateway.app.cli.bootstrap import DAY_MS, dht_entries
from opengateway.app.cli.lifecycle import Json, home_status
from opengateway.app.cli.output import emit_json, note, say

if TYPE_CHECKING:
    from opengateway.units import NodeId


def invite(
    days: Annotated[int, typer.Option(min=1, max=365, help="How long the line can be used.")] = 7,
    addresses: Annotated[
        list[str] | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="Where this node is, if not where it thinks; a name will do.",
        ),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Print one line with which another node joins this network. It holds the network's secret."""
    from opengateway.config import load
    from opengateway.discovery.invitation import DHT_ENTRIES, ENTRIES, Invitation, write

    network = load(session.home()).network
    client = session.node()
    status = home_status(client)
    entries = _entries(status, addresses or [], client.get("/node/peers")["peers"])
    line = write(
        Invitation(
            network.name,
            network.secret,
            int(time.time() * 1000) + days * DAY_MS,
            tuple(entries[:ENTRIES]),
            tuple(dht_entries(status)[:DHT_ENTRIES]),
        )
    )
    if as_json:
        emit_json(
            {"invitation": line, "network": network.name, "private": bool(network.secret), "days": days}
        )
        return
    say(line)
    if network.secret:
        note(f"  whoever has this line can join {network.name}: send it as you would send a password")
    note("  there: opengateway start --invite LINE")


def _entries(
    status: dict[str, Any], addresses: list[str], peers: list[dict[str, Any]]
) -> list[tuple[NodeId, str]]:
    """This node first, then the relays that it is reached through, then two peers that it reaches itself, for
    the day when this one is off."""
    from opengateway.discovery.addresses import parse_endpoint, parse_relay
    from opengateway.discovery.invitation import entrance
    from opengateway.identity import from_base32
    from opengateway.units import NodeId

    mine = [f"tcp://{address.removeprefix('tcp://').lower()}" for address in addresses] or status["wire"][:4]
    try:
        for endpoint in mine:
            entrance(endpoint)
    except ValueError as error:
        raise session.WrongUsage(str(error), hint="--address HOST:PORT, an address or a name") from error
    relays = [parse_relay(text) for text in status.get("relays_at") or []]
    if relays:  # nobody elsewhere reaches it, so its own addresses are for its neighbours only
        mine = mine[:2]
    found = [(from_base32(status["node_id"]), endpoint) for endpoint in mine]
    found += [(NodeId(node), where) for node, where in relays]
    reached = [peer for peer in peers if peer["state"] == "up" and peer["dialled"]]
    for peer in reached[:2]:
        try:
            parse_endpoint(peer["endpoint"])
        except ValueError:
            continue  # a host name, or an address that means something on this machine only
        found.append((from_base32(peer["id"]), peer["endpoint"]))
    return found


def join_by(line: str, *, as_json: bool) -> None:
    """`opengateway join LINE`."""
    home = session.home()
    name = accept(home, line)
    running = home.running_pid() is not None
    if as_json:
        emit_json({"network": name, "restart": running})
        return
    say(f"This node belongs to the network {name} now.")
    note(f"  hint: opengateway {'restart' if running else 'start'}")
