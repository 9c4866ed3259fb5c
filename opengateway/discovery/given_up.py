"""Keys that were given up: whoever was known by one goes on by another."""

from __future__ import annotations

from collections.abc import Mapping

from opengateway.units import NodeId


def latest(given_up: Mapping[NodeId, NodeId], key: NodeId) -> NodeId:
    """Who goes on for this key now. `given_up`: each such key, and the one that came after it."""
    for _ in range(len(given_up)):
        key = given_up.get(key, key)
    return key
