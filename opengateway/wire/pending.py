"""Handshakes under way, from either end."""

from __future__ import annotations

from dataclasses import dataclass

from opengateway.wire.handshake import Initiator
from opengateway.wire.peer import Session


@dataclass(slots=True)
class Dial:
    endpoint: str
    expect: bytes
    initiator: Initiator
    until: float


@dataclass(slots=True)
class HalfOpen:
    session: Session
    until: float
