"""Who is served first when not everybody can be: pure arithmetic over times, classes and counts.

Every request has a *rank*, the moment at which it would have come if all classes were one:

    rank = when it came + HEAD_START of its class + TURN for each other request of the same node

The lowest rank goes first. A rank never changes while the request waits, so waiting is what raises it above
those that come later: this is linear ageing, written as one number that needs no clock (Kleinrock, "Queueing
Systems" II, 3.7, time-dependent priorities). From it follows the promise that nobody starves: **whoever comes
more than HEAD_START seconds after a request never goes before it**, whatever its class.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from opengateway.units import NodeId


class Service(enum.IntEnum):
    """The class of a request, best first."""

    OWNER = 0
    """Programs and people on this machine: it is theirs."""
    FRIEND = 1
    """Nodes on our own link, and those that the owner has named."""
    SECURED = 2
    """What we owe them, or a quarter of what they gave us, covers the price."""
    STRANGER = 3
    """Served on trust, from what the others leave."""


HEAD_START: Final[Mapping[Service, float]] = {
    Service.OWNER: 0.0,
    Service.FRIEND: 30.0,
    Service.SECURED: 40.0,
    Service.STRANGER: 60.0,
}
"""Seconds. Most callers wait for two minutes (QUEUE_PATIENCE): a stranger that is let in at all must come to
its turn within them, and half of them are enough to make credit worth having."""
TURN: Final = 5.0
"""Seconds that each further request of one node counts as having come later: with ten at once it shares a
slot with whoever has one, and loses nothing while nobody else wants it. About one short answer of a 7B."""


class Claim(NamedTuple):
    """One request, as far as its place in the queue goes."""

    service: Service
    since: float
    """When it came, in seconds of any clock that only goes forward."""
    requester: NodeId | None = None
    """The node that asks; None: a user of our own, who takes no turns with himself."""


def ranks(claims: Sequence[Claim], running: Mapping[NodeId, int]) -> list[float]:
    """The rank of each. `running`: how many requests of each node are being answered already."""
    before: Counter[NodeId] = Counter(running)
    found = [0.0] * len(claims)
    for index in sorted(range(len(claims)), key=lambda at: claims[at].since):
        claim = claims[index]
        turns = 0
        if claim.requester is not None:
            turns = before[claim.requester]
            before[claim.requester] += 1
        found[index] = claim.since + HEAD_START[claim.service] + TURN * turns
    return found


def order(claims: Sequence[Claim], running: Mapping[NodeId, int]) -> list[int]:
    """Indices of the claims, first to be served first."""
    rank = ranks(claims, running)
    return sorted(range(len(claims)), key=lambda at: (rank[at], claims[at].service, claims[at].since))
