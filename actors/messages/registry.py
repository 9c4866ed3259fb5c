"""What the Registry hears: who is there, how far away, and what this node is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from actors.kernel import Request
from actors.messages.job import Tick
from actors.messages.scheduler import WorkerChanged
from opengateway.discovery.reachability import Kind
from opengateway.discovery.sightings import Sighting
from opengateway.discovery.whereabouts import Whereabouts
from opengateway.models.clusters import ClusterRegistry
from opengateway.models.machine import Machine
from opengateway.units import NodeId
from opengateway.wire.peer_messages import PeerMessage


@dataclass(frozen=True, slots=True)
class WireUp:
    """Peers can reach us on this port."""

    port: int


@dataclass(frozen=True, slots=True)
class Sighted:
    """Somebody was seen on the link."""

    sighting: Sighting


@dataclass(frozen=True, slots=True)
class LeftLink:
    """Somebody said goodbye on the link."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class PeerUp:
    peer: NodeId
    record: bytes
    endpoint: str | None
    dialled: bool
    host: str = ""
    """The address that it came from, if it dialled us."""
    relay: NodeId | None = None
    """Through whom; None if direct."""
    ahead_ms: int = 0
    """How far its clock is ahead of ours."""


@dataclass(frozen=True, slots=True)
class PeerDown:
    peer: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class RecordSeen:
    peer: NodeId
    record: bytes
    ahead_ms: int = 0


@dataclass(frozen=True, slots=True)
class DialFailed:
    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trip:
    """A session as it is now."""

    peer: NodeId
    rtt_ms: float | None
    """Smoothed round trip, read off the answers that have come; None before the first."""
    last_heard: float
    """Monotonic seconds."""
    ahead_ms: int = 0
    best_ms: float | None = None
    """The shortest round trip of this session: what distance there is at most."""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    sessions: tuple[Trip, ...]
    relays: dict[NodeId, NodeId] = field(default_factory=dict)
    """Peer -> the relay that its session leads through, of those that are not direct."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How this node is reached has changed (discovery/reachability.py)."""

    kind: Kind
    endpoints: tuple[str, ...]
    """Proven by peers from outside."""
    relays: tuple[str, ...]
    """As records name them."""
    witnesses: int
    outside: bool
    """Whether the witnesses came from other networks than ours."""
    mapping: str = ""
    """How the router forwards a port: NAT-PMP or UPnP; empty if it does not."""
    mapping_problem: str = ""
    """Why it does not, if it was asked."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The machine is this."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Paused:
    """Why the machine is not lent now, for its owner; empty: it is lent again."""

    why: str


@dataclass(frozen=True, slots=True)
class ClustersRead:
    """The cluster registry was read."""

    registry: ClusterRegistry


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody may be at these endpoints, say strangers: hostile until the handshake."""

    endpoints: tuple[str, ...]
    sought: bool = False
    """They serve a model that is wanted here; else they are company."""


@dataclass(frozen=True, slots=True)
class Located:
    """A node says, signed, where it is."""

    here: Whereabouts


@dataclass(frozen=True, slots=True)
class DhtUp:
    """Our DHT node listens on this UDP port."""

    port: int


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A node goes on with a new key."""

    old: NodeId
    new: NodeId


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """A peer speaks of where it or others are."""

    peer: NodeId
    said: PeerMessage
    sought: bool = False
    """It answers a question for those who serve a model, or for one node; else for company."""


@dataclass(frozen=True, slots=True)
class Introduce:
    """Tell this peer where these others are, those that may be told of."""

    peer: NodeId
    others: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class TellPeers:
    """The Scheduler was restarted: tell it of the peers again."""


@dataclass(frozen=True, slots=True)
class Connect(Request[dict[str, Any]]):
    """Keep a session with this peer: an id, a short id, a name or an endpoint. Answered once it is up."""

    target: str


@dataclass(frozen=True, slots=True)
class Disconnect(Request[dict[str, Any]]):
    """End the session and do not redial until told to connect, or until the peer calls."""

    target: str


@dataclass(frozen=True, slots=True)
class DescribePeers(Request[list[dict[str, Any]]]):
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class DescribeClusters(Request[list[dict[str, Any]]]):
    pass


@dataclass(frozen=True, slots=True)
class DescribeSelf(Request[dict[str, Any]]):
    """Our own record: clusters, models, endpoints."""


RegistryMessage: TypeAlias = (
    WireUp
    | Sighted
    | LeftLink
    | PeerUp
    | PeerDown
    | RecordSeen
    | DialFailed
    | RoundTrips
    | Reached
    | WorkerChanged
    | Measured
    | Paused
    | ClustersRead
    | Found
    | Located
    | DhtUp
    | PeerSaid
    | Introduce
    | Succeeded
    | TellPeers
    | Connect
    | Disconnect
    | DescribePeers
    | DescribeClusters
    | DescribeSelf
    | Tick
)
