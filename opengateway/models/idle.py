"""When this machine is lent: what the owner allows, held against the clock and the load. No I/O, no clock.

The owner comes first: one look at his own work takes the machine back, several quiet ones in a row lend it
again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from opengateway.hours import Span
from opengateway.models.machine import Load

QUIET_LOOKS: Final = 6
"""Looks in a row without the owner before the machine is lent again: 15 s, the pauses of somebody typing."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner allows."""

    when: str = "always"
    """always, idle or never."""
    hours: tuple[Span, ...] = ()
    """Only then; empty: at any time."""
    on_battery: bool = False
    busy_percent: float = 25.0
    """Of all cores, or of a GPU, by programs that are not ours: a game or a compiler is above it, a browser
    that is read stays below."""


def reason(policy: Policy, load: Load, now: datetime) -> str:
    """Why the machine is not lent at this moment, for its owner; empty if it is."""
    if policy.when == "never":
        return "you lend it to nobody"
    if policy.hours and not any(span.holds(now) for span in policy.hours):
        return "it is outside of the hours that you lend it"
    if load.plugged is False and not policy.on_battery:
        return "it runs on battery"
    if policy.when != "idle":
        return ""
    if load.owner_cpu_percent > policy.busy_percent:
        return f"you use it ({load.owner_cpu_percent:.0f} % of its CPU)"
    if (load.owner_gpu_percent or 0.0) > policy.busy_percent:
        return f"you use it ({load.owner_gpu_percent:.0f} % of its GPU)"
    return ""


class Lending:
    """The looks, one after the other, and what follows from them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.why = ""
        self._quiet = 0

    def look(self, load: Load, now: datetime) -> bool:
        """Whether `why` has changed from or to empty."""
        why = reason(self.policy, load, now)
        self._quiet = 0 if why else self._quiet + 1
        before = self.why
        if why or self._quiet >= QUIET_LOOKS:
            self.why = why
        return bool(before) != bool(self.why)
