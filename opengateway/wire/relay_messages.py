"""What nodes say about being reached: circuits through relays, dial-back, addresses seen (numbers 80-99).

A circuit is one connection through a relay. Its number is drawn by whoever opens it on that session (the
one end towards the relay, the relay towards the other end): even by the node with the smaller id, odd by
the other, and rising. Each half of a circuit has its own number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Reserve:
    """Please relay circuits to me. Said again before the reservation ends."""

    number: ClassVar[int] = 80


@dataclass(frozen=True, slots=True)
class Reserved:
    """I do, for so long, as long as our session lasts. `endpoint` is where others find me."""

    number: ClassVar[int] = 81
    endpoint: str
    life_s: int


@dataclass(frozen=True, slots=True)
class NotReserved:
    """I do not. `reason` is a short name."""

    number: ClassVar[int] = 82
    reason: str


@dataclass(frozen=True, slots=True)
class Open:
    """To a relay: a circuit to this node, please. Frames may follow at once."""

    number: ClassVar[int] = 83
    circuit: int
    target: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """From a relay: a circuit from this node."""

    number: ClassVar[int] = 84
    circuit: int
    source: bytes


@dataclass(frozen=True, slots=True)
class Carried:
    """A piece of one frame of a circuit; `last` ends the frame."""

    number: ClassVar[int] = 85
    circuit: int
    last: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Credit:
    """You may send so many bytes more on this circuit: back-pressure, hop by hop."""

    number: ClassVar[int] = 86
    circuit: int
    amount: int


@dataclass(frozen=True, slots=True)
class Closed:
    """This circuit is over. `reason` is for people."""

    number: ClassVar[int] = 87
    circuit: int
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """I see you at this address. `port` is where I dialled you; 0 if you dialled me."""

    number: ClassVar[int] = 88
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class DialBack:
    """Please open a new connection to me, at the address that you see me at and this port, and say the nonce
    there (knock.py)."""

    number: ClassVar[int] = 89
    port: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class NotReached:
    """I did not, or could not. `reason` is for people."""

    number: ClassVar[int] = 90
    nonce: bytes
    reason: str


CircuitMessage: TypeAlias = Reserve | Open | Opened | Carried | Credit | Closed
"""What the wire itself hears; it passes the others to its handler."""

ReachMessage: TypeAlias = Reserved | NotReserved | Seen | DialBack | NotReached

RelayMessage: TypeAlias = CircuitMessage | ReachMessage
