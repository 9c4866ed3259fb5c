"""What became of a request, step by step: rings, quotes, choices, failures. Bounded, and free of content.

Written by whoever decides, read by people. An event costs half a microsecond, so every request has a trace.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

MOST_EVENTS = 400
"""Events of one request: 64 parts with some quotes each."""
FAILED = ("refused", "broken")
"""With one of these a request has ended that was not answered."""
KEPT = 500
"""Requests that a node remembers: at 100 bytes an event some MB at most."""


@dataclass(eq=False, slots=True)
class Trace:
    """Of one request, all its parts included."""

    request: str
    kind: str
    model: str
    scope: str
    began: float
    """Monotonic seconds."""
    began_ms: int
    """The same moment by the wall clock, in ms since 1970."""
    parts: int = 1
    events: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    left_out: int = 0

    def add(self, now: float, what: str, **facts: Any) -> None:
        """`what` is one word: the tables of docs/SEARCH.md and `opengateway trace` have them all."""
        if len(self.events) < MOST_EVENTS:
            self.events.append((now, what, facts))
        else:
            self.left_out += 1

    @property
    def failed(self) -> bool:
        return bool(self.events) and self.events[-1][1] in FAILED

    def summary(self) -> dict[str, Any]:
        """Without the events, but with how it stands: the last of them."""
        nothing: dict[str, Any] = {}
        at, what, facts = self.events[-1] if self.events else (self.began, "submitted", nothing)
        return {
            "request": self.request,
            "kind": self.kind,
            "model": self.model,
            "scope": self.scope,
            "at_ms": self.began_ms,
            "parts": self.parts,
            "last": what,
            "ms": round((at - self.began) * 1000, 3),
            "code": facts.get("code", ""),
            "why": facts.get("why", ""),
        }

    def as_json(self) -> dict[str, Any]:
        """`ms` of an event count from the submission."""
        events = [
            {"ms": round((at - self.began) * 1000, 3), "what": what, **facts}
            for at, what, facts in self.events
        ]
        return self.summary() | {"events": events, "events_left_out": self.left_out}


@dataclass(slots=True)
class Traces:
    """The newest requests of a node."""

    _kept: OrderedDict[str, Trace] = field(default_factory=OrderedDict)

    def keep(self, trace: Trace) -> None:
        self._kept[trace.request] = trace
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def find(self, request: str) -> Trace | None:
        """By its whole id, or by an end of it that only one has; the newest for an empty one."""
        if request in self._kept:
            return self._kept[request]
        if not request:
            return next(reversed(self._kept.values()), None)
        found = [trace for name, trace in self._kept.items() if name.endswith(request)]
        return found[0] if len(found) == 1 else None

    def newest(self, most: int, *, failed: bool = False) -> list[Trace]:
        """The newest first; or only of those that were not answered."""
        found = (trace for trace in reversed(self._kept.values()) if trace.failed or not failed)
        return list(islice(found, most))
