"""How much one peer may say of one kind in a minute: what is beyond it costs us nothing."""

from __future__ import annotations

import time

from opengateway.units import NodeId


class PerMinute:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heard: dict[NodeId, list[float]] = {}

    def takes(self, peer: NodeId) -> bool:
        """Whether this one is still within it."""
        now = time.monotonic()
        recent = [at for at in self._heard.get(peer, []) if at > now - 60.0]
        self._heard[peer] = [*recent, now][-self._limit :]
        return len(recent) < self._limit

    def lost(self, peer: NodeId) -> None:
        self._heard.pop(peer, None)
