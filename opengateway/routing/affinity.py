"""Which place has read a conversation before: engines keep the prefix, and need not read it again.

A conversation is known by hashes of its first one, two, three ... messages. Its next turn has the same
messages, the answer, and a new question; so the longest known prefix names the place.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import orjson

from opengateway.routing.placement import Place, plain_name

KEPT = 4096
"""Conversations remembered; 120 bytes each."""
KEPT_S = 600.0
"""An engine's slot holds a prefix until somebody else needs the slot; ten minutes is a pause in a talk."""
LOOKED_BACK = 8
"""Messages at the end that may be new: a turn has two, one with tool calls some more."""
LEAST_BYTES = 64
"""A conversation shorter than that is read faster than anybody can be preferred for it."""


@dataclass(slots=True)
class Affinity:
    _homes: OrderedDict[bytes, tuple[Place, float]] = field(default_factory=OrderedDict)

    def remember(self, model: str, body: dict[str, Any], place: Place, now: float) -> None:
        """This place has answered this conversation."""
        keys = _keys(model, body)
        if keys:
            self._homes[keys[-1]] = (place, now)
            self._homes.move_to_end(keys[-1])
            if len(self._homes) > KEPT:
                self._homes.popitem(last=False)

    def home(self, model: str, body: dict[str, Any], now: float) -> Place | None:
        """Who holds the longest prefix of this conversation; None for a new one, at no cost."""
        messages = body.get("messages")
        if not self._homes or not isinstance(messages, list) or len(messages) < 3:
            return None
        for key in reversed(_keys(model, body)[-1 - LOOKED_BACK :]):
            found = self._homes.get(key)
            if found is not None and now - found[1] < KEPT_S:
                return found[0]
        return None


def _keys(model: str, body: dict[str, Any]) -> list[bytes]:
    """One per prefix of the messages, shortest first; empty for what is no conversation."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return []
    keys, length = [], 0
    hashed = hashlib.blake2b(plain_name(model).encode(), digest_size=16)
    for message in messages:
        raw = orjson.dumps(message)
        length += len(raw)
        hashed.update(raw)
        keys.append(hashed.digest() if length >= LEAST_BYTES else b"")
    return keys if keys and keys[-1] else []
