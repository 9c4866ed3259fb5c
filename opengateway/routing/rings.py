"""How far away a peer is, as the search sees it: link, nearest, country, continent, world.

What a peer says of its region is its own word; what the network shows goes first: that it is on our link, and
how long its answers take.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from opengateway import regions
from opengateway.errors import UnknownRegion

NEAREST_MS: Final = 20.0
"""Round trip of the nearest: two homes of one city, each 5 to 10 ms behind its provider, or two data centres
of one region and its neighbours."""


def ring_of(
    peer_region: str,
    own_region: str,
    *,
    on_link: bool,
    best_ms: float | None = None,
    disproved: bool = False,
) -> str:
    """One of placement.RINGS. `best_ms` is the shortest round trip, None before the first: until then a peer
    of our own region counts as near. A region that we do not know, or that the peer cannot be in
    (`disproved`), is as far away as can be."""
    if on_link:
        return "lan"
    if disproved:
        return "world"
    if best_ms <= NEAREST_MS if best_ms is not None else peer_region == own_region:
        return "nearest"
    try:
        theirs, ours = regions.region(peer_region), regions.region(own_region)
    except UnknownRegion:
        return "world"
    if theirs.country == ours.country:
        return "country"
    return "continent" if theirs.continent == ours.continent else "world"


def private(hosts: Iterable[str]) -> bool:
    """Whether an address that cannot be routed in the internet is among these: loopback, link-local or a
    private range. A session over one of them is a session on our own network."""
    for host in hosts:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            continue
        if address.is_private or address.is_loopback or address.is_link_local:
            return True
    return False
