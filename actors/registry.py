"""Peers, clusters and models: who is there, how to reach them, what they offer, and what we offer.

The table itself is opengateway/discovery/peers.py; here is its upkeep: who is dialled when, whose record
is believed, and who is told of a change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from actors import peer_table
from actors.connecting import Connecting
from actors.dialling import Dialling
from actors.introductions import Introductions
from actors.kernel import Actor, Address
from actors.messages import (
    Advertise,
    Announce,
    ClustersRead,
    Connect,
    DescribeClusters,
    DescribePeers,
    DescribeSelf,
    DhtEntry,
    DhtUp,
    DialFailed,
    Disconnect,
    DiscoveryMessage,
    Found,
    HangUp,
    Introduce,
    LeftLink,
    Located,
    Measured,
    Paused,
    PeerDown,
    PeerSaid,
    PeersChanged,
    PeerUp,
    Reached,
    RecordSeen,
    RegistryMessage,
    RoundTrips,
    Say,
    SchedulerMessage,
    Sighted,
    Succeeded,
    SwarmPeerMessage,
    TellPeers,
    Tick,
    WireUp,
    WorkerChanged,
)
from actors.own_record import OwnRecord
from actors.roster import Roster
from actors.wanted import Wanted
from opengateway.discovery.company import LET_GO
from opengateway.discovery.peer_cache import PeerCache
from opengateway.discovery.peers import PeerBook
from opengateway.discovery.record import RecordRefused, open_own_word
from opengateway.identity import base32, short
from opengateway.units import NetworkId, NodeId

logger = logging.getLogger(__name__)

TICK = 0.5
REST = 2.0
"""Seconds between looks at whom to dial; and where nobody is missed. An idle node does little else than wake
up to look at nothing."""
SAVE_EVERY = 10.0
"""Seconds between writes of the peer cache; a crash forgets at most who was met in the last ten."""
ADDRESS_CHECK = 2.0
"""Seconds between looks at our own addresses: a laptop that changes networks is found again soon."""
BYE = ("it said goodbye", "it left")


class Registry(Actor[RegistryMessage]):
    def __init__(
        self,
        own: OwnRecord,
        net: NetworkId,
        *,
        cache: PeerCache,
        bootstrap: tuple[str, ...],
        swarm_peer: Address[SwarmPeerMessage],
        discovery: Address[DiscoveryMessage],
        scheduler: Address[SchedulerMessage],
        now_ms: Callable[[], int],
        given_up: Mapping[NodeId, NodeId],
    ) -> None:
        super().__init__()
        self._own = own
        self._net = net
        self._cache = cache
        self._swarm_peer, self._discovery = swarm_peer, discovery
        self._scheduler = scheduler
        self._now_ms = now_ms
        self._book = PeerBook(own.identity.node_id, given_up=given_up)
        self._roster = Roster(own.region.code, own.private)
        self._wanted = Wanted.of(bootstrap, given_up)
        self._connecting = Connecting(
            self._roster,
            self._book,
            self._wanted,
            tell_wire=swarm_peer.tell,
            locate=self._locate,
        )
        self._unwanted = self._connecting.unwanted
        self._introductions = Introductions(
            own,
            self._roster,
            self._book,
            say=lambda peer, message: swarm_peer.tell(Say(peer, message)),
            dht_entry=lambda host, port: discovery.tell(DhtEntry(host, port)),
            unwanted=self._unwanted,
        )
        self._dialling = Dialling(
            own,
            self._roster,
            self._book,
            self._wanted,
            self._introductions,
            tell_wire=swarm_peer.tell,
            ask_dht=discovery.tell,
        )
        self._saved = self._looked = time.monotonic()
        self._resting = False

    def on_start(self) -> None:
        self._cache.load(self._book)
        self._advertise()
        self.address.tell_later(TICK, Tick(), replace=True)

    def on_exit(self) -> None:
        self._cache.save(self._book)
        self._cache.close()

    def on_receive(self, message: RegistryMessage) -> Any:
        if self._resting and isinstance(message, PeerDown | Connect):
            self._resting = False
            self.address.tell_later(TICK, Tick(), replace=True)
        match message:
            case PeerUp():
                self._peer_up(message)
            case PeerDown(peer, reason):
                self._peer_down(peer, reason)
            case RecordSeen(peer, record, ahead_ms):
                self._record_seen(peer, record, ahead_ms)
            case RoundTrips(sessions, relays):
                if self._roster.round_trips(sessions, relays):
                    self._tell_scheduler()
            case Sighted(sighting):
                if sighting.node_id not in self._unwanted:
                    self._roster.on_link.add(sighting.node_id)
                    self._book.seen(sighting.node_id, sighting.endpoints, now_ms=self._now_ms())
                    self._dialling.due()
            case LeftLink(peer):
                self._roster.on_link.discard(peer)  # a rumour: its session says whether it is gone
            case DialFailed(endpoint, reason):
                self._dialling.failed(endpoint, reason)
            case Reached():
                self._own.reached = message
                self._advertise()
            case WireUp(port):
                self._own.port = port
                self._advertise()
            case WorkerChanged(view):
                self._own.workers[view.name] = view
                self._advertise()
            case ClustersRead(registry):
                self._own.registry = registry
                self._advertise()
            case Paused(why):
                self._own.paused = why
                self._advertise()
            case Measured(machine):
                self._roster.machine = machine
            case Succeeded(old, new):
                self._connecting.succeeded(old, new, self._now_ms())
                self._dialling.due()
            case Found() | Located() | PeerSaid() | Introduce():
                self._introductions.take(message)
                self._dialling.due()
            case DhtUp(port):
                self._own.dht_port = port
                self._advertise()
            case TellPeers():
                self._tell_scheduler()
            case Tick():
                self._tick()
            case Connect():
                return self._connecting.connect(message, self.reply)
            case Disconnect(target):
                return self._connecting.disconnect(target)
            case DescribePeers(cluster):
                return peer_table.peers(self._roster, self._book, self._own, cluster, self._now_ms())
            case DescribeClusters():
                return peer_table.clusters(self._roster, self._own)
            case DescribeSelf():
                mine = peer_table.itself(self._roster, self._own)
                return mine | {
                    "cache_problem": self._cache.problem,
                    "refused": dict(self._introductions.refused),
                }
        return None

    # -- sessions ----------------------------------------------------------------------------

    def _peer_up(self, up: PeerUp) -> None:
        try:
            record = open_own_word(up.peer, up.record, self._net, now_ms=self._now_ms() + up.ahead_ms)
        except RecordRefused as refused:
            logger.warning("%s is hung up on: its record is refused: %s", short(up.peer), refused)
            self._swarm_peer.tell(HangUp(up.peer, f"record refused: {refused.reason}"))
            return
        self._unwanted.discard(up.peer)
        now = self._now_ms()
        self._book.connected(up.peer, up.endpoint or "", now_ms=now)
        self._book.heard(up.peer, record.places(), seq=record.seq, now_ms=now)
        self._roster.up(up, record)
        logger.info("peer %s (%s) is up", short(up.peer), record.name)
        session = self._roster.sessions[up.peer]
        self._wanted.came_up({up.endpoint, base32(up.peer), *record.endpoints}, session.introduce())
        self._introductions.met(up.peer)
        self._tell_scheduler()

    def _peer_down(self, peer: NodeId, reason: str) -> None:
        session = self._roster.down(peer, reason)
        if session is None:
            return
        logger.info("peer %s is down: %s", short(peer), reason)
        now = self._now_ms()
        if reason.endswith(LET_GO):
            self._book.let_go(peer, now_ms=now)
            self._wanted.let_go(session.endpoint or "")
        elif reason.startswith(BYE):
            self._book.departed(peer, now_ms=now)
        else:
            self._book.lost(peer, now_ms=now)
        self._tell_scheduler()

    def _record_seen(self, peer: NodeId, data: bytes, ahead_ms: int) -> None:
        session = self._roster.sessions.get(peer)
        try:
            record = open_own_word(peer, data, self._net, now_ms=self._now_ms() + ahead_ms)
        except RecordRefused as refused:
            logger.warning("a record from %s is refused: %s", short(peer), refused)
            return
        if session is None or record.seq <= session.record.seq:
            return
        session.record = record
        self._book.heard(peer, record.places(), seq=record.seq, now_ms=self._now_ms())
        self._tell_scheduler()

    def _tell_scheduler(self) -> None:
        views = self._roster.views()
        self._scheduler.tell(PeersChanged(views))
        self._discovery.tell(PeersChanged(views))

    def _advertise(self) -> None:
        before = self._own.whereabouts
        self._swarm_peer.tell(Advertise(self._own.sign()))
        if self._own.record is not None:
            self._discovery.tell(Announce(self._own.record, self._own.whereabouts))
        if self._own.whereabouts != before:
            self._introductions.moved()

    def _locate(self, peer: NodeId) -> bool:
        return self._dialling.locate(peer)

    # -- time ----------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        self._dialling.tick()
        self._resting = not self._dialling.restless()
        self.address.tell_later(REST if self._resting else TICK, Tick(), replace=True)
        if now - self._looked >= ADDRESS_CHECK:
            self._looked = now
            record = self._own.record
            if record is not None and self._own.endpoints() != record.endpoints:
                self._book.network_changed(now_ms=self._now_ms())
                self._advertise()
            elif self._own.stale():
                self._advertise()
        if now - self._saved > SAVE_EVERY:
            self._saved = now
            self._cache.save(self._book)
