"""Whose account is whose: old keys and the keys that came after them, and what a proof against one means
for the others."""

from __future__ import annotations

from collections.abc import Iterable

from opengateway.ledger.audit_proof import places_in
from opengateway.ledger.rotation import Rotation
from opengateway.units import NodeId

ROTATION = "rotation"
"""Documents of this kind: the papers of each change of keys, by the old key."""

VOID_FROM = "void from"
"""Documents of this kind: the place (8 B) from which on nothing by an old key of ours is ours."""

LINE_BASE = "line base"
"""Documents of this kind: service that gives a key no line, because it was for the key before it (8 B)."""


class Successors:
    """Of one book. `account` is asked with every entry that comes in."""

    def __init__(self, rotations: Iterable[Rotation] = ()) -> None:
        self.rotations: dict[NodeId, Rotation] = {}
        """By the old key."""
        self._latest: dict[NodeId, NodeId] = {}
        for rotation in rotations:
            self.add(rotation)

    def __contains__(self, key: NodeId) -> bool:
        """Whether this key was given up."""
        return key in self._latest

    def add(self, rotation: Rotation) -> None:
        self.rotations[rotation.old] = rotation
        self._latest = {old: self._end(old) for old in self.rotations}

    def _end(self, key: NodeId) -> NodeId:
        seen = {key}
        while (rotation := self.rotations.get(key)) is not None and rotation.new not in seen:
            key = rotation.new
            seen.add(key)
        return key

    def account(self, key: NodeId) -> NodeId:
        """The key under which the account with this key is kept now."""
        return self._latest.get(key, key) if self._latest else key

    def before(self, key: NodeId) -> frozenset[NodeId]:
        """The keys that this one came after, at whatever distance."""
        return frozenset(old for old in self.rotations if self._follows(old, key))

    def _follows(self, old: NodeId, key: NodeId) -> bool:
        seen = {old}
        while (rotation := self.rotations.get(old)) is not None and rotation.new not in seen:
            old = rotation.new
            if old == key:
                return True
            seen.add(old)
        return False

    def convicted(self, key: NodeId, proof: bytes) -> set[NodeId]:
        """Whom a proof against this key holds against: its successors too, unless the papers name it as an
        accident of which no blame goes over."""
        found = {key}
        while (rotation := self.rotations.get(key)) is not None and not _excused(rotation, proof):
            key = rotation.new
            if key in found:
                break
            found.add(key)
        return found


def _excused(rotation: Rotation, proof: bytes) -> bool:
    """Whether all that it speaks of is of the accident that the papers name."""
    places = places_in(proof)
    return bool(rotation.accident and places) and min(places) >= rotation.accident
