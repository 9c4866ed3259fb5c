"""Topics: the names under which nodes announce themselves in the DHT, ring by ring.

A node that serves a model announces itself four times for it: in its region, its country, its continent
and the world. So a search can begin next door and widen only as far as it must (BEP 5 has no notion of
near). The empty model stands for the node itself: whoever looks for company and for no model.
"""

from __future__ import annotations

import hashlib
from typing import Final

from opengateway.regions import Region
from opengateway.units import NetworkId

RINGS: Final = ("region", "country", "continent", "world")
"""From the nearest out, in the order of a search."""


def place_of(ring: str, region: Region) -> str:
    """What a ring is called from a region: `eu-central-1`, `DE`, `EU`, and nothing for the world."""
    return {"region": region.code, "country": region.country, "continent": region.continent, "world": ""}[
        ring
    ]


def topic(net: NetworkId, ring: str, place: str, model: str) -> bytes:
    """20 bytes: SHA-1 of `opengateway/1/<net in hex>/<ring>/<place>/<model>`. SHA-1 because BEP 5 addresses
    by it; nothing rests on its strength, since the handshake proves who answers."""
    text = f"opengateway/1/{net.hex()}/{ring}/{place}/{model}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def topics(net: NetworkId, region: Region, model: str) -> dict[str, bytes]:
    """The topic of every ring."""
    return {ring: topic(net, ring, place_of(ring, region), model) for ring in RINGS}
