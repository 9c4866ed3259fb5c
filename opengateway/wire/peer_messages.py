"""What nodes say about where they and others are (numbers 70 to 79)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

PEERS_PER_ANSWER = 8
"""Whereabouts in one answer: 8 kB at most, and as many as a node wants for company."""


@dataclass(frozen=True, slots=True)
class Here:
    """I can be reached here (a signed envelope, see discovery/whereabouts.py). You may pass it on."""

    number: ClassVar[int] = 70
    whereabouts: bytes


@dataclass(frozen=True, slots=True)
class SeekPeers:
    """Whom do you know there who serves this?"""

    number: ClassVar[int] = 71
    model: str
    """Empty: anybody."""
    ring: str
    """region, country, continent or world."""
    place: str
    """What that ring is called: `eu-central-1`, `DE`, `EU`, or empty."""
    most: int


@dataclass(frozen=True, slots=True)
class Peers:
    """These, each in its own signed words. Only ever an answer to SeekPeers or SeekNode, and none where I
    know nobody."""

    number: ClassVar[int] = 72
    whereabouts: list[str | bytes]


@dataclass(frozen=True, slots=True)
class SeekNode:
    """Where is this one now? Asked by who had a session with it and finds nobody where it was."""

    number: ClassVar[int] = 73
    node: bytes


PeerMessage: TypeAlias = Here | SeekPeers | Peers | SeekNode
