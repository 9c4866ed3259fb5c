"""What is broken when: a pure function of seed, nodes and seconds, so that a failing run can be repeated.

Each node is struck again and again, with a rest in between; so is the network between them. No two faults
strike one node at once, so that what was broken can be told from what broke it. Every kind has its turn
before any comes a second time.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

MEAN_GAP_S: Final = 6.0
"""From the rest after one fault to the next, of one node."""
NETWORK_GAP_S: Final = 3.0
REST_S: Final = 4.0
"""After a fault is taken back, in which nothing else strikes the same node."""
NETWORK: Final = "network"
CALM_S: Final = 2.0
"""Before the first fault."""
ACTORS: Final = (
    "ledger",
    "network",
    "registry",
    "swarm_peer",
    "discovery",
    "gauge",
    "inference",
    "scout",
    "scheduler",
    "gateway",
)
"""Of every node. Workers have an `engine` besides."""
CLOCKS_S: Final = (-3600.0, -300.0, -60.0, 60.0, 300.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Kind:
    shortest_s: float
    longest_s: float
    says: str
    network: bool = False
    """Two sides, and nobody is told."""
    amounts: tuple[float, ...] = (0.0,)


KINDS: Final[dict[str, Kind]] = {
    "kill": Kind(1, 5, "kill -9 of the node, and started again"),
    "engine": Kind(0, 0, "kill -9 of the engine's process"),
    "crash": Kind(0, 0, "one actor raises at its next message"),
    "restart": Kind(0, 0, "SIGTERM, and started again at once"),
    "freeze": Kind(1, 6, "SIGSTOP, then SIGCONT"),
    "files": Kind(3, 8, "no more file descriptors than are open, and so many", amounts=(0, 2, 8)),
    "memory": Kind(3, 8, "no more address space than is used, and so many MiB", amounts=(4, 16, 64)),
    "disk": Kind(3, 8, "the home's disk is full"),
    "clock": Kind(5, 12, "the wall clock is so many seconds off", amounts=CLOCKS_S),
    "partition": Kind(4, 12, "two halves of the network", network=True),
    "one_way": Kind(4, 10, "nothing passes from one node to another", network=True),
    "loss": Kind(4, 10, "this share of the packets to and from a node", network=True, amounts=(0.05, 0.2)),
    "delay": Kind(4, 10, "so many ms more one way, between everybody", network=True, amounts=(60, 250)),
}
"""`leave` is not drawn: the last thing that happens is a kill -9 of a worker that does not come back until
everybody has forgotten it."""
LEAVE: Final = "leave"


@dataclass(frozen=True, slots=True)
class Fault:
    at_s: float
    """Since the first request of the load."""
    kind: str
    targets: tuple[str, ...]
    """The node; of `one_way` who is not heard and who does not hear; of `partition` one half."""
    for_s: float = 0.0
    amount: float = 0.0
    actor: str = ""

    def __str__(self) -> str:
        words = [f"{self.at_s:7.1f} s  {self.kind:<9} {' '.join(self.targets) or 'everybody'}"]
        words += [self.actor] if self.actor else []
        words += [f"{self.amount:g}"] if self.amount else []
        words += [f"for {self.for_s:.1f} s"] if self.for_s else []
        return " ".join(words)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def names(nodes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(workers, callers): half of them, rounded up, have a model."""
    workers = (nodes + 1) // 2
    return (
        tuple(f"worker{n}" for n in range(workers)),
        tuple(f"caller{n}" for n in range(nodes - workers)),
    )


def plan(seed: int, nodes: int, seconds: float, kinds: Sequence[str] = tuple(KINDS)) -> list[Fault]:
    """In order of time; every fault is over by `seconds`, but for the last one, which is LEAVE.

    Raises `ValueError` for a kind that there is not, and for fewer than two nodes.
    """
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if nodes < 2:
        raise ValueError("two nodes at least: one that asks and one that serves")
    chance = random.Random(f"{seed}/{nodes}/{seconds:g}")
    workers, callers = names(nodes)
    everybody = (*workers, *callers)
    decks = {
        one: _Deck(chance, [kind for kind in KINDS if kind in kinds and KINDS[kind].network == one])
        for one in (False, True)
    }
    lanes = [(CALM_S + chance.expovariate(1 / MEAN_GAP_S), name) for name in everybody]
    lanes += [(CALM_S + chance.expovariate(1 / NETWORK_GAP_S), NETWORK)]
    heapq.heapify(lanes)
    faults: list[Fault] = []
    while lanes:
        now, who = heapq.heappop(lanes)
        without = "" if who in workers else "engine"
        kind = decks[who == NETWORK].draw(without)
        if kind is None:
            continue
        rule = KINDS[kind]
        for_s = round(chance.uniform(rule.shortest_s, rule.longest_s), 1)
        targets = _ends(chance, kind, everybody) if rule.network else (who,)
        actor = _actor(chance, who in workers) if kind == "crash" else ""
        if now + for_s > seconds:
            continue
        faults.append(Fault(round(now, 1), kind, targets, for_s, chance.choice(rule.amounts), actor))
        gap_s = NETWORK_GAP_S if rule.network else MEAN_GAP_S
        heapq.heappush(lanes, (now + for_s + REST_S + chance.expovariate(1 / gap_s), who))
    faults.append(Fault(round(seconds, 1), LEAVE, (chance.choice(workers),)))
    return faults


class _Deck:
    """Shuffled anew when it has been dealt."""

    def __init__(self, chance: random.Random, kinds: list[str]) -> None:
        self._chance, self._kinds = chance, kinds
        self._left: list[str] = []

    def draw(self, without: str) -> str | None:
        """The next one, but not this; it stays for somebody else. None if there is no other."""
        if not set(self._kinds) - {without}:
            return None
        while not (fits := [kind for kind in self._left if kind != without]):
            self._left += self._chance.sample(self._kinds, len(self._kinds))
        self._left.remove(fits[0])
        return fits[0]


def _ends(chance: random.Random, kind: str, everybody: tuple[str, ...]) -> tuple[str, ...]:
    many = {"partition": len(everybody) // 2, "one_way": 2, "loss": 1, "delay": 0}[kind]
    return tuple(chance.sample(everybody, many))


def _actor(chance: random.Random, worker: bool) -> str:
    return chance.choice([*ACTORS, "engine"] if worker else ACTORS)
