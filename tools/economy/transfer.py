"""Credit earned at one node, spent at another: transfers of debt over at most two others.

X owes R, V owes X; R and X give that up, and V owes R instead. The path and its arithmetic are the node's own
(`Mandate.before` and `after`, `pair_after` of an ADJ): everybody on it appends one leg in and one out, which
cancel. What is checked is what the node checks (`Transfers`): only a debt that is there moves on, less what
its owner is using up right now. The search for paths is what nodes do (LEDGER.md, "Finding a way"), with the
same bounds: R names its largest debtors, V asks its largest creditors, and each of those names one of them.
Here all of them are always connected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

from opengateway.ledger.entry import ADJ
from opengateway.ledger.mandate import Mandate
from opengateway.ledger.routes import FOUND, NAMED
from opengateway.ledger.rules import pair_after
from tools.economy.market import BLANK, Account, Market


class Route(NamedTuple):
    """Who owes whom: the debtor V, then those in between, then R; each owes the next `amount` ucr or more."""

    nodes: tuple[Account, ...]
    amount: int


def transfer(route: Route) -> None:
    """Raises `ValueError` if one of the debts is not there: a signature is refused, and nothing has moved."""
    nodes, amount = route
    if not 0 < amount <= min(debtor.owes(creditor.id) for debtor, creditor in pairwise(nodes)):
        raise ValueError(f"a transfer of {amount} ucr against debts that are smaller")
    mandate = Mandate(b"", b"", amount, tuple(node.id for node in reversed(nodes)), 0, ())
    for node in nodes:
        came_in = BLANK._replace(kind=ADJ, amount=amount)
        went_out = BLANK._replace(kind=ADJ, hold=amount)
        for peer, leg in ((mandate.before(node.id), came_in), (mandate.after(node.id), went_out)):
            node.put(peer, pair_after(node.debts.pair(peer), leg))


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
    named = _largest([market.accounts[name] for name in creditor.debtors], lambda one: one.owes(creditor.id))
    direct = [one for one in named if one.id in debtor.creditors]
    for middle in _largest(direct, lambda one: debtor.owes(one.id))[:FOUND]:
        yield debtor, middle, creditor
    if middles < 2:
        return
    known = {creditor.id, *(one.id for one in named)}
    theirs = [market.accounts[name] for name in debtor.creditors if name not in known]
    for far in _largest(theirs, lambda one: debtor.owes(one.id)):
        owed = _largest([one for one in named if one is not debtor and one.id in far.creditors], _by(far))
        if owed:
            yield debtor, far, owed[0], creditor


def _largest(accounts: Iterable[Account], worth: Callable[[Account], int]) -> list[Account]:
    return sorted(accounts, key=lambda one: -worth(one))[:NAMED]


def _by(far: Account) -> Callable[[Account], int]:
    return lambda one: far.owes(one.id)
