"""A worker that earned by a voucher is ahead of its requester's SETTLEs: so far, no further, and only until
the SETTLE comes. What both verifiers say about it is in test_tampering_ahead.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_gone import VOUCHED, admitted, agree, quarter_of_an_hour, served
from ledger_world import NET, Node, World, world

from opengateway.errors import LedgerRefused
from opengateway.ledger.entry import read_form, sign


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "nodes") as here:
        yield here


def refused(reason: str, worker: Node, settle: bytes, requester: Node) -> None:
    with pytest.raises(LedgerRefused) as caught:
        worker.book.earn(settle, requester.id)
    assert caught.value.reason == reason


def test_settles_are_earned_in_their_order_whatever_was_earned_by_vouchers(made: World) -> None:
    bob, ann = made.node("bob"), made.node("ann")
    first, second, third, fourth = (served(bob, ann) for _ in range(4))
    late = bob.settle(second, completion=100)
    quarter_of_an_hour(ann)
    assert ann.book.peer(bob.id).served == 4 * VOUCHED
    bob.pay(ann, late)
    bob.pay(ann, bob.settle(fourth, completion=64))
    bob.pay(ann, bob.settle(first, completion=80))
    ann.crash()
    bob.pay(ann, bob.settle(third, completion=100))
    agree(bob, ann)


def test_one_that_overtook_another_is_refused_also_where_the_sums_would_fit(made: World) -> None:
    """Who looked at `served` alone would take the second for the first: the voucher is worth as much."""
    bob, ann = made.node("bob"), made.node("ann")
    first, second = served(bob, ann), admitted(bob, ann)
    quarter_of_an_hour(ann)
    one, other = bob.settle(first, completion=64), bob.settle(second, completion=64)
    refused("out_of_order", ann, other, bob)
    bob.pay(ann, one)
    bob.pay(ann, other)
    agree(bob, ann)


def test_a_settle_over_its_voucher_alone_stands_in_the_order_too(made: World) -> None:
    """Nothing is left to earn for it, but what it says of the pair must be true all the same."""
    bob, ann, cid = made.node("bob"), made.node("ann"), made.node("cid")
    bob.ask(ann)
    rid = served(bob, ann)
    quarter_of_an_hour(ann)
    bob.open(cid)  # so that the SETTLE has no neighbour that Ann knows: it would be fraud, and not only wrong
    honest = bob.settle(rid, completion=64)
    settle = read_form(honest, NET).entry
    refused("out_of_order", ann, sign(bob.identity, settle._replace(consumed=settle.consumed - 1)).wire, bob)
    bob.pay(ann, honest)
    agree(bob, ann)


def test_the_rest_may_come_twice_like_every_receipt(made: World) -> None:
    bob, ann = made.node("bob"), made.node("ann")
    rid = served(bob, ann)
    quarter_of_an_hour(ann)
    settle = bob.settle(rid, completion=100)
    bob.pay(ann, settle)
    bob.pay(ann, settle)
    bob.crash()
    bob.pay(ann, settle)
    agree(bob, ann)


def test_who_is_back_is_told_what_was_earned_meanwhile_and_does_not_mind(made: World) -> None:
    """Bob's request still hangs when Ann, who earned by its voucher, asks him something herself."""
    bob, ann = made.node("bob"), made.node("ann")
    rid = served(bob, ann)
    quarter_of_an_hour(ann)
    ann.ask(bob)
    bob.ask(ann)
    bob.pay(ann, bob.settle(rid, completion=100))
    agree(bob, ann)


def test_nobody_claims_more_than_was_settled_and_vouched_for(made: World) -> None:
    bob, ann = made.node("bob"), made.node("ann")
    served(bob, ann)
    quarter_of_an_hour(ann)
    settle = bob.settle(admitted(bob, ann), completion=50)
    honest = read_form(ann.book.earn(settle, bob.id), NET).entry
    for lie in (honest.served + 1, honest.served - VOUCHED - 1):
        with pytest.raises(LedgerRefused) as caught:
            bob.book.countersigned(sign(ann.identity, honest._replace(served=lie)).wire, ann.id)
        assert caught.value.reason == "pairview"
    _, opening = ann.open(bob)
    asked = read_form(opening, NET).entry
    with pytest.raises(LedgerRefused, match="claims"):
        bob.admit(sign(ann.identity, asked._replace(served=asked.served + 1)).wire, ann)
    bob.admit(opening, ann)


def test_a_settle_that_hides_its_other_holds_is_refused(made: World) -> None:
    """Its EARN would be ahead by more than the debtor says it held, and both exports would look forged."""
    bob, ann, cid = made.node("bob"), made.node("ann"), made.node("cid")
    served(bob, ann)
    quarter_of_an_hour(ann)
    rid = admitted(bob, ann)
    bob.open(cid)  # a neighbour of the SETTLE that Ann does not know, or it would be fraud
    settle = read_form(bob.settle(rid, completion=50), NET).entry
    refused("pairview", ann, sign(bob.identity, settle._replace(held=VOUCHED - 1)).wire, bob)
