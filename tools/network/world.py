"""Made-up nodes in real places: machines, owners, and who knows whom."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from opengateway import regions
from opengateway.routing.reserved import Reserved
from opengateway.routing.rings import ring_of
from opengateway.routing.views import PeerView, Price, ServedModel
from opengateway.units import NodeId

MODELS = ("small", "mid", "large")
SHARE = (0.5, 0.35, 0.15)
"""Of the machines that serve each, and of what is asked for."""
SERVING = 0.6
"""Of all nodes; the others only ask."""
AT_HOME = 0.3
"""Of all nodes have others on their own link."""
LIARS = 0.1
"""Of those that serve claim three times the speed that they have."""
PRICES = (Price(1, 8), Price(3, 24), Price(9, 72))
"""ucr a token; the shape, not the level, matters here."""
DETOUR = 1.6
"""Real paths beside the straight line in fibre."""
ACCESS_MS = 10.0
"""Round trip that the two ends' own lines add."""
KNOWN = (("nearest", 10), ("country", 6), ("continent", 4), ("world", 4))
"""Sessions that a node keeps with each ring, beside its link: about as many as docs/NETWORK.md says."""


@dataclass(eq=False, slots=True)
class Node:
    number: int
    region: regions.Region
    latitude: float
    longitude: float
    link: int
    """Nodes of one link have the same number."""
    model: int
    """Which it serves; -1: none."""
    tps: float
    claimed: float
    slots: int
    activity: float
    """How much its owner asks, beside the others."""
    online: bool = False
    busy: int = 0
    earned: int = 0
    spent: int = 0
    served: int = 0
    received: int = 0
    owes: dict[int, int] = field(default_factory=dict)
    """ucr, by the node that served it."""
    holds: Reserved = field(default_factory=Reserved)

    @property
    def id(self) -> NodeId:
        return node_id(self.number)


def node_id(number: int) -> NodeId:
    return NodeId(number.to_bytes(32))


class Far(NamedTuple):
    ring: str
    rtt_ms: float
    km: float


class World:
    def __init__(self, count: int, seed: int) -> None:
        self.chance = Random(seed)
        places = [place for place in regions.regions().values() if place.open]
        weights = [self.chance.paretovariate(1.2) for _ in places]  # some regions are crowded, most are not
        self.nodes = [self._node(number, *self.chance.choices(places, weights)) for number in range(count)]
        self._links()
        self.by_region: dict[str, list[int]] = {}
        self.by_country: dict[str, list[int]] = {}
        self.by_continent: dict[str, list[int]] = {}
        self.serving = [node.number for node in self.nodes if node.model >= 0]
        for number in self.serving:
            place = self.nodes[number].region
            self.by_region.setdefault(place.code, []).append(number)
            self.by_country.setdefault(place.country, []).append(number)
            self.by_continent.setdefault(place.continent, []).append(number)
        self.links: dict[int, list[int]] = {}
        for node in self.nodes:
            self.links.setdefault(node.link, []).append(node.number)

    def _node(self, number: int, place: regions.Region) -> Node:
        chance = self.chance
        tps = min(300.0, max(1.0, chance.lognormvariate(math.log(15), 0.9)))
        slots = 1 if tps < 20 else 2 if tps < 60 else 4
        serves = chance.random() < SERVING
        model = chance.choices(range(len(MODELS)), SHARE)[0] if serves else -1
        lies = serves and chance.random() < LIARS
        return Node(
            number,
            place,
            place.latitude + chance.gauss(0, 1.5),
            place.longitude + chance.gauss(0, 1.5),
            number,
            model,
            tps,
            tps * (3.0 if lies else 1.0),
            slots if serves else 0,
            chance.paretovariate(1.3),
        )

    def _links(self) -> None:
        """Homes of two to four nodes."""
        left = [node for node in self.nodes if self.chance.random() < AT_HOME]
        while len(left) > 1:
            home = [left.pop() for _ in range(min(len(left), self.chance.randint(2, 4)))]
            for node in home[1:]:
                node.link, node.region = home[0].link, home[0].region
                node.latitude, node.longitude = home[0].latitude, home[0].longitude

    def far(self, one: Node, other: Node) -> Far:
        """How far apart they are, as `one` sees it."""
        km = regions.distance_km(one.latitude, one.longitude, other.latitude, other.longitude)
        on_link = one.link == other.link
        rtt_ms = 0.5 if on_link else ACCESS_MS + DETOUR * km / regions.KM_PER_MS
        ring = ring_of(other.region.code, one.region.code, on_link=on_link, best_ms=rtt_ms)
        return Far(ring, rtt_ms, km)

    def acquaintances(self, node: Node, epoch: int) -> list[int]:
        """Whom it has a session with in this hour, if they are there: its link, and some of every ring."""
        chance = Random(node.number * 1000 + epoch)
        place = node.region
        pools = (
            self.by_region.get(place.code, ()),
            self.by_country.get(place.country, ()),
            self.by_continent.get(place.continent, ()),
            self.serving,
        )
        known = dict.fromkeys(self.links[node.link])
        for (_, most), pool in zip(KNOWN, pools, strict=True):
            there = [n for n in chance.choices(pool, k=4 * most) if self.nodes[n].online] if pool else []
            known |= dict.fromkeys(there[:most])
        known.pop(node.number, None)
        return list(known)

    def view(self, one: Node, other: Node) -> PeerView:
        far = self.far(one, other)
        models: tuple[ServedModel, ...] = ()
        if other.model >= 0:
            models = (
                ServedModel(MODELS[other.model], generate_tps=other.claimed, price=PRICES[other.model]),
            )
        return PeerView(other.id, "", far.ring, far.rtt_ms, other.slots, models)
