"""Slots that peers hold for us, counted down as requests go there."""

from __future__ import annotations

import pytest

from opengateway.routing.quotebook import SPARE_S, QuoteBook
from opengateway.routing.views import FREE, Quotation
from opengateway.units import NodeId

PEER = NodeId(bytes([1]) * 32)
HELD_S = 2 * SPARE_S


def quote(held: int, *, free: int | None = None) -> Quotation:
    return Quotation(PEER, 1, "m", FREE, 0, held if free is None else free, held, HELD_S, 0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("later", [0.0, 0.9 * SPARE_S, 1.5 * SPARE_S])
def test_a_held_slot_is_used_once_however_old_its_quote_is(later: float) -> None:
    book = QuoteBook()
    book.quoted(quote(2), 0.0)
    book.expire(later)
    for left in (1, 0, 0):
        book.use(PEER, "m")
        assert book.held(PEER, "m", later) == left
    assert not book.sure(PEER, "m", later)


def test_a_slot_that_was_free_and_not_held_is_used_once() -> None:
    book = QuoteBook()
    book.quoted(quote(0, free=1), 0.0)
    assert book.sure(PEER, "m", 0.0)
    book.use(PEER, "m")
    assert not book.sure(PEER, "m", 0.0)


def test_a_lapsed_slot_is_nobodys() -> None:
    book = QuoteBook()
    book.quoted(quote(1), 0.0)
    assert book.unused("m", 0.0) == 1
    book.expire(HELD_S)
    assert book.held(PEER, "m", HELD_S) == 0
    assert book.give_back("m") == []
