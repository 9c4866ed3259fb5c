"""Where a request goes: pure functions from what is known to an order of places. No I/O, no clock.

A place is a worker of this node (its name) or a peer (its id). The expected time until an answer of
`ANSWER_TOKENS` tokens is complete decides: round trip + waiting + tokens / speed. A node that has just
failed or refused is asked last, not never: a penalty fades, a ban would make a small network smaller.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from opengateway.units import NodeId

Scope: TypeAlias = Literal["local", "friends", "anywhere"]

ANSWER_TOKENS = 200
"""Tokens of the answer that the estimate is made for: the median chat answer is a few hundred."""
ASSUMED_TPS = 10.0
"""Generated tokens/s of a model that nobody has measured yet: a 7B model on a desktop processor."""
RINGS = ("local", "lan", "nearest", "country", "continent", "world")
FRIENDLY = {"local", "lan"}


@dataclass(frozen=True, slots=True)
class Offer:
    """One place that serves the model that is asked for."""

    place: str | NodeId
    ring: str
    rtt_s: float
    slots: int
    busy: int
    """Requests that are known to be there: ours, and at this node everyone's."""
    generate_tps: float
    """0 where nobody has measured it."""
    penalty_s: float = 0.0
    """Seconds added for recent failures."""


def offered(ring: str, *, demo: bool, private: bool) -> bool:
    """Whether a model may be used across this ring: the pocket model stays on its own link, except in a
    private network, whose members know what they have."""
    return not demo or private or ring in FRIENDLY


def expected_seconds(offer: Offer) -> float:
    """Time to a complete answer if the request went there now."""
    speed = offer.generate_tps or ASSUMED_TPS
    turns_before = max(0, offer.busy - offer.slots + 1) / max(1, offer.slots)
    return offer.rtt_s + (1.0 + turns_before) * ANSWER_TOKENS / speed + offer.penalty_s


def in_scope(offer: Offer, scope: str) -> bool:
    """`local`: this node; `friends`: this node and its link; `anywhere`: everyone."""
    if scope == "local":
        return offer.ring == "local"
    return scope != "friends" or offer.ring in FRIENDLY


def order(offers: Iterable[Offer], scope: str) -> list[Offer]:
    """The places to try, best first: those with a free slot before those without, then nearer rings,
    then the shorter expected time. Asking farther away while a nearer place is free wastes everyone's
    round trips; waiting for the nearer one while the farther one idles wastes the caller's time."""
    return sorted(
        (offer for offer in offers if in_scope(offer, scope)),
        key=lambda o: (o.busy >= o.slots or o.penalty_s > 0, RINGS.index(o.ring), expected_seconds(o)),
    )


def same_model(asked: str, served: str) -> bool:
    """Ollama's `name` and `name:latest` are one model; case never tells models apart."""
    return plain_name(asked) == plain_name(served)


@lru_cache(maxsize=1024)
def plain_name(name: str) -> str:
    """The same for all spellings of one model."""
    return name.strip().lower().removesuffix(":latest")


def nearest_names(asked: str, served: Sequence[str]) -> list[str]:
    """Up to three served names that a typo may have meant."""
    return difflib.get_close_matches(asked.lower(), [*dict.fromkeys(served)], n=3, cutoff=0.4)
