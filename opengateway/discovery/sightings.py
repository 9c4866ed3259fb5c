"""What multicast DNS says about other nodes, judged: who is there, where, and what is not believed.

Nothing heard is signed. A sighting is a hint whom to dial; the handshake proves who is there. A goodbye
is a rumour; the wire's heartbeat decides.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from opengateway.discovery.addresses import Address, Network, by_rank, endpoint
from opengateway.identity import base32, from_base32
from opengateway.units import NetworkId, NodeId

if TYPE_CHECKING:
    from zeroconf import ServiceInfo

SERVICE: Final = "_opengateway._tcp.local."
VERSION: Final = b"1"

SIGHTING_LIMIT = 512
"""Nodes on one LAN. More is a flood: each name costs about 2 kB here and in zeroconf."""

ADDRESS_LIMIT = 8


@dataclass(frozen=True, slots=True)
class Sighting:
    node_id: NodeId
    endpoints: tuple[str, ...]
    """`tcp://192.168.1.5:11436`, `tcp://[fe80::1%eth0]:11436`, best first."""


class Sightings:
    """Who is on the LAN, by mDNS name. `found` is called again whenever the endpoints change."""

    def __init__(
        self, net: NetworkId, *, found: Callable[[Sighting], None], lost: Callable[[NodeId], None]
    ) -> None:
        self._net = net
        self._found, self._lost = found, lost
        self._seen: dict[str, Sighting] = {}
        self._unconfirmed: set[str] = set()
        self.ours: frozenset[str] = frozenset()
        """This machine's own addresses, without scope."""
        self.near: tuple[Network, ...] = ()
        """The networks that it has an address in."""
        self.ignored: Counter[str] = Counter()
        """What was heard and not believed, by reason."""

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._seen

    def all(self) -> tuple[Sighting, ...]:
        return tuple(self._seen.values())

    def welcome(self, name: str) -> bool:
        """Whether a name is worth asking about."""
        if node_of(name) is None:
            self.ignored["name"] += 1
        elif len(self._seen) >= SIGHTING_LIMIT and name not in self:
            self.ignored["too_many"] += 1
        else:
            return True
        return False

    def judge(self, name: str, info: ServiceInfo) -> None:
        """Believes what is well formed and of our network; anything else is counted and forgotten."""
        node_id = node_of(name)
        texts = info.properties
        reason = ""
        if node_id is None or texts.get(b"id") != base32(node_id).encode():
            reason = "id"
        elif texts.get(b"v") != VERSION:
            reason = "version"
        elif texts.get(b"net") != self._net.hex().encode():
            reason = "other_network"
        elif not (endpoints := self._endpoints(info)):
            reason = "addresses"
        if reason or node_id is None:
            self.ignored[reason] += 1
            return
        if not self.welcome(name):
            return
        name = name.lower()
        self._unconfirmed.discard(name)
        sighting = Sighting(node_id, endpoints)
        if self._seen.get(name) != sighting:
            self._seen[name] = sighting
            self._found(sighting)

    def _endpoints(self, info: ServiceInfo) -> tuple[str, ...]:
        """Best first. Addresses that this machine has too (every Docker bridge is 172.17.0.1) would
        lead back here: they count only if all are ours, which means the same machine."""
        if not info.port:
            return ()
        texts = info.parsed_scoped_addresses()[: 4 * ADDRESS_LIMIT]
        heard = [address for text in texts if (address := _dialable(text))]
        elsewhere = [address for address in heard if _plain(address) not in self.ours]
        usable = [a for a in elsewhere or heard if not a.is_loopback or _plain(a) in self.ours]
        return tuple(
            endpoint(address, info.port) for address in by_rank(usable, near=self.near)[:ADDRESS_LIMIT]
        )

    def forget(self, name: str) -> None:
        name = name.lower()
        self._unconfirmed.discard(name)
        if sighting := self._seen.pop(name, None):
            self._lost(sighting.node_id)

    def doubt_all(self) -> None:
        """This machine's network changed: whoever is not heard again is gone."""
        self._unconfirmed = set(self._seen)

    def forget_unconfirmed(self) -> None:
        for name in tuple(self._unconfirmed):
            self.forget(name)

    def clear(self) -> None:
        self._seen.clear()
        self._unconfirmed.clear()


def node_of(name: str) -> NodeId | None:
    label, _, service = name.lower().partition(".")
    if service != SERVICE or len(label) != 52:
        return None
    try:
        return from_base32(label)
    except ValueError:
        return None


def _dialable(text: str) -> Address | None:
    """zeroconf names the scope by number; people and `connect` name it by interface."""
    plain, _, scope = text.partition("%")
    address = ip_address(plain)
    if address.is_unspecified or address.is_multicast or plain == "255.255.255.255":
        return None
    if not isinstance(address, IPv6Address) or not address.is_link_local:
        return address
    if not scope.isdigit():
        return None
    try:
        return ip_address(f"{plain}%{socket.if_indextoname(int(scope))}")
    except OSError:
        return None  # the interface went away


def plain(addresses: Iterable[Address]) -> frozenset[str]:
    """As text, without scope."""
    return frozenset(_plain(address) for address in addresses)


def _plain(address: Address) -> str:
    return str(address).partition("%")[0]
