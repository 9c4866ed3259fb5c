"""Owns what finds nodes beyond the link: the DHT, and the questions to peers.

It only finds endpoints and says where we are; whom to dial is the Registry's business, and who somebody
really is the handshake's. A DHT that cannot run is said once, and everything else goes on without it.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from actors.entrances import COMPANY, Entrances
from actors.herald import Herald
from actors.io_loop import IoLoop
from actors.kernel import Actor, Address
from actors.lookout import Lookout
from actors.messages import (
    Announce,
    BootstrapRead,
    DescribeDiscovery,
    DhtEntry,
    DhtUp,
    Dial,
    DiscoveryMessage,
    Found,
    Locate,
    PeersChanged,
    RegistryMessage,
    Say,
    Seek,
    SwarmPeerMessage,
    Tick,
    Woken,
)
from actors.messages import Located as Seen
from opengateway.discovery.bootstrap_source import BootstrapSource
from opengateway.discovery.dht import (
    Announced,
    Dht,
    DhtEvent,
    DhtUnavailable,
    Listening,
    Located,
    NotListening,
    Published,
    TableSize,
)
from opengateway.discovery.dht_settings import DhtNodes, host_and_port
from opengateway.discovery.seeking import Seeking
from opengateway.discovery.topics import place_of, topic
from opengateway.identity import Identity
from opengateway.models.catalog import canonical
from opengateway.regions import Region
from opengateway.routing.views import PeerView
from opengateway.units import NetworkId
from opengateway.wire.peer_messages import PEERS_PER_ANSWER, SeekPeers

logger = logging.getLogger(__name__)

TICK = 0.5
REST = 2.0
"""Seconds between looks at what to search; and where nothing is sought."""
ASKED_AT_ONCE = 3
"""Peers asked per search: their answers overlap, and one of them may be lying."""
SAVE_EVERY = 120.0
"""Seconds between writes of the DHT's nodes; they also go to the disk when the node stops."""
MEASURE_EVERY = (1.0, 30.0)
"""Seconds between looks at the routing table: while it is empty, and later."""
ENTER_EVERY = 5.0
"""Seconds between attempts at the entries while the table is empty."""
CLOSE_LIMIT = 2.0


