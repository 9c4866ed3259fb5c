"""What routing knows of the places that can answer: plain values, made by the actors from engines and
node records, so that a simulator can make them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from opengateway.units import NodeId


class Price(NamedTuple):
    """Micro-credits per token."""

    prompt: int
    completion: int


FREE = Price(0, 0)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model at one place."""

    name: str
    context: int = 0
    """Tokens; 0 where unknown."""
    parameters_m: int = 0
    """Active parameters in millions; 0 where unknown."""
    prompt_tps: float = 0.0
    generate_tps: float = 0.0
    """Measured tokens/s of one answer alone; 0 where nobody has measured yet."""
    loaded_tps: float = 0.0
    """Of each answer while all slots are busy; 0 where it is not known."""
    price: Price = FREE
    demo: bool = False
    digest: str = ""
    quantisation: str = ""
    size: int = 0
    """Bytes on disk; 0 where unknown."""
    abilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerView:
    """An engine of this node. `models` outlive a crash: they will be back when the engine is."""

    name: str
    engine: str
    state: str
    """starting, running or down."""
    models: tuple[ServedModel, ...] = ()
    slots: int = 0
    detail: str = ""
    """What is wrong, in a sentence."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer that we have a session with."""

    node_id: NodeId
    name: str
    ring: str
    rtt_ms: float | None
    slots: int
    models: tuple[ServedModel, ...]
    offer: bytes = b""
    """What a request that pays these prices names."""
    quiet: bool = False
    """Nothing was heard of it for longer than pings are apart: it may be dead, and is asked last."""
    ahead_ms: int = 0
    """Of our clock."""


@dataclass(slots=True)
class Quotation:
    """What a peer said, signed, to a question for slots. `held` counts down as requests go there."""

    place: NodeId
    number: int
    """Of the question: whoever does not need the slots gives them back by it."""
    model: str
    price: Price
    unsecured: int
    """Of the hold, what nothing covers (ucr)."""
    free: int
    """Slots that were free, those held for us included."""
    held: int
    until: float
    """Monotonic seconds by our own clock, until which they are held."""
    position: int
    """How many wait there before us."""
    start_s: float
    """Seconds until a slot is free."""
    prompt_tps: float
    generate_tps: float
    offer: bytes = b""
