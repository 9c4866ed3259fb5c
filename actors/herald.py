"""Says in the DHT what this node offers and where it is, again and again, a little at a time."""

from __future__ import annotations

import random

from opengateway.discovery.dht import Dht
from opengateway.discovery.record import NodeRecord
from opengateway.discovery.topics import topics
from opengateway.identity import Identity
from opengateway.models.catalog import canonical
from opengateway.regions import Region
from opengateway.units import NetworkId

ANNOUNCE_S = 15 * 60.0
"""An announcement lives for 30 minutes at a DHT node (libtorrent), so it may be missed once."""
PUBLISH_S = 30 * 60.0
"""A mutable item is to be put again every hour (BEP 44), and is dropped after two."""
JITTER = 0.2
MODELS = 16
"""Announced at most; each takes four topics."""
TOPICS_AT_ONCE = 4
"""Per tick: an announcement is a lookup of some 20 packets, and DHT nodes drop what comes in a burst."""


class Herald:
    def __init__(self, identity: Identity, net: NetworkId, region: Region, *, demos: bool) -> None:
        self._identity, self._net, self._region = identity, net, region
        self._demos = demos
        self._whereabouts = b""
        self._port = 0
        self._due: dict[bytes, float] = {}
        """Topic -> monotonic seconds when it is due."""
        self._publish_at = 0.0

    @property
    def topics(self) -> int:
        return len(self._due)

    def changed(self, record: NodeRecord, whereabouts: bytes) -> None:
        """Our record. What is new is said at once; what is gone fades by itself."""
        port = _port_of(record)
        models = [""]
        if record.state == "ready":
            models += [canonical(o.name) for o in record.models if self._demos or not o.demo][:MODELS]
        due = {topic: 0.0 for model in models for topic in topics(self._net, self._region, model).values()}
        if port == self._port:
            due |= {topic: at for topic, at in self._due.items() if topic in due}
        self._due, self._port = due, port
        if whereabouts != self._whereabouts:
            self._whereabouts, self._publish_at = whereabouts, 0.0

    def again(self) -> None:
        """The DHT has only now nodes to say it to."""
        self._due = dict.fromkeys(self._due, 0.0)
        self._publish_at = 0.0

    def proclaim(self, dht: Dht, now: float) -> None:
        if not self._port:
            return
        for topic in [topic for topic, at in self._due.items() if now >= at][:TOPICS_AT_ONCE]:
            dht.announce(topic, self._port)
            self._due[topic] = now + _varied(ANNOUNCE_S)
        if self._whereabouts and now >= self._publish_at:
            dht.publish(self._identity, self._whereabouts)
            self._publish_at = now + _varied(PUBLISH_S)


def _varied(seconds: float) -> float:
    return seconds * (1 - JITTER + 2 * JITTER * random.random())  # noqa: S311 - jitter, not a secret


def _port_of(record: NodeRecord) -> int:
    """The port that peers dial; 0 while it is not open."""
    return int(record.endpoints[0].rpartition(":")[2]) if record.endpoints else 0
