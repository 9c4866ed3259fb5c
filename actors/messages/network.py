"""What the SwarmPeer, who owns the wire, and Discovery, who looks beyond it, hear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from actors.kernel import Request
from actors.messages.job import Tick
from actors.messages.scheduler import PeersChanged
from opengateway.discovery.record import NodeRecord
from opengateway.units import NodeId
from opengateway.wire.messages import Message


@dataclass(frozen=True, slots=True)
class Dial:
    """Try to reach this endpoint; `expect` says who should answer there."""

    endpoint: str
    expect: NodeId | None = None


@dataclass(frozen=True, slots=True)
class HangUp:
    peer: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class Advertise:
    """Our node record is now this."""

    record: bytes


@dataclass(frozen=True, slots=True)
class DescribeWire(Request[dict[str, Any]]):
    """Port, endpoints, LAN problem, counters, sessions."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send this to a peer, if it is connected."""

    peer: NodeId
    message: Message


SwarmPeerMessage: TypeAlias = Dial | HangUp | Advertise | Say | Tick | DescribeWire


@dataclass(frozen=True, slots=True)
class Announce:
    """This is what we offer, and this our signed whereabouts."""

    record: NodeRecord
    whereabouts: bytes


@dataclass(frozen=True, slots=True)
class Seek:
    """Somebody here wants this model, and too few serve it."""

    model: str


@dataclass(frozen=True, slots=True)
class Locate:
    """Where is this node? `Located` goes to the Registry if the DHT knows."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class DhtEntry:
    """Here may be a DHT node."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class BootstrapRead:
    """The source of the bootstrap document has answered, or has not."""


@dataclass(frozen=True, slots=True)
class Woken:
    """libtorrent has something to say."""


@dataclass(frozen=True, slots=True)
class DescribeDiscovery(Request[dict[str, Any]]):
    """The DHT, the bootstrap document, and what is looked for."""


DiscoveryMessage: TypeAlias = (
    Announce | PeersChanged | Seek | Locate | DhtEntry | BootstrapRead | Woken | Tick | DescribeDiscovery
)
