"""What is known of one peer. The book of all of them, and its rules: peers.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from opengateway.discovery.addresses import rank_of
from opengateway.discovery.record import LIFE_LIMIT_MS, SKEW_MS
from opengateway.units import NodeId
from opengateway.wire.relay_endpoint import is_relayed

ADDRESS_LIMIT = 16
"""Endpoints kept per peer, as many as one record may name."""

TOMBSTONE_MS = LIFE_LIMIT_MS + 2 * SKEW_MS
"""By then every record signed before the goodbye has expired, so nothing is left to resurrect it."""

RELAYED_BY = 4
"""As many endpoints of one peer are dialled at once."""


@dataclass(slots=True)
class Place:
    """One endpoint of one peer."""

    advertised_ms: int
    failures: int = 0


@dataclass(slots=True)
class Peer:
    """What is known of one peer. Read it freely; only the book changes it."""

    node_id: NodeId
    last_seen_ms: int
    """When anything was last heard of it."""
    answered_ms: int = 0
    """When a session with it was last open; 0 is never: a stranger."""
    last_good: str = ""
    """The endpoint at which it last answered."""
    departed_ms: int = 0
    """When it said goodbye; 0 is not."""
    departed_seq: int = 0
    """The newest record it had published by then."""
    seq: int = 0
    connected: bool = False
    sought: bool = False
    """Somebody told us of it when we asked for whoever serves what is wanted here."""
    let_go: bool = False
    """One of us had enough company: neither lost nor gone."""
    failures: int = 0
    dial_at_ms: int = 0
    dialled_ms: int = 0
    places: dict[str, Place] = field(default_factory=dict)

    def outlived(self, seq: int, now_ms: int) -> bool:
        """Whether a record of this sequence is older than a goodbye that still counts."""
        return (
            bool(self.departed_ms) and now_ms - self.departed_ms < TOMBSTONE_MS and seq <= self.departed_seq
        )

    def endpoints(self) -> tuple[str, ...]:
        """Best first: what failed least, where it last answered, the newest, the simplest. One that leads
        through a relay is always among the first few: it is what works where nothing else does."""

        def worth(item: tuple[str, Place]) -> tuple[int, bool, int, int]:
            text, place = item
            return place.failures, text != self.last_good, -place.advertised_ms, rank_of(text)

        found = [text for text, _ in sorted(self.places.items(), key=worth)]
        relayed = next((at for at, text in enumerate(found) if is_relayed(text)), 0)
        if relayed >= RELAYED_BY:
            found.insert(RELAYED_BY - 1, found.pop(relayed))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Dial:
    node_id: NodeId
    endpoints: tuple[str, ...]
    """Best first."""
