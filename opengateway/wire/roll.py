"""Who is up, and over what: what can be asked of the sessions, and a ping for whoever is quiet."""

from __future__ import annotations

from opengateway.units import NodeId
from opengateway.wire.carrier import Link
from opengateway.wire.limits import Limits
from opengateway.wire.peer import Peer, Session
from opengateway.wire.relay_endpoint import is_relayed
from opengateway.wire.traffic import Traffic


class Roll:
    """sessions.py writes it."""

    def __init__(self, traffic: Traffic, limits: Limits) -> None:
        self._traffic = traffic
        self._limits = limits
        self._live: dict[Link, Session] = {}
        self._peers: dict[NodeId, Peer] = {}
        self.sending: dict[NodeId, Session] = {}
        """The session to send on, per peer: `Peer.best()`, kept at hand."""

    def crowded(self, node_id: NodeId, instance: bytes) -> bool:
        """Whether two connections with this life of the peer are settling already: see peer.py."""
        peer = self._peers.get(node_id)
        return peer is not None and peer.instance == instance and len(peer.sessions) >= 2

    def connected(self, endpoint: str, node_id: NodeId | None) -> bool:
        """Whether dialling makes no sense. A direct connection is worth it where there is a relayed one."""
        peer = self._peers.get(node_id) if node_id is not None else None
        if peer is not None and (is_relayed(endpoint) or self.direct(peer.node_id)):
            return True
        return any(s.endpoint == endpoint for s in self._live.values())

    def direct(self, node_id: NodeId) -> bool:
        session = self.sending.get(node_id)
        return session is not None and session.relay is None

    def room(self, node_id: NodeId) -> bool:
        """Whether a circuit may put more onto this session: half of what may be on its way at all, so that
        what this node itself has to say is never behind more than that."""
        session = self.sending.get(node_id)
        return session is not None and 2 * session.queued < self._limits.queued_bytes

    def heard(self, node_id: NodeId) -> float:
        """Monotonic seconds when this peer was heard last; 0 without a session."""
        session = self.sending.get(node_id)
        return session.last_heard if session is not None else 0.0

    def probe(self, node_id: NodeId) -> None:
        """Ask for a sign of life now. A connection that is gone is noticed by it at once."""
        session = self.sending.get(node_id)
        if session is not None:
            self._traffic.ping(session)
