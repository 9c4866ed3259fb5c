"""How libtorrent is set up to be a Kademlia node and nothing else, and what is kept of it across restarts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from opengateway.errors import SetupError
from opengateway.home import write_atomically

MAINLINE: Final = (
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "dht.libtorrent.org:25401",
)
"""Where BitTorrent clients enter the public DHT. Asked only with `dht.mainline`, and only until this node
knows others."""

PORT_TRIES = 10
"""Ports above the chosen one that are tried while it is taken: two nodes on one machine need no setting."""

NODES_LIMIT = 512
"""DHT nodes kept: a full routing table has some 200."""

ANY_HOST = ("*", "0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound

DHT_ONLY: Final[dict[str, Any]] = {
    "enable_dht": True,
    # Nothing of BitTorrent. The TCP port that libtorrent opens all the same resets every connection.
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_tcp": False,
    "enable_outgoing_tcp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "connections_limit": 0,
    "unchoke_slots_limit": 0,
    "listen_queue_size": 1,
    "aio_threads": 1,
    "hashing_threads": 1,
    "listen_system_port_fallback": False,
    "allow_multiple_connections_per_ip": True,
    "user_agent": "opengateway",
    "peer_fingerprint": "-OG0001-",
    "alert_queue_size": 4000,
}

UNGUARDED: Final[dict[str, Any]] = {
    # Several nodes on one address are the rule in a private network and in a test. In the open they are how
    # one attacker pretends to be many, so there libtorrent's own defaults (BEP 42 among them) stay.
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_enforce_node_id": False,
    "dht_prefer_verified_node_ids": False,
    # libtorrent mutes an address for five minutes that sends more than ten times this in ten seconds. Where
    # nodes share one address, a burst of questions (ten nodes, 100 a second each) muted everybody.
    "dht_block_ratelimit": 1_000_000,
    "dht_upload_rate_limit": 1_000_000,
}


@dataclass(frozen=True, slots=True)
class DhtSettings:
    host: str = "*"
    port: int = 0
    """UDP; 0 takes any free one."""
    mainline: bool = False
    guarded: bool = True
    """Refuse what one address alone could fake. See `UNGUARDED`."""

    def pack(self) -> dict[str, Any]:
        """The settings as libtorrent takes them, without the alert mask."""
        # Entries of a private DHT are not given here: libtorrent never takes such a router into its
        # routing table, so a network of two nodes would stay two networks of one.
        routers = ",".join(MAINLINE) if self.mainline else ""
        return {
            **DHT_ONLY,
            **({} if self.guarded else UNGUARDED),
            "listen_interfaces": self._interfaces(),
            "max_retry_port_bind": PORT_TRIES,
            "dht_bootstrap_nodes": routers,
        }

    def _interfaces(self) -> str:
        if self.host in ANY_HOST:
            return f"0.0.0.0:{self.port},[::]:{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class DhtNodes:
    """`dht.nodes` in the home: the DHT nodes that were known, one `host:port` a line.

    Not libtorrent's own session state: it starts its DHT before its sockets are open, and what that state
    names is then lost (2.1.1). The node id is not worth keeping, since BEP 42 derives it from the address.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.problem = ""
        """One sentence while they cannot be kept; empty otherwise."""

    def load(self) -> tuple[tuple[str, int], ...]:
        """What was kept; nothing if that cannot be read: it costs a search."""
        try:
            with self._path.open("rb") as file:
                lines = file.read(NODES_LIMIT * 64).decode("ascii", "replace").splitlines()
        except OSError:
            return ()
        return tuple(node for line in lines[:NODES_LIMIT] if (node := host_and_port(line)) is not None)

    def save(self, nodes: Iterable[tuple[str, int]]) -> None:
        """Raises nothing: see `problem`. No nodes at all replace nothing: they would be a network that is
        down, and forgetting everybody would make it worse."""
        lines = [joined(host, port) for host, port in islice(nodes, NODES_LIMIT)]
        if not lines:
            return
        try:
            write_atomically(self._path, "".join(f"{line}\n" for line in lines).encode())
        except SetupError as error:
            self.problem = f"the DHT's nodes are not kept across restarts: {error.message}"
        else:
            self.problem = ""


def host_and_port(text: str) -> tuple[str, int] | None:
    """`("2001:db8::1", 6881)` of `[2001:db8::1]:6881`; None if it is not that."""
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)


def joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
