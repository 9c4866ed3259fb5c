"""Credit earned at one node, spent at another: transfers of debt with at most two nodes in between.

X owes R, V owes X; R releases X, and V owes R instead. Only V, the debtor, moves its own debt: it appends
two ADJ legs in one commit, X and R append theirs, and the two legs of each cancel. Two in between are two
such transfers in a row. Nothing but pair totals is touched, so everything here is arithmetic on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from opengateway.ledger.rules import Pair
from tools.economy.market import Account, Market

ASKED = 16
"""R's debtors and V's creditors, the largest first, that are tried for two in between: R asks 16 peers which
of 16 names they are owed by."""


class Route(NamedTuple):
    """Who owes whom: the debtor V, then those in between, then R; each owes the next `amount` ucr or more."""

    nodes: tuple[Account, ...]
    amount: int


def legs(pair: Pair, amount: int) -> tuple[Pair, Pair]:
    """The pair record after an ADJ in the author's favour, and after one in the peer's."""
    return (
        pair._replace(moved_in=pair.moved_in + amount),
        pair._replace(moved_out=pair.moved_out + amount),
    )


def transfer(debtor: Account, middle: Account, creditor: Account, amount: int) -> None:
    """`debtor` owes `amount` to `creditor` instead of to `middle`, which owes `creditor` that much less.

    Raises `ValueError` if one of the two debts is not there: the debtor refuses, and nothing has moved.
    """
    if not 0 < amount <= min(debtor.owes(middle.id), middle.owes(creditor.id)):
        raise ValueError(f"a transfer of {amount} ucr against debts that are smaller")
    for gains, gives in ((debtor, middle), (middle, creditor), (creditor, debtor)):
        # `gives` lets go of a claim on `gains`, or takes on a debt to it: one leg on each of the two chains.
        gains.put(gives.id, legs(gains.debts.pair(gives.id), amount)[0])
        gives.put(gains.id, legs(gives.debts.pair(gains.id), amount)[1])


def execute(route: Route) -> None:
    """Nearest to R first: each transfer makes the next of them owe R."""
    *debtors, creditor = route.nodes
    for debtor, middle in reversed(list(pairwise(debtors))):
        transfer(debtor, middle, creditor, route.amount)


def plan(market: Market, debtor: Account, creditor: Account, need: int, middles: int) -> list[Route]:
    """Routes that together move at least `need` ucr of what `debtor` owes to `creditor`; empty if there are
    not enough. Nothing moves yet, since a part of what is missing is no use to anybody."""
    left: dict[tuple[Account, Account], int] = {}
    routes: list[Route] = []
    for nodes in _routes(market, debtor, creditor, middles):
        debts = list(pairwise(nodes))
        amount = min(need, *(left.get(debt, debt[0].owes(debt[1].id)) for debt in debts))
        if amount <= 0:
            continue
        routes.append(Route(nodes, amount))
        for debt in debts:
            left[debt] = left.get(debt, debt[0].owes(debt[1].id)) - amount
        need -= amount
        if not need:
            return routes
    return []


def _routes(
    market: Market, debtor: Account, creditor: Account, middles: int
) -> Iterable[tuple[Account, ...]]:
    if middles < 1:
        return
    ours = [market.accounts[name] for name in creditor.debtors]
    for middle in ours:
        if middle.id in debtor.creditors:
            yield debtor, middle, creditor
    if middles < 2:
        return
    theirs = [market.accounts[name] for name in debtor.creditors if name != creditor.id]
    near = sorted(ours, key=lambda one: -one.owes(creditor.id))[:ASKED]
    for far in sorted(theirs, key=lambda one: -debtor.owes(one.id))[:ASKED]:
        if far.debts.standing(creditor.id).owed < 0:
            continue  # R owes it: the first transfer would pay that debt and leave nothing for the second
        for middle in near:
            if middle is not debtor and middle.id in far.creditors:
                yield debtor, far, middle, creditor
