#!/usr/bin/env python3
"""Waiting times by class on a busy node: the unchanged routing code, in simulated time.

    python tools/bench/waiting.py                  # the table of docs/QUEUE.md
    python tools/bench/waiting.py --slots 1 --load 3

Requests come at random (Poisson) at `load` times what the slots can answer, in the given mix of classes;
answers take exponentially long. Whoever is refused for want of room asks again 5 s later, as its node does,
and gives up (or has been answered elsewhere) after two minutes. Waiting is counted from the first time that
it asked.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from opengateway.routing.priority import HEAD_START, Claim, Service, order
from opengateway.routing.queue import (
    FOR_STRANGERS,
    STRANGER_AT_ONCE,
    displaced,
    room,
    stranger_slots,
)
from opengateway.units import NodeId

NODES = {Service.OWNER: 0, Service.FRIEND: 3, Service.SECURED: 12, Service.STRANGER: 12}
"""How many nodes of each class there are."""
AGAIN_S, PATIENCE_S = 5.0, 120.0


@dataclass
class World:
    slots: int
    seconds: float
    random: random.Random
    now: float = 0.0
    waiting: list[Claim] = field(default_factory=list)
    running: list[Claim] = field(default_factory=list)
    first: dict[Claim, float] = field(default_factory=dict)
    """When it asked for the first time, of whoever was refused."""
    waits: dict[Service, list[float]] = field(default_factory=lambda: {s: [] for s in Service})
    let_in: dict[Service, list[float]] = field(default_factory=lambda: {s: [] for s in Service})
    """The same, from when it was let in."""
    gave_up: Counter[Service] = field(default_factory=Counter)
    asked: Counter[Service] = field(default_factory=Counter)
    events: list[tuple[float, int, str, Claim]] = field(default_factory=list)
    number: itertools.count[int] = field(default_factory=itertools.count)

    def at(self, when: float, what: str, claim: Claim) -> None:
        heapq.heappush(self.events, (when, next(self.number), what, claim))

    def per_node(self) -> Counter[NodeId]:
        return Counter(c.requester for c in self.running if c.requester is not None)

    def come(self, claim: Claim) -> None:
        self.asked[claim.service] += claim not in self.first
        if claim.requester is not None:
            peers = [c for c in self.waiting if c.requester is not None]
            gone = displaced(peers, claim, self.per_node(), room(self.slots))
            if gone is not None:
                leaves = [*peers, claim][gone]
                self.refuse(leaves)
                if leaves is claim:
                    return
                self.waiting.remove(leaves)
        self.waiting.append(claim)
        self.serve()

    def refuse(self, claim: Claim) -> None:
        first, again = self.first.pop(claim, claim.since), claim._replace(since=self.now + AGAIN_S)
        if again.since - first > PATIENCE_S:
            self.gave_up[claim.service] += 1
        else:
            self.first[again] = first
            self.at(again.since, "come", again)

    def serve(self) -> None:
        while self.waiting and len(self.running) < self.slots:
            mine = self.per_node()
            for at in order(self.waiting, mine):
                claim = self.waiting[at]
                if claim.service is Service.STRANGER and self._held_back(claim, mine):
                    continue
                self.waiting.pop(at)
                self.running.append(claim)
                self.waits[claim.service].append(self.now - self.first.pop(claim, claim.since))
                self.let_in[claim.service].append(self.now - claim.since)
                self.at(self.now + self.random.expovariate(1 / self.seconds), "end", claim)
                break
            else:
                return

    def _held_back(self, claim: Claim, mine: Counter[NodeId]) -> bool:
        strangers = sum(1 for c in self.running if c.service is Service.STRANGER)
        own = mine[claim.requester] if claim.requester is not None else 0
        return strangers >= stranger_slots(self.slots) or own >= STRANGER_AT_ONCE

    def run(self, until: float) -> None:
        while self.events and self.now < until:
            self.now, _, what, claim = heapq.heappop(self.events)
            if what == "end":
                self.running.remove(claim)
                self.serve()
            else:
                self.come(claim)


def arrivals(world: World, mix: dict[Service, float], load: float, until: float) -> None:
    for service, share in mix.items():
        rate = load * share * world.slots / world.seconds
        when = 0.0
        while rate and (when := when + world.random.expovariate(rate)) < until:
            who = None
            if NODES[service]:
                who = NodeId(bytes([service, world.random.randrange(NODES[service])]) + bytes(30))
            world.at(when, "come", Claim(service, when, who))


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def measure(slots: int, seconds: float, load: float, hours: float, seed: int) -> list[dict[str, float | str]]:
    world = World(slots, seconds, random.Random(seed))
    mix = {Service.OWNER: 0.15, Service.FRIEND: 0.15, Service.SECURED: 0.45, Service.STRANGER: 0.25}
    arrivals(world, mix, load, hours * 3600)
    world.run(hours * 3600)
    rows: list[dict[str, float | str]] = []
    for service in Service:
        waits = world.waits[service]
        rows.append(
            {
                "class": service.name.lower(),
                "begun": len(waits),
                "mean_s": sum(waits) / len(waits) if waits else 0.0,
                "p50_s": quantile(waits, 0.5),
                "p95_s": quantile(waits, 0.95),
                "max_s": max(waits, default=0.0),
                "in_queue_max_s": max(world.let_in[service], default=0.0),
                "gave_up_percent": 100 * world.gave_up[service] / max(1, world.asked[service]),
                "head_start_s": HEAD_START[service],
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0, help="mean length of an answer")
    parser.add_argument("--load", type=float, default=2.0, help="a multiple of what can be answered")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = measure(given.slots, given.seconds, given.load, given.hours, given.seed)
    if given.json:
        print(json.dumps(rows, indent=1))
        return 0
    places = room(given.slots)
    what = (
        f"{given.slots} slots, answers of {given.seconds:g} s on average, {given.load:g} times the capacity"
    )
    print(f"{what}; room for {places} of peers and {max(1, places // FOR_STRANGERS)} strangers")
    print(f"{'class':10}{'begun':>8}{'mean':>8}{'p50':>8}{'p95':>8}{'max':>8}{'in queue':>10}{'gave up':>9}")
    for row in rows:
        figures = "".join(f"{float(row[name]):8.1f}" for name in ("mean_s", "p50_s", "p95_s", "max_s"))
        figures += f"{float(row['in_queue_max_s']):10.1f}{float(row['gave_up_percent']):8.0f}%"
        print(f"{row['class']:10}{row['begun']:8}{figures}")
    print(
        "seconds from the first asking; in queue: the longest from being let in; gave up: after two minutes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
