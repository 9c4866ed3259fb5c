"""What nodes say of an answer that one has begun and another is to go on with (numbers 110 to 119)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Continue:
    """Please answer this, as for Ask, but the answer has begun already: say what comes after `partial`. Only
    to a node whose record names the ability "continue" for the model."""

    number: ClassVar[int] = 110
    stream: int
    kind: str
    model: str
    body: bytes
    """As in Ask: its limits and stop sequences are of the whole answer."""
    streaming: bool
    deadline_ms: int
    opening: bytes
    partial: list[str | bytes]
    """Texts, one for each chunk as it came: nearly always the tokens."""


@dataclass(frozen=True, slots=True)
class Continued:
    """Of the prompt tokens that Ended is about to claim, so many are the partial answer."""

    number: ClassVar[int] = 111
    stream: int
    tokens: int


ContinueMessage: TypeAlias = Continue | Continued
PARTIAL_LIMIT = 1 << 17
"""Chunks in `partial`; the frame's limit is reached before that."""
