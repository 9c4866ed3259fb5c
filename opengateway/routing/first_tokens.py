"""How long first tokens take at each place, and from when one is late. Events in, decisions out."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from opengateway.routing.placement import ASSUMED_TPS
from opengateway.routing.views import ServedModel
from opengateway.units import NodeId

REMEMBERED = 50
"""First tokens of a place: its last minutes."""
PLACES = 512
ENOUGH = 10
"""First tokens from which on a p95 means something."""
LEAST = 1.0
"""Seconds that every first token is given: asking twice costs somebody work, and a second is bearable."""
MARGIN = 1.5
FAR = 4.0
"""Times the median. A place that is late for more than one in twenty has its lateness for its p95, and would
never be late again by that."""
UNKNOWN = 4.0
"""Seconds for a place that has not been seen yet, beside what reading the prompt should take there."""
READING = 10.0
"""How many times faster prompts are read than answers generated, at least, where nobody has measured."""
SHARE, AT_FIRST = 0.05, 2
"""Of all requests so many may be asked twice (Dean, Barroso: The Tail at Scale), beside the first few."""


@dataclass(slots=True)
class FirstTokens:
    _seen: OrderedDict[NodeId, deque[float]] = field(default_factory=OrderedDict)
    asked: int = 0
    hedged: int = 0

    def came(self, place: NodeId, seconds: float) -> None:
        """From asking this place to its first token."""
        self.asked += 1
        seen = self._seen.setdefault(place, deque(maxlen=REMEMBERED))
        seen.append(seconds)
        self._seen.move_to_end(place)
        if len(self._seen) > PLACES:
            self._seen.popitem(last=False)

    def late_after(self, place: NodeId, model: ServedModel | None, prompt_tokens: int, rtt_s: float) -> float:
        """Seconds after which a first token of this place is late."""
        speed = READING * ASSUMED_TPS
        if model is not None and (model.prompt_tps or model.generate_tps):
            speed = model.prompt_tps or READING * model.generate_tps
        reading = MARGIN * prompt_tokens / speed
        seen = self._seen.get(place)
        if seen is None or len(seen) < ENOUGH:
            return UNKNOWN + 2 * rtt_s + reading
        ordered = sorted(seen)
        p95, median = ordered[math.ceil(0.95 * len(ordered)) - 1], ordered[len(ordered) // 2]
        return max(LEAST, min(MARGIN * p95, FAR * median + reading))

    def may_hedge(self) -> bool:
        """Whether one more may be asked twice."""
        return self.hedged < AT_FIRST + SHARE * self.asked
