"""The nodes of the signed bootstrap document: knocked at while this node has too little company."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from actors.io_loop import IoLoop
from opengateway.discovery.bootstrap import Bootstrap
from opengateway.discovery.bootstrap_source import BootstrapSource
from opengateway.discovery.dht_settings import host_and_port
from opengateway.units import NodeId

COMPANY = 3
"""Sessions with which a node no longer needs the entrances: a thousand nodes that all kept one with each
entrance would be a star, not a network."""
AT_ONCE = 6
"""A full document, 64 of them, is gone through in 22 s."""
KNOCK_EVERY = (2.0, 60.0)
"""First and longest pause in seconds between two rounds of knocking."""
REFRESH_S = 6 * 3600.0
RETRY_S = (60.0, 3600.0)
"""Pauses while the source gives nothing to believe."""
JITTER = 0.2


class Entrances:
    """Used by Discovery; `read` is told of it when the source has answered."""

    def __init__(
        self, io: IoLoop, source: BootstrapSource | None, own_id: NodeId, *, read: Callable[[], object]
    ) -> None:
        self._io, self._source, self._own_id, self._read = io, source, own_id, read
        self._fetch_at = 0.0
        self._retry = RETRY_S[0]
        self._knock_at, self._pause = 0.0, KNOCK_EVERY[0]
        self._untried: list[NodeId] = []
        """Of this round."""

    def load(self) -> None:
        """The document that the home keeps, for a node whose source is out of reach."""
        if self._source is not None:
            self._source.load()

    def tick(self, now: float) -> None:
        if self._source is not None and now >= self._fetch_at:
            self._fetch_at = float("inf")  # until it has answered
            self._io.spawn(self._fetch(self._source))

    async def _fetch(self, source: BootstrapSource) -> None:
        await source.fetch()
        self._read()

    def answered(self, now: float) -> None:
        """The source has answered, or has not."""
        failed = self._source is not None and bool(self._source.problem)
        pause = self._retry if failed else REFRESH_S
        self._retry = min(self._retry * 2, RETRY_S[1]) if failed else RETRY_S[0]
        self._fetch_at = now + pause * (1 - JITTER + 2 * JITTER * random.random())  # noqa: S311 - jitter
        self._knock_at, self._pause = now, KNOCK_EVERY[0]

    def dials(self, connected: set[NodeId], now: float) -> list[tuple[str, NodeId]]:
        """(endpoint, who must answer) to dial now."""
        document = self._document()
        if document is None:
            return []
        if len(connected) >= COMPANY:
            self._pause = KNOCK_EVERY[0]
            return []
        if now < self._knock_at:
            return []
        others = {e.node_id: e for e in document.nodes if e.node_id not in connected | {self._own_id}}
        # All of them once before any a second time: of a list that somebody has filled with his own, or that
        # is old, a few may be honest.
        if not self._untried:
            self._untried = random.sample(list(others), len(others))
        chosen = [others[node] for node in self._untried[:AT_ONCE] if node in others]
        del self._untried[:AT_ONCE]
        self._knock_at = now + self._pause
        if not self._untried:
            self._pause = min(self._pause * 2, KNOCK_EVERY[1])
        return [(endpoint, entry.node_id) for entry in chosen for endpoint in entry.endpoints]

    def dht(self) -> list[tuple[str, int]]:
        document = self._document()
        return [node for text in document.dht if (node := host_and_port(text))] if document else []

    def _document(self) -> Bootstrap | None:
        return self._source.current() if self._source is not None else None

    def describe(self) -> dict[str, Any]:
        document, source = self._document(), self._source
        return {
            "source": source.location if source is not None else "",
            "nodes": len(document.nodes) if document is not None else 0,
            "made_ms": document.made_ms if document is not None else None,
            "expires_ms": document.expires_ms if document is not None else None,
            "problem": source.problem if source is not None else "",
        }
