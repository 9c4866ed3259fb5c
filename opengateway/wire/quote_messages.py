"""What nodes say about a request before it is asked: price, free slots, queue (numbers 100 to 109).

PROTOCOL.md, "Quotes", says the same in prose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from opengateway.wire.limits import STREAMS_PER_PEER

MOST_SLOTS = STREAMS_PER_PEER
"""Slots in one question: more requests than that a peer may not have here."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What would this cost, when could it begin, and would you hold `slots` for me for a moment? Nothing is
    owed by it. With 0 slots nothing is held either."""

    number: ClassVar[int] = 100
    stream: int
    kind: str
    model: str
    prompt_tokens: int
    """At most."""
    max_completion: int
    slots: int


@dataclass(frozen=True, slots=True)
class Quoted:
    """I would. `quote` is a signed envelope (engines/quotation.py). A refusal comes as Refused, signed."""

    number: ClassVar[int] = 101
    stream: int
    quote: bytes


@dataclass(frozen=True, slots=True)
class Released:
    """I do not need the slots that you hold for this quote, or what is left of them."""

    number: ClassVar[int] = 102
    stream: int


QuoteMessage: TypeAlias = Quote | Quoted | Released
