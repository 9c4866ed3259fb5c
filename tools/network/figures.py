"""What a run showed: counted as it goes, so that a million requests need no million records."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from opengateway.routing.placement import RINGS
from tools.network.requester import Request
from tools.network.worker import Worker
from tools.network.world import LIARS, World

BALANCES = ("has earned more than it spent", "neither earned nor spent", "has spent more than it earned")
GROUPS = 10
"""Of the nodes that serve, by what they earned."""


def share(values: Iterable[float], part: float) -> float:
    """A quantile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


@dataclass(slots=True)
class Figures:
    rings: Counter[str] = field(default_factory=Counter)
    km: array[float] = field(default_factory=lambda: array("f"))
    quotes: array[float] = field(default_factory=lambda: array("f"))
    """Asked for, by request."""
    asks: array[float] = field(default_factory=lambda: array("f"))
    cpu_ms: array[float] = field(default_factory=lambda: array("f"))
    capacity_s: array[float] = field(default_factory=lambda: array("f"))
    """From the request to a slot, of those that found their first place full."""
    waits: dict[str, array[float]] = field(default_factory=lambda: {name: array("f") for name in BALANCES})
    refused: Counter[str] = field(default_factory=Counter)
    utilisation: list[float] = field(default_factory=list)
    """By hour."""
    far: list[float] = field(default_factory=list)
    """Share of answers of each hour from beyond the own country."""
    lost: int = 0
    fairness: list[dict[str, float]] = field(default_factory=list)
    _hour: Counter[str] = field(default_factory=Counter)

    def request(self, request: Request, world: World) -> None:
        """It has its answer, or was refused."""
        node = request.requester
        balance = node.earned - node.spent
        kind = BALANCES[0 if balance > 0 else 2 if balance < 0 else 1]
        self.quotes.append(request.quotes)
        self.cpu_ms.append(request.cpu * 1000)
        self.lost += request.lost
        if request.refused or request.worker is None:
            self.refused[kind] += 1
            return
        self.asks.append(request.asks)
        wait = request.begun - request.came
        self.waits[kind].append(wait)
        if request.full:
            self.capacity_s.append(wait)
        ring, km = "local", 0.0
        if request.worker is not node:
            ring, _, km = world.far(node, request.worker)
        self.rings[ring] += 1
        self._hour[ring] += 1
        self.km.append(km)

    def hour(self, world: World, workers: Iterable[Worker]) -> None:
        slots = sum(node.slots for node in world.nodes if node.online)
        self.utilisation.append(sum(len(worker.running) for worker in workers) / max(1, slots))
        all_of_it = sum(self._hour.values())
        self.far.append((self._hour["continent"] + self._hour["world"]) / max(1, all_of_it))
        self._hour.clear()

    def closing(self, world: World) -> None:
        """Groups of nodes that serve, the ones that earned least first."""
        serving = sorted((node for node in world.nodes if node.model >= 0), key=lambda node: node.earned)
        size = max(1, len(serving) // GROUPS)
        for at in range(0, size * GROUPS, size):
            group = serving[at : at + size]
            if group:
                earned, received = fmean(n.earned for n in group), fmean(n.spent for n in group)
                self.fairness.append({"earned": earned, "received": received})

    def ring_of_the_median(self) -> str:
        half, total = sum(self.rings.values()) / 2, 0
        for ring in RINGS:
            total += self.rings[ring]
            if total >= half:
                return ring
        return ""

    def as_json(self) -> dict[str, Any]:
        answered, refused = sum(self.rings.values()), sum(self.refused.values())
        return {
            "answered": answered,
            "refused": refused,
            "refused_share": refused / max(1, answered + refused),
            "rings": {ring: self.rings[ring] / max(1, answered) for ring in RINGS},
            "median_ring": self.ring_of_the_median(),
            "median_km": share(self.km, 0.5),
            "quotes_p50": share(self.quotes, 0.5),
            "quotes_p95": share(self.quotes, 0.95),
            "quotes_p99": share(self.quotes, 0.99),
            "places_asked_mean": fmean(self.asks) if self.asks else 0.0,
            "cpu_ms_p50": share(self.cpu_ms, 0.5),
            "cpu_ms_p95": share(self.cpu_ms, 0.95),
            "cpu_ms_max": max(self.cpu_ms, default=0.0),
            "first_was_full": len(self.capacity_s) / max(1, answered),
            "capacity_s_p50": share(self.capacity_s, 0.5),
            "capacity_s_p95": share(self.capacity_s, 0.95),
            "utilisation": fmean(self.utilisation) if self.utilisation else 0.0,
            "utilisation_by_hour": self.utilisation,
            "far_by_hour": self.far,
            "broken_off": self.lost,
            "waiting": {
                name: {
                    "requests": len(waits),
                    "mean_s": fmean(waits) if waits else 0.0,
                    "p95_s": share(waits, 0.95),
                    "refused": self.refused[name] / max(1, self.refused[name] + len(waits)),
                }
                for name, waits in self.waits.items()
            },
            "fairness": self.fairness,
            "liars": LIARS,
        }
