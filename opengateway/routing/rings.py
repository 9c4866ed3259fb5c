"""How far away a peer is, as the search sees it: link, region, country, continent, world.

What a peer says of its region is its own word; what the network shows (it is on our link) goes first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from opengateway import regions
from opengateway.errors import UnknownRegion


def ring_of(peer_region: str, own_region: str, *, on_link: bool) -> str:
    """One of placement.RINGS. A region that we do not know is as far away as can be."""
    if on_link:
        return "lan"
    if peer_region == own_region:
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
