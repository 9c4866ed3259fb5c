"""A request's life in two ledgers, and everything that a worker refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_world import MODEL, NET, PRICE, START_MS, World, world

from opengateway.errors import LedgerRefused, NotEnoughCredit
from opengateway.identity import Identity
from opengateway.ledger import worker
from opengateway.ledger.admission import Policy
from opengateway.ledger.entry import OPEN, SETTLE, Entry, read_form, sign
from opengateway.ledger.price import FREE, Price
from opengateway.ledger.witness import check_proof
from opengateway.units import CREDIT, NodeId


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_a_paid_request_moves_its_price_from_the_requester_to_the_worker(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob, prompt=10, completion=50)
    assert ann.book.balance()[:4] == (-5100, 0, 5100, 0)
    assert bob.book.balance()[:4] == (5100, 5100, 0, 0)
    assert bob.book.peer(ann.id).owes_us == 5100 == -ann.book.peer(bob.id).owes_us


def test_a_hold_is_taken_before_and_released_after(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, opening = ann.open(bob)
    assert ann.book.balance().held == ann.book.peer(bob.id).holding == 5100
    bob.admit(opening, ann)
    assert bob.book.peer(ann.id).reserved == 5100
    bob.book.delivered(rid, ann.id, 9, 20)
    assert bob.book.peer(ann.id).reserved == 2090
    ann.pay(bob, ann.settle(rid, prompt=9, completion=20))
    assert ann.book.balance().held == bob.book.peer(ann.id).reserved == 0
    assert bob.book.balance().earned == 2090


def test_a_request_that_delivered_nothing_costs_nothing(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    bob.book.release(rid, ann.id)
    assert ann.book.void(rid) is not None
    assert ann.book.void(rid) is None
    ann.book.commit()
    assert ann.book.balance()[:4] == (0, 0, 0, 0)
    assert bob.book.peer(ann.id).reserved == 0


def test_nothing_above_the_hold_can_be_settled(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, _ = ann.open(bob, prompt=10, most=50)
    with pytest.raises(LedgerRefused) as refused:
        ann.settle(rid, prompt=10, completion=51)
    assert refused.value.reason == "hold"
    assert ann.book.balance().held == 5100, "the refusal left the hold alone"


def test_a_free_request_needs_no_hold_and_no_credit(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob", Policy(stranger_line=0, pool=0))
    ann.ask(bob, price=FREE)
    assert ann.book.balance()[:4] == bob.book.balance()[:4] == (0, 0, 0, 0)
    assert bob.book.admit(b"", ann.id, price_prompt=0, price_completion=0).secured


def test_an_empty_opening_is_not_enough_for_work_with_a_price(place: World) -> None:
    with pytest.raises(LedgerRefused):
        place.node("bob").book.admit(b"", place.node("ann").id, price_prompt=0, price_completion=1)


def test_serving_yourself_is_refused_on_both_sides(place: World) -> None:
    ann = place.node("ann")
    with pytest.raises(LedgerRefused) as refused:
        ann.open(ann)
    assert refused.value.reason == "self"


def test_the_same_settle_again_gets_the_same_earn(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    settle = ann.settle(rid)
    first = bob.book.earn(settle, ann.id)
    assert bob.book.earn(settle, ann.id) == first
    bob.book.commit()
    bob.crash()
    assert bob.book.earn(settle, ann.id) == first
    assert bob.book.balance().earned == 5100


def test_the_same_opening_again_is_refused_also_after_a_restart(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    _, opening = ann.open(bob)
    bob.admit(opening, ann)
    for _ in range(2):
        with pytest.raises(LedgerRefused) as refused:
            bob.admit(opening, ann)
        assert refused.value.reason == "duplicate"
        bob.crash()


def test_a_request_id_can_be_opened_once(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid = ann.ask(bob)
    with pytest.raises(LedgerRefused) as refused:
        ann.book.open(
            bob.id, rid, MODEL, prompt_tokens=1, max_completion=1, price_prompt=1, price_completion=1
        )
    assert refused.value.reason == "duplicate"


def test_an_earn_is_kept_beside_its_settle(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    settle = ann.settle(rid)
    assert ann.book.unanswered() == [(bob.id, rid, settle)]
    ann.pay(bob, settle)
    assert ann.book.unanswered() == []
    assert [line.countersigned for line in ann.book.history(2)] == [True, False]


def test_a_settle_that_overtook_a_lost_one_is_refused_until_that_one_came(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    requests = [ann.open(bob) for _ in range(2)]
    for _, opening in requests:
        bob.admit(opening, ann)
    lost, late = [ann.settle(rid) for rid, _ in requests]
    with pytest.raises(LedgerRefused) as refused:
        bob.book.earn(late, ann.id)
    assert refused.value.reason == "out_of_order"
    for _, _, settle in ann.book.unanswered():
        ann.pay(bob, settle)
    assert bob.book.balance().earned == 2 * 5100
    assert lost != late


def test_a_settle_whose_admission_a_crash_took_is_earned_and_blocks_no_later_one(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, opening = ann.open(bob)
    bob.book.admit(opening, ann.id, price_prompt=PRICE.prompt, price_completion=PRICE.completion, model=MODEL)
    bob.crash()
    place.clock.pass_ms(10)
    settle = ann.settle(rid)
    ann.pay(bob, settle)
    assert bob.book.balance().earned == ann.book.balance().spent == 5100
    assert bob.book.earn(settle, ann.id) == bob.book.earn(settle, ann.id)
    with pytest.raises(LedgerRefused) as refused:
        bob.admit(opening, ann)
    assert refused.value.reason == "duplicate", "its OPEN buys nothing any more"
    ann.ask(bob)
    bob.crash()
    assert bob.book.balance().earned == ann.book.balance().spent == 10_200
    assert bob.book.peer(ann.id).unpaid == 0


def test_settles_without_an_admission_are_bounded(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ORPHANS", 3)
    ann, bob = place.node("ann"), place.node("bob")
    for _ in range(3):
        rid, _ = ann.open(bob)
        ann.pay(bob, ann.settle(rid))
    rid, _ = ann.open(bob)
    settle = ann.settle(rid)
    with pytest.raises(LedgerRefused) as refused:
        bob.book.earn(settle, ann.id)
    assert refused.value.reason == "no_open"


def test_a_settle_over_nothing_may_come_after_later_ones(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    requests = [ann.open(bob) for _ in range(2)]
    for _, opening in requests:
        bob.admit(opening, ann)
    nothing = ann.settle(requests[0][0], prompt=0, completion=0)
    ann.pay(bob, ann.settle(requests[1][0]))
    ann.pay(bob, nothing)
    assert ann.book.unanswered() == []


def test_a_requester_that_settles_less_pays_with_its_line(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    bob.book.delivered(rid, ann.id, 10, 50)
    ann.pay(bob, ann.settle(rid, prompt=10, completion=0))
    assert bob.book.peer(ann.id).unpaid == 5000
    bob.book.commit()
    bob.crash()
    assert bob.book.peer(ann.id).unpaid == 5000
    assert bob.book.quote(ann.id, 100) == 5000 + 100 + 100


def test_what_was_delivered_may_be_told_after_the_settle(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    ann.pay(bob, ann.settle(rid, prompt=10, completion=10))
    bob.book.delivered(rid, ann.id, 10, 12)
    assert bob.book.peer(ann.id).unpaid == 200
    bob.book.delivered(rid, ann.id, 10, 12)
    assert bob.book.peer(ann.id).unpaid == 200


def test_an_answer_that_nobody_settles_counts_as_unpaid_until_it_is(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    bob.book.delivered(rid, ann.id, 10, 50)
    settle = ann.settle(rid)
    place.clock.pass_ms(16 * 60 * 1000)
    bob.book.commit()
    assert (bob.book.peer(ann.id).unpaid, bob.book.peer(ann.id).reserved) == (5100, 0)
    ann.pay(bob, settle)
    assert (bob.book.peer(ann.id).unpaid, bob.book.balance().earned) == (0, 5100)


def test_service_given_is_a_line_for_service_wanted(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob", Policy(stranger_line=0, pool=0))
    bob.ask(ann, completion=100)  # bob owes ann 10,100, and a quarter of it is her line
    assert bob.book.quote(ann.id, 10_100 + 2_525) == 0
    with pytest.raises(NotEnoughCredit) as refused:
        bob.book.quote(ann.id, 10_100 + 2_526)
    assert refused.value.missing == 1
    assert refused.value.hint


def test_open_requests_count_as_if_they_were_spent(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob", Policy(stranger_line=6000, pool=100_000))
    ann_first = ann.open(bob)[1]
    second = ann.open(bob)[1]
    assert bob.admit(ann_first, ann) == 5100
    with pytest.raises(NotEnoughCredit) as refused:
        bob.admit(second, ann)
    assert refused.value.missing == 2 * 5100 - 6000


def test_all_strangers_together_get_the_pool_and_no_more(place: World) -> None:
    bob = place.node("bob", Policy(stranger_line=6000, pool=12_000))
    asks = [(ann, ann.open(bob)[1]) for ann in (place.node(name) for name in "abc")]
    for ann, opening in asks[:2]:
        assert bob.admit(opening, ann) == 5100
    with pytest.raises(NotEnoughCredit) as refused:
        bob.admit(asks[2][1], asks[2][0])
    assert refused.value.missing == 5100 - (12_000 - 2 * 5100)


def test_the_pool_comes_back_with_time_but_a_strangers_own_line_does_not(place: World) -> None:
    bob = place.node("bob", Policy(stranger_line=6000, pool=6000, pool_refill_per_hour=6000))
    ann, cid = place.node("ann"), place.node("cid")
    ann.ask(bob)
    with pytest.raises(NotEnoughCredit):
        bob.book.quote(cid.id, 5100)
    place.clock.pass_ms(3_600_000)
    assert bob.book.quote(cid.id, 5100) == 5100
    with pytest.raises(NotEnoughCredit):
        bob.book.quote(ann.id, 5100)


def test_the_default_line_is_fifty_credits(place: World) -> None:
    bob = place.node("bob")
    stranger = NodeId(bytes(32))
    assert bob.book.quote(stranger, 50 * CREDIT) == 50 * CREDIT
    with pytest.raises(NotEnoughCredit) as refused:
        bob.book.quote(stranger, 50 * CREDIT + 1)
    assert refused.value.missing == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"net": b"elsewher"}, "network"),
        ({"version": 2}, "version"),
        ({"kind": SETTLE}, "amount"),
        ({"kind": 9}, "kind"),
        ({"peer": NodeId(b"\x07" * 32)}, "wrong_peer"),
        ({"author": NodeId(b"\x07" * 32)}, "wrong_key"),
        ({"t_ms": START_MS - 121_000}, "clock"),
        ({"t_ms": START_MS + 121_000}, "clock"),
        ({"hold": 1}, "amount"),
        ({"amount": 1}, "amount"),
        ({"price_completion": 99, "hold": 5050}, "price"),
        ({"price_completion": 2_000_000, "hold": 100_000_100}, "price"),
        ({"model": "another"}, "model"),
        ({"served": 1}, "pairview"),
        ({"seq": 0}, "genesis"),
    ],
)
def test_an_opening_that_is_not_in_order_is_refused(
    place: World, change: dict[str, object], reason: str
) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    good = read_form(ann.open(bob)[1], NET).entry
    bad = sign(ann.identity, Entry(**(good._asdict() | change)))  # type: ignore[arg-type]
    with pytest.raises(LedgerRefused) as refused:
        bob.admit(bad.wire, ann)
    assert refused.value.reason == reason
    assert bob.book.peer(ann.id).reserved == 0


def test_a_forged_signature_is_refused(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    good = read_form(ann.open(bob)[1], NET).entry
    with pytest.raises(LedgerRefused) as refused:
        bob.admit(sign(Identity.generate(), good).wire, ann)
    assert refused.value.reason == "signature"


def test_a_refused_request_leaves_the_rest_of_its_batch_alone(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    good, bad = ann.open(bob)[1], ann.open(bob, price=Price(11, 100))[1]
    prices = {"price_prompt": PRICE.prompt, "price_completion": PRICE.completion}
    bob.book.admit(good, ann.id, **prices)
    with pytest.raises(LedgerRefused):
        bob.book.admit(bad, ann.id, **prices)
    bob.book.commit()
    bob.crash()
    with pytest.raises(LedgerRefused) as refused:
        bob.admit(good, ann)
    assert refused.value.reason == "duplicate", "the good one was kept"


def test_a_requester_that_signs_two_histories_is_proved_a_fraud_and_loses_its_line(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    opening = ann.open(bob)[1]
    bob.admit(opening, ann)
    honest = read_form(opening, NET).entry
    fork = sign(ann.identity, honest._replace(rid=b"another request!"))
    with pytest.raises(LedgerRefused) as refused:
        bob.admit(fork.wire, ann)
    assert refused.value.reason == "fraud"
    bob.book.commit()
    bob.crash()
    ((guilty, kind, proof),) = bob.book.faults()
    assert (guilty, kind) == (ann.id, "F1-fork")
    assert check_proof(proof, NET) == ann.id
    with pytest.raises(NotEnoughCredit):
        bob.book.quote(ann.id, 1)


def test_a_rollback_takes_back_what_was_not_committed(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    ann.ask(bob)
    before = ann.book.balance()
    ann.book.open(
        bob.id, ann.rid(), MODEL, prompt_tokens=1, max_completion=1, price_prompt=1, price_completion=1
    )
    assert ann.book.balance().held == 2
    ann.book.rollback()
    assert ann.book.balance() == before
    ann.ask(bob)
    assert bob.book.balance().earned == 2 * 5100


def test_holds_of_a_former_life_can_be_settled_or_voided(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    first, opening = ann.open(bob)
    second, _ = ann.open(bob)
    bob.admit(opening, ann)
    ann.crash()
    assert sorted(hold.rid for hold in ann.book.open_holds()) == sorted([first, second])
    ann.pay(bob, ann.settle(first, completion=1))
    ann.book.void(second)
    ann.book.commit()
    assert ann.book.balance()[:4] == (-200, 0, 200, 0)


def test_history_is_newest_first_and_limited(place: World) -> None:
    ann, bob = place.node("ann"), place.node("bob")
    for _ in range(3):
        ann.ask(bob)
    assert [line.kind for line in ann.book.history(3)] == ["SETTLE", "OPEN", "SETTLE"]
    assert [line.seq for line in ann.book.history(100)] == list(range(6, -1, -1))
    assert read_form(ann.open(bob)[1], NET).entry.kind == OPEN