class Discovery(Actor[DiscoveryMessage]):
    def __init__(
        self,
        io: IoLoop,
        identity: Identity,
        net: NetworkId,
        region: Region,
        *,
        open_dht: Callable[[], Dht] | None,
        entries: tuple[str, ...],
        lookout: Lookout,
        nodes: DhtNodes,
        bootstrap: BootstrapSource | None,
        demos: bool,
        registry: Address[RegistryMessage],
        swarm_peer: Address[SwarmPeerMessage],
        now_ms: Callable[[], int],
    ) -> None:
        super().__init__()
        self._io = io
        self._net, self._region = net, region
        self._open_dht = open_dht
        self._entries = [node for text in entries if (node := host_and_port(text)) is not None]
        self._lookout, self._nodes = lookout, nodes
        self._entrances = Entrances(
            io, bootstrap, identity.node_id, read=lambda: self.address.tell(BootstrapRead())
        )
        self._registry, self._swarm_peer = registry, swarm_peer
        self._now_ms = now_ms
        self._seeking = Seeking()
        self._herald = Herald(identity, net, region, demos=demos)
        self._peers: tuple[PeerView, ...] = ()
        self._dht: Dht | None = None
        self._table = TableSize(0, 0, 0)
        self._asked: dict[bytes, str] = {}
        self._copies = 0
        self._problem = ""
        self._resting = False
        self._measured = self._entered = self._saved = float("-inf")

    # -- life ------------------------------------------------------------------------------------

    def on_start(self) -> None:
        self._entrances.load()
        if self._open_dht is not None:
            try:
                self._dht = self._open_dht()
            except DhtUnavailable as unavailable:
                self._problem = str(unavailable)
                logger.warning("%s", unavailable)
            else:
                self._io.run(self._watch(self._dht), CLOSE_LIMIT)
        self._saved = time.monotonic()
        self.address.tell_later(TICK, Tick(), replace=True)

    async def _watch(self, dht: Dht) -> None:
        def woken() -> None:
            dht.drain()  # here, or the loop would be woken again until this actor has come round to it
            self.address.tell(Woken())

        self._io.loop.add_reader(dht.wake, woken)

    async def _unwatch(self, dht: Dht) -> None:
        self._io.loop.remove_reader(dht.wake)

    def on_exit(self) -> None:
        self._lookout.hopeful = False
        if self._dht is not None:
            with contextlib.suppress(TimeoutError):
                self._io.run(self._unwatch(self._dht), CLOSE_LIMIT)
            self._nodes.save(self._dht.nodes())
            self._dht.close()

    def on_receive(self, message: DiscoveryMessage) -> Any:
        if self._resting and not isinstance(message, Tick | DescribeDiscovery):
            self._resting = False
            self.address.tell_later(TICK, Tick(), replace=True)
        match message:
            case Announce(record, whereabouts):
                self._herald.changed(record, whereabouts)
            case PeersChanged(peers):
                self._peers_changed(peers)
            case Seek(model):
                self._seeking.want(canonical(model) if model else "", time.monotonic())
            case Locate(peer):
                if self._dht is not None:
                    self._dht.locate(peer)
            case DhtEntry(host, port):
                if self._dht is not None:
                    self._dht.enter_by(host, port)
            case BootstrapRead():
                self._entrances.answered(time.monotonic())
            case Woken():
                self._listen()
            case Tick():
                now = time.monotonic()
                self._tick(now)
                settled = self._dht is None and len(self._peers) >= COMPANY
                self._resting = settled and self._seeking.next_due() > now + REST
                self.address.tell_later(REST if self._resting else TICK, Tick(), replace=True)
            case DescribeDiscovery():
                return self._describe()
        return None

    def _peers_changed(self, peers: tuple[PeerView, ...]) -> None:
        self._peers = peers
        serving: dict[str, int] = {"": len(peers)}
        for peer in peers:
            for model in {canonical(served.name) for served in peer.models}:
                serving[model] = serving.get(model, 0) + 1
        self._seeking.there(serving, time.monotonic())

    # -- time ------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        for ring, model in self._seeking.due(now):
            self._search(ring, model)
        self._entrances.tick(now)
        for endpoint, node in self._entrances.dials({peer.node_id for peer in self._peers}, now):
            self._swarm_peer.tell(Dial(endpoint, node))
        dht = self._dht
        if dht is None or not dht.port:
            return
        empty = self._table.nodes == 0
        if now - self._measured >= MEASURE_EVERY[not empty]:
            self._measured = now
            dht.measure()
        if empty and now - self._entered >= ENTER_EVERY:
            self._entered = now
            for host, port in (*self._entries, *self._entrances.dht(), *self._nodes.load()):
                dht.enter_by(host, port)
        if not empty:
            self._herald.proclaim(dht, now)
        if now - self._saved >= SAVE_EVERY:
            self._saved = now
            self._nodes.save(dht.nodes())

    def _search(self, ring: str, model: str) -> None:
        place = place_of(ring, self._region)
        if self._dht is not None:
            asked = topic(self._net, ring, place, model)
            self._asked[asked] = model
            self._dht.seek(asked)
        ask = SeekPeers(model, ring, place, PEERS_PER_ANSWER)
        for peer in random.sample(self._peers, min(ASKED_AT_ONCE, len(self._peers))):
            self._swarm_peer.tell(Say(peer.node_id, ask))
        wanted = set(self._seeking.wants)
        self._asked = {name: of for name, of in self._asked.items() if of in wanted}

    # -- what the DHT says -----------------------------------------------------------------------

    def _listen(self) -> None:
        if self._dht is not None:
            for event in self._dht.poll(self._now_ms()):
                self._heard(event)

    def _heard(self, event: DhtEvent) -> None:
        match event:
            case Announced(asked, endpoints):
                model = self._asked.get(asked)
                if model is not None and not self._seeking.enough(model):
                    self._registry.tell(Found(endpoints, sought=bool(model)))
            case Located(here):
                self._registry.tell(Seen(here))
            case Published(copies):
                self._copies = copies
            case Listening(port):
                self._problem = ""
                self._registry.tell(DhtUp(port))
                self._entered = float("-inf")
            case NotListening(why):
                if self._dht is not None and not self._dht.port:
                    self._problem = f"the DHT's UDP port cannot be opened: {why}"
            case TableSize(nodes):
                if nodes and not self._table.nodes:  # what was said and asked before went nowhere
                    self._herald.again()
                    self._seeking.again(time.monotonic())
                self._table = event
                self._lookout.hopeful = nodes > 0

    def _describe(self) -> dict[str, Any]:
        dht = self._dht
        return {
            "dht": {
                "enabled": self._open_dht is not None,
                "running": dht is not None,
                "port": dht.port if dht is not None else 0,
                "nodes": self._table.nodes,
                "bytes_out": self._table.bytes_out,
                "bytes_in": self._table.bytes_in,
                "copies": self._copies,
                "topics": self._herald.topics,
                "refused": dict(dht.refused) if dht is not None else {},
                "problem": self._problem or self._nodes.problem,
            },
            "bootstrap": self._entrances.describe(),
            "seeking": [model for model in self._seeking.wants if not self._seeking.enough(model)],
        }
