"""The actors that find and know other nodes, as node.py wires them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from actors.discovery import Discovery
from actors.messages import ClustersRead
from actors.reach import Where
from actors.registry import Registry
from actors.switchboard import Switchboard
from opengateway.discovery.bootstrap_source import BootstrapSource
from opengateway.discovery.dht import Dht
from opengateway.discovery.dht_settings import DhtNodes, DhtSettings
from opengateway.discovery.given_up import latest
from opengateway.discovery.peer_cache import PeerCache
from opengateway.identity import from_base32
from opengateway.models.clusters import fetch
from opengateway.routing.market import Market

if TYPE_CHECKING:
    from opengateway.app.node import Node


def registry(node: Node) -> Registry:
    return Registry(
        node.own,
        node.net,
        cache=PeerCache(node.home.peers_db),
        bootstrap=node.config.wire.bootstrap,
        swarm_peer=node.swarm_peer,
        discovery=node.discovery,
        scheduler=node.scheduler,
        now_ms=_now_ms,
        given_up=node.given_up,
    )


def switchboard(node: Node) -> Switchboard:
    main = from_base32(node.config.ledger.sweep_to) if node.config.ledger.sweep_to else None
    return Switchboard(
        node.io,
        node.identity,
        node.net,
        registry=node.registry,
        scheduler=node.scheduler,
        ledger=node.ledger,
        now_ms=_now_ms,
        given_up=node.given_up,
        sweep_to=lambda: None if main is None else latest(node.given_up, main),
        same_model=node.engines.with_digest,
        where=Where(lambda: node.port.number, node.config.relay.enabled, node.config.wire.map_port),
        tabs=node.lines.tabs,
    )


def market(node: Node) -> Market:
    return Market(node.config.default_model, search=node.lookout)


def discovery(node: Node) -> Discovery:
    dht = node.config.dht
    settings = DhtSettings(
        host=node.config.wire.host,
        port=dht.port,
        mainline=dht.mainline,
        guarded=dht.mainline or not (node.own.private or node.own.host_is_local),
    )
    return Discovery(
        node.io,
        node.identity,
        node.net,
        node.region,
        open_dht=(lambda: Dht(node.net, settings)) if dht.enabled else None,
        entries=dht.entries,
        lookout=node.lookout,
        nodes=DhtNodes(node.home.dht_nodes),
        bootstrap=_bootstrap(node),
        demos=node.own.private,
        registry=node.registry,
        swarm_peer=node.swarm_peer,
        now_ms=_now_ms,
    )


def _bootstrap(node: Node) -> BootstrapSource | None:
    wanted = node.config.bootstrap
    if not wanted.source:
        return None
    publishers = tuple(from_base32(one) for one in wanted.publishers)
    return BootstrapSource(
        wanted.source, node.net, publishers, wanted.needed, node.home.bootstrap_json, _now_ms
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def read_clusters(node: Node) -> None:
    registry = await fetch(node.config.cluster_registry_url, node.home.path / "clusters.json")
    node.registry.tell(ClustersRead(registry))
