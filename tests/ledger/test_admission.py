"""Whom a node serves: every input of the rule, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_world import MODEL, Node, World, world

from opengateway.errors import LedgerRefused, NotEnoughCredit, OfferOutdated
from opengateway.ledger.admission import SECURED_LEAD, STRANGER_LEAD, Policy
from opengateway.ledger.entry import Signed
from opengateway.ledger.price import Price
from opengateway.units import NodeId

LINE = 10_000
ROOM = Policy(stranger_line=LINE, pool=2 * LINE, pool_refill_per_hour=100)
CLOSED = Policy(stranger_line=0, pool=0)
HOUR_MS = 3_600_000
UNIT = Price(0, 1)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as here:
        yield here


def asks(requester: Node, worker: Node, ucr: int) -> bytes:
    """A request that may cost so much, admitted; its rid."""
    rid, opening = requester.open(worker, prompt=0, most=ucr, price=UNIT)
    worker.admit(opening, requester, UNIT)
    return rid


def missing(requester: Node, worker: Node, ucr: int) -> int:
    """What a request of this price lacks."""
    with pytest.raises(NotEnoughCredit) as refused:
        asks(requester, worker, ucr)
    assert refused.value.hint
    assert refused.value.status == 402
    return refused.value.missing


def test_a_stranger_is_served_up_to_its_line(made: World) -> None:
    stranger, worker = made.node("stranger"), made.node("worker", ROOM)
    assert missing(stranger, worker, LINE + 1) == 1
    asks(stranger, worker, LINE)


def test_a_node_that_gives_nothing_on_trust_serves_only_for_credit(made: World) -> None:
    stranger, worker = made.node("stranger"), made.node("worker", CLOSED)
    assert missing(stranger, worker, 1) == 1


def test_what_the_worker_owes_is_spent_before_any_line(made: World) -> None:
    friend, worker = made.node("friend"), made.node("worker", CLOSED)
    worker.ask(friend, prompt=0, completion=1000, price=UNIT)
    # n = 1000, l = 1000 / 4
    assert missing(friend, worker, 1251) == 1
    asks(friend, worker, 1250)


def test_a_quarter_of_the_service_it_gave_is_its_line_for_ever(made: World) -> None:
    friend, worker = made.node("friend"), made.node("worker", CLOSED)
    worker.ask(friend, prompt=0, completion=1000, price=UNIT)
    friend.ask(worker, prompt=0, completion=1000, price=UNIT)  # it redeems all of it
    assert missing(friend, worker, 251) == 1
    asks(friend, worker, 250)


def test_requests_in_flight_count_before_they_are_paid(made: World) -> None:
    stranger, worker = made.node("stranger"), made.node("worker", ROOM)
    asks(stranger, worker, LINE - 10)
    assert missing(stranger, worker, 11) == 1
    asks(stranger, worker, 10)


def test_what_was_not_paid_counts_until_it_is(made: World) -> None:
    stranger, worker = made.node("stranger"), made.node("worker", ROOM)
    rid = asks(stranger, worker, LINE)
    worker.book.delivered(rid, stranger.id, 0, LINE)
    made.clock.pass_ms(HOUR_MS // 2)
    worker.book.commit()
    assert worker.book.peer(stranger.id).unpaid == LINE
    missing(stranger, worker, LINE)


def test_the_pool_bounds_all_strangers_together(made: World) -> None:
    worker = made.node("worker", ROOM)
    for name in ("first", "second"):
        asks(made.node(name), worker, LINE)
    assert missing(made.node("third"), worker, 5) == 5


def test_secured_service_does_not_touch_the_pool(made: World) -> None:
    worker, friend = made.node("worker", ROOM), made.node("friend")
    worker.ask(friend, prompt=0, completion=5000, price=UNIT)
    for name in ("first", "second"):
        asks(made.node(name), worker, LINE)
    asks(friend, worker, 5000)


@pytest.mark.parametrize(("capacity", "forgiven"), [(0, 100), (50_000, 500), (1_000_000, 10_000)])
def test_the_pool_refills_with_what_the_machine_could_earn(made: World, capacity: int, forgiven: int) -> None:
    """1 % an hour of the measured capacity; a fixed amount until there is a measurement."""
    worker = made.node("worker", ROOM)
    for name in ("first", "second"):
        rid = asks(made.node(name), worker, LINE)
        worker.book.delivered(rid, made.nodes[-1].id, 0, LINE)
    worker.book.measured(capacity)
    missing(made.node("third"), worker, 1)
    made.clock.pass_ms(HOUR_MS)
    assert missing(made.node("fourth"), worker, LINE + forgiven) == LINE + forgiven - min(LINE, forgiven)


def test_a_forger_gets_what_is_owed_to_it_and_no_more(made: World) -> None:
    friend, worker = made.node("friend"), made.node("worker", ROOM)
    worker.ask(friend, prompt=0, completion=1000, price=UNIT)
    worker.book._journal.faulty.add(friend.id)
    assert missing(friend, worker, 1251) == 1
    asks(friend, worker, 1250)


def test_free_work_needs_no_credit(made: World) -> None:
    stranger, worker = made.node("stranger"), made.node("worker", CLOSED)
    free = worker.book.admit(b"", stranger.id, price_prompt=0, price_completion=0)
    assert (free.secured, free.lead) == (True, 0)


def test_how_far_an_answer_runs_ahead_follows_from_what_secures_it(made: World) -> None:
    stranger, friend, worker = made.node("stranger"), made.node("friend"), made.node("worker", ROOM)
    worker.ask(friend, prompt=0, completion=1000, price=UNIT)
    for who, lead in ((stranger, STRANGER_LEAD), (friend, SECURED_LEAD)):
        _, opening = who.open(worker, prompt=0, most=100, price=UNIT)
        found = worker.book.admit(opening, who.id, price_prompt=0, price_completion=1)
        assert found.lead == lead


def test_a_quote_says_what_an_open_would_get_and_reserves_nothing(made: World) -> None:
    stranger, worker = made.node("stranger"), made.node("worker", ROOM)
    for _ in range(3):
        assert worker.book.quote(stranger.id, LINE) == LINE
    with pytest.raises(NotEnoughCredit):
        worker.book.quote(stranger.id, LINE + 1)
    assert worker.book.peer(stranger.id).reserved == 0


def test_what_strangers_must_show_is_asked_of_strangers_only(made: World) -> None:
    stranger, friend, worker = made.node("stranger"), made.node("friend"), made.node("worker", ROOM)
    worker.ask(friend, prompt=0, completion=1000, price=UNIT)
    seen = []

    def stamp(requester: NodeId, opening: Signed) -> None:
        seen.append((requester, opening.entry.author))
        raise NotEnoughCredit("no stamp")

    worker.book.check_strangers(stamp)
    asks(friend, worker, 1000)
    assert not seen
    with pytest.raises(NotEnoughCredit, match="no stamp"):
        asks(stranger, worker, 1)
    assert seen == [(stranger.id, stranger.id)]
    assert worker.book.peer(stranger.id).reserved == 0


def test_who_is_near_need_not_show_what_strangers_must(made: World) -> None:
    neighbour, worker = made.node("neighbour"), made.node("worker", ROOM)

    def stamp(requester: NodeId, opening: Signed) -> None:
        raise NotEnoughCredit("no stamp")

    worker.book.check_strangers(stamp)
    _, opening = neighbour.open(worker, prompt=0, most=100, price=UNIT)
    found = worker.book.admit(opening, neighbour.id, price_prompt=0, price_completion=1, near=True)
    assert found.unsecured == 100


@pytest.mark.parametrize(
    ("link", "price", "reason"),
    [(bytes(32), UNIT, "offer"), (b"n" * 32, Price(0, 2), "price"), (b"o" * 32, UNIT, "offer")],
    ids=["none", "the price has changed", "too old"],
)
def test_an_open_names_one_of_the_last_offers_and_pays_their_price(
    made: World, link: bytes, price: Price, reason: str
) -> None:
    requester, worker = made.node("requester"), made.node("worker", ROOM)
    terms = {"prompt_tokens": 0, "max_completion": 10, "price_prompt": 0, "price_completion": 1}

    def admit(rid: bytes, offer: bytes, now: Price) -> None:
        opening = requester.book.open(worker.id, rid, MODEL, offer=offer, **terms)
        requester.book.commit()
        offers = (b"n" * 32, b"m" * 32)
        prices = {"price_prompt": now.prompt, "price_completion": now.completion}
        worker.book.admit(opening, requester.id, model=MODEL, offers=offers, **prices)

    with pytest.raises(OfferOutdated) as refused:
        admit(b"a" * 16, link, price)
    assert isinstance(refused.value, LedgerRefused)
    assert refused.value.reason == reason
    assert refused.value.hint == "ask for a new quote"
    for offer in (b"n" * 32, b"m" * 32):
        admit(offer[:16], offer, UNIT)
