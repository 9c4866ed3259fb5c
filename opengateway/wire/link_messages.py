"""What the wire says on a session for its own purposes: sessions.py hears it, no handler does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Sent over the data path, so that a link dead in one direction is noticed."""

    number: ClassVar[int] = 1
    t_us: int
    """The sender's monotonic clock, opaque to the receiver."""


@dataclass(frozen=True, slots=True)
class Pong:
    number: ClassVar[int] = 2
    t_us: int
    """As in the Ping."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Nothing more comes from me on this connection: we have two, and I go on with the other. The wire
    itself says and hears this (peer.py)."""

    number: ClassVar[int] = 5


@dataclass(frozen=True, slots=True)
class Clock:
    """My clock says so; `asks` what yours says. Sent when a clock was set during a session, and answered."""

    number: ClassVar[int] = 65
    t_ms: int
    asks: bool
