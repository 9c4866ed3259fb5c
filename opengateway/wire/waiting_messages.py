"""What a node says to a peer whose request waits there (numbers 120 to 129)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Queued:
    """Your request waits here: at this place, for about so long. Said again when that changes, and from time
    to time as a sign of life. Not an answer yet."""

    number: ClassVar[int] = 120
    stream: int
    position: int
    """1 is next; 0: it waits no longer, its answer is being made."""
    eta_ms: int
    """From now until it begins; 0: nobody can say."""


WaitingMessage: TypeAlias = Queued
