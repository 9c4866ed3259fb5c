"""Where a request goes: pure functions from what is known to an order of places. No I/O, no clock.

A place is a worker of this node (its name) or a peer (its id). The expected time until an answer is
complete decides: round trip + waiting + prompt / prompt speed + tokens / speed. A node that has just
failed or refused is asked last, not never: a penalty fades, a ban would make a small network smaller.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from opengateway.units import NodeId

Scope: TypeAlias = Literal["local", "friends", "anywhere"]
Place: TypeAlias = str | NodeId
"""A worker of this node (its name) or a peer (its id)."""

ANSWER_TOKENS = 200
"""Tokens of the answer that the estimate is made for: the median chat answer is a few hundred."""
PROMPT_TOKENS = 100
ASSUMED_TPS = 10.0
"""Generated tokens/s of a model that nobody has measured yet: a 7B model on a desktop processor."""
PROMPT_FACTOR = 8.0
"""How much faster a prompt is read than an answer is written, where nobody has measured it: prompts are read
in batches, so a processor does 5 to 10 times as many tokens/s."""
PATIENCE_TPS = 4.0
"""Completion tokens/s, with everything before the first one, below which farther rings are preferred: people
read at 4 to 6 tokens/s. What keeps up with its reader is not made better by asking farther away."""
SLACK_S = 2.0
"""Seconds before the first token that nobody minds."""
DEBTOR = 0.9
"""Of whoever owes us the expected time counts as so much less: first at equal cost, and by no more."""
RINGS = ("local", "lan", "nearest", "country", "continent", "world")
FRIENDLY = {"local", "lan"}
_RANK = {ring: rank for rank, ring in enumerate(RINGS)}


class Demand(NamedTuple):
    """Tokens that a request is expected to take."""

    prompt: int = PROMPT_TOKENS
    completion: int = ANSWER_TOKENS


USUAL = Demand()


@dataclass(slots=True)
class Offer:
    """One place that serves the model that is asked for. Never changed; not frozen, as that takes three times
    as long to make, and one is made for each place of each request."""

    place: Place
    ring: str
    rtt_s: float
    slots: int
    busy: int
    """Requests that are known to be there: ours, and at this node everyone's."""
    generate_tps: float
    """0 where nobody has measured it."""
    penalty_s: float = 0.0
    """Seconds added for recent failures."""
    prompt_tps: float = 0.0
    full_s: float = 0.0
    """Seconds for which it says to be full."""
    owes: bool = False
    """It owes us: what it serves pays that back."""
    home: bool = False
    """It holds the prefix of this conversation: nothing but the newest message is to be read."""
    running_s: tuple[float, ...] = ()
    """For how long each of the busy has been running; empty where nobody has asked for it."""

    @property
    def free(self) -> bool:
        return self.busy < self.slots


def offered(ring: str, *, demo: bool, private: bool) -> bool:
    """Whether a model may be used across this ring: the pocket model stays on its own link, except in a
    private network, whose members know what they have."""
    return not demo or private or ring in FRIENDLY


def answer_seconds(offer: Offer, demand: Demand = USUAL) -> float:
    """Time from a free slot to the last token, without the way there."""
    speed = offer.generate_tps or ASSUMED_TPS
    reading = 0.0 if offer.home else demand.prompt / (offer.prompt_tps or PROMPT_FACTOR * speed)
    return reading + demand.completion / speed


def expected_seconds(offer: Offer, demand: Demand = USUAL) -> float:
    """Time to a complete answer if the request went there now."""
    one = answer_seconds(offer, demand)
    expected = offer.rtt_s + one
    if offer.full_s or offer.busy >= offer.slots:
        turns = max(0, offer.busy - offer.slots + 1) / max(1, offer.slots)
        expected += max(offer.full_s, turns * one)
    return expected * (DEBTOR if offer.owes else 1.0) + offer.penalty_s


def in_time(offer: Offer, demand: Demand = USUAL) -> bool:
    """Whether its reader would not have to wait for the words."""
    return expected_seconds(offer, demand) <= demand.completion / PATIENCE_TPS + SLACK_S


def in_scope(offer: Offer, scope: str) -> bool:
    """`local`: this node; `friends`: this node and its link; `anywhere`: everyone."""
    return ring_in_scope(offer.ring, scope)


def ring_in_scope(ring: str, scope: str) -> bool:
    if scope == "local":
        return ring == "local"
    return scope != "friends" or ring in FRIENDLY


def order(offers: Iterable[Offer], scope: str, demand: Demand = USUAL) -> list[Offer]:
    """The places to try, best first: those with a free slot before those without; then who holds the
    conversation; then those that keep up with a reader before those that do not; of those the nearer ring,
    then the shorter expected time. Asking farther away while a nearer place is free wastes everyone's
    round trips; waiting for the nearer one while the farther one idles wastes the caller's time."""

    return sorted((offer for offer in offers if in_scope(offer, scope)), key=lambda o: _rank(o, demand))


def best(offers: Iterable[Offer], demand: Demand) -> Offer:
    """The first of `order`; there must be one."""
    return min(offers, key=lambda offer: _rank(offer, demand))


def _rank(offer: Offer, demand: Demand) -> tuple[bool, bool, int, float]:
    expected = expected_seconds(offer, demand)
    late = expected > demand.completion / PATIENCE_TPS + SLACK_S
    return (
        offer.busy >= offer.slots or offer.penalty_s > 0 or offer.full_s > 0,
        not offer.home,
        len(RINGS) if late else _RANK[offer.ring],
        expected,
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
