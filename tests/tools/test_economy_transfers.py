"""Transfers of debt in the simulator: arithmetic on pair totals."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opengateway.ledger.admission import Policy
from opengateway.ledger.price import Price
from tools.economy.market import Account, Market, Work
from tools.economy.transfer import Route, plan, transfer


def market(count: int) -> tuple[Market, list[Account]]:
    made = Market(Policy())
    return made, [made.join() for _ in range(count)]


def chain(*amounts: int) -> tuple[Market, list[Account]]:
    """The first owes the second amounts[0], the second the third amounts[1], and so on."""
    made, nodes = market(len(amounts) + 1)
    for debtor, creditor, amount in zip(nodes, nodes[1:], amounts, strict=False):
        made.receipt(creditor, debtor, amount)
    return made, nodes


def test_a_transfer_makes_the_debtor_owe_the_one_at_the_end() -> None:
    _, (debtor, middle, creditor) = chain(100, 70)
    transfer(Route((debtor, middle, creditor), 60))
    assert debtor.owes(middle.id) == 40
    assert middle.owes(creditor.id) == 10
    assert debtor.owes(creditor.id) == 60


def test_both_legs_of_each_node_cancel() -> None:
    made, nodes = chain(100, 70)
    transfer(Route(tuple(nodes), 60))
    for node in nodes:
        pairs = [node.debts.pair(other.id) for other in nodes if other is not node]
        assert sum(pair.moved_in for pair in pairs) == sum(pair.moved_out for pair in pairs) == 60
    assert made.sum_of_pairs() == made.disagreements() == 0


def test_a_transfer_beyond_either_debt_is_refused_and_moves_nothing() -> None:
    for amounts in ((59, 100), (100, 59)):
        made, nodes = chain(*amounts)
        with pytest.raises(ValueError, match="smaller"):
            transfer(Route(tuple(nodes), 60))
        assert nodes[0].owes(nodes[2].id) == 0
        assert made.sum_of_pairs() == 0


def test_the_same_claim_is_not_given_away_twice() -> None:
    _, nodes = chain(100, 100)
    transfer(Route(tuple(nodes), 100))
    with pytest.raises(ValueError, match="smaller"):
        transfer(Route(tuple(nodes), 1))


def test_a_claim_that_secures_a_request_in_flight_cannot_be_given_away() -> None:
    """Or the same claim would be spent twice: by the request, and by whom it was given to."""
    made, (debtor, middle, creditor) = chain(1000, 1000)
    work = Work(Price(0, 1), 0, 700, 700)
    flight = made.admit(debtor, middle, work, made.verdict(debtor, middle.id, work.hold))
    with pytest.raises(ValueError, match="smaller"):
        transfer(Route((debtor, middle, creditor), 301))
    made.finish(flight, paid=False)
    with pytest.raises(ValueError, match="smaller"):
        transfer(Route((debtor, middle, creditor), 301))
    transfer(Route((debtor, middle, creditor), 300))


def test_two_in_between_are_enough_and_three_too_many() -> None:
    made, nodes = chain(100, 80, 60)
    (route,) = plan(made, nodes[0], nodes[3], 60, middles=2)
    assert route.nodes == tuple(nodes)
    assert not plan(made, nodes[0], nodes[3], 60, middles=1)
    assert not plan(made, nodes[0], nodes[3], 61, middles=2)
    transfer(route)
    assert nodes[0].owes(nodes[3].id) == 60
    assert [one.owes(two.id) for one, two in pairwise(nodes)] == [40, 20, 0]
    assert made.sum_of_pairs() == made.disagreements() == 0
    made, nodes = chain(100, 100, 100, 100)
    assert not plan(made, nodes[0], nodes[4], 1, middles=2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 1000)), max_size=40),
    st.integers(1, 3000),
)
def test_a_plan_moves_exactly_what_was_needed_or_there_is_none(
    debts: list[tuple[int, int, int]], need: int
) -> None:
    made, nodes = market(6)
    for debtor, creditor, amount in debts:
        if debtor != creditor:
            made.receipt(nodes[creditor], nodes[debtor], amount)
    before = nodes[0].debts.standing(nodes[5].id).owed
    net = [sum(totals.owes_us for totals in node.debts.all()) for node in nodes]
    routes = plan(made, nodes[0], nodes[5], need, middles=2)
    for route in routes:
        transfer(route)
    assert nodes[0].debts.standing(nodes[5].id).owed == before + (need if routes else 0)
    assert [sum(totals.owes_us for totals in node.debts.all()) for node in nodes] == net
    assert made.sum_of_pairs() == made.disagreements() == 0


def test_who_owes_one_in_between_can_still_be_paid_through_it() -> None:
    """The path is one transfer: what R owes to one on it is not paid on the way."""
    made, nodes = chain(100, 80, 60)
    made.receipt(nodes[1], nodes[3], 50)
    (route,) = plan(made, nodes[0], nodes[3], 60, middles=2)
    transfer(route)
    assert nodes[0].owes(nodes[3].id) == 60
    assert nodes[3].owes(nodes[1].id) == 50
