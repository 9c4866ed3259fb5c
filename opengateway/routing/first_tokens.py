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
        seen = self._seen.get(place)
        if seen is not None and len(seen) >= ENOUGH:
            p95 = sorted(seen)[math.ceil(0.95 * len(seen)) - 1]
            return max(LEAST, MARGIN * p95)
        speed = READING * ASSUMED_TPS
        if model is not None and (model.prompt_tps or model.generate_tps):
            speed = model.prompt_tps or READING * model.generate_tps
        return UNKNOWN + 2 * rtt_s + MARGIN * prompt_tokens / speed

    def may_hedge(self) -> bool:
        """Whether one more may be asked twice."""
        return self.hedged < AT_FIRST + SHARE * self.asked
