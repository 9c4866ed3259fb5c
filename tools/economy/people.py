"""Honest people: what machines they have, what they ask for and whom they could ask. All from one seed.

What they wish for is drawn without looking at what happens, so the same people want the same things with and
without an attack, and a difference is the attack's.
"""

from __future__ import annotations

from itertools import accumulate
from random import Random
from typing import NamedTuple

from opengateway.ledger.price import reference_price
from tools.economy.market import Account, Market, Work

PARETO = 1.5
"""Shape of machines' sizes: the largest fifth has about 60 % of all there is, as with ordinary wealth."""
BUSY = 1 / 6
"""How much of the machines' time honest people need on average."""
MODELS = {1.2e9: 2, 3.2e9: 3, 7.6e9: 4, 14.8e9: 2, 32.8e9: 1}
"""Active parameters, and how often they are asked for, relatively."""
PROMPT_TOKENS = (5.5, 1.0)
COMPLETION_TOKENS = (5.3, 0.8)
"""Mean and deviation of the logarithm: medians of 245 and 200 tokens with a long tail, like chat logs."""
MOST_TOKENS = 4096
ASKED = 8
"""Workers that can serve a request and are near enough to be asked."""
NEIGHBOURS = 60
"""Workers among which those are found: a search goes from the nearest ring outwards, so a person meets the
same ones again and again."""


class Wish(NamedTuple):
    """Who wants what, and could ask whom."""

    requester: Account
    work: Work
    workers: tuple[Account, ...]
    claims: bool = False
    """Uses up claims on others, by transfers, before anybody's trust."""


class People:
    """`classes` > 1: cyclic demand. People in class k serve its model and want that of class k + 1."""

    def __init__(self, market: Market, count: int, random: Random, *, classes: int = 1) -> None:
        self._random = random
        sizes = [random.paretovariate(PARETO) for _ in range(count)]
        typical = mean_amount()
        total = sum(sizes)
        self.nodes = [market.join(int(typical * count * size / total / BUSY)) for size in sizes]
        self._sizes = list(accumulate(sizes))
        self._near = [self._neighbours(index, sizes, classes) for index in range(count)]

    def _neighbours(self, own: int, sizes: list[float], classes: int) -> tuple[list[int], list[float]]:
        """Of the right class, by their sizes; and the running sums of those."""
        count = len(sizes)
        others = [i for i in range(count) if i != own and (i - own) % classes == 1 % classes]
        # Nobody is near by number, but a ring of numbers gives everybody another neighbourhood.
        others.sort(key=lambda i: min((i - own) % count, (own - i) % count))
        near = sorted(others[:NEIGHBOURS])
        return near, list(accumulate(sizes[i] for i in near))

    def round(self) -> list[Wish]:
        """One wish a node on average; large machines are there because their owners ask for much."""
        count = len(self.nodes)
        return [self._wish(i) for i in self._random.choices(range(count), cum_weights=self._sizes, k=count)]

    def _wish(self, index: int) -> Wish:
        near, weights = self._near[index]
        found = dict.fromkeys(self._random.choices(near, cum_weights=weights, k=ASKED))
        return Wish(self.nodes[index], some_work(self._random), tuple(self.nodes[i] for i in found))


def some_work(random: Random) -> Work:
    (size,) = random.choices(list(MODELS), list(MODELS.values()))
    prompt, completion = (
        max(1, min(MOST_TOKENS, int(random.lognormvariate(*shape))))
        for shape in (PROMPT_TOKENS, COMPLETION_TOKENS)
    )
    most = min(MOST_TOKENS, completion * 3 // 2)
    return Work(reference_price(int(size)), prompt, completion, most)


def mean_amount() -> int:
    """ucr that a request costs on average, by drawing many."""
    random = Random(1)
    return sum(some_work(random).amount for _ in range(5000)) // 5000
