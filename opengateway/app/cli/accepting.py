"""What `join` and `start --invite` do with a line of `invite`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from opengateway.errors import OpenGatewayError
from opengateway.home import Home


def accept(home: Home, line: str) -> str:
    """Have the node of this home join what the line invites to; the network's name. Nothing is changed if
    the line is no good, or if the home belongs to another network."""
    from opengateway.config import flat, load, settle
    from opengateway.discovery.invitation import read

    if line == "-":
        line = sys.stdin.readline()
    invitation = read(line, now_ms=int(time.time() * 1000))
    config = load(home)
    same = (config.network.name, config.network.secret) == (invitation.name, invitation.secret)
    if not same and home.ledger_db.exists():
        other = Path(f"{home.path}-{invitation.name}")
        raise OpenGatewayError(
            f"this home belongs to the network {config.network.name!r}, and its ledger with it",
            hint=f"join from another home: opengateway --home {other} start --invite LINE",
        )
    now = flat(config)
    changes: dict[str, Any] = {
        "network.name": invitation.name,
        "network.secret": invitation.secret or None,
        "wire.bootstrap": _merged(now["wire.bootstrap"], invitation.bootstrap, keep=same),
        "dht.entries": _merged(now["dht.entries"], invitation.dht, keep=same),
    }
    settle(home, {name: value for name, value in changes.items() if value != ()})
    return invitation.name


def _merged(before: Any, found: tuple[str, ...], *, keep: bool) -> tuple[str, ...]:
    """Entries of the network that is left are of no use in the one that is joined."""
    return tuple(dict.fromkeys((*(before if keep else ()), *found)))
