"""Vouchers: what a requester promises while an answer streams, and what each side can make of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from ledger_world import NET, PRICE, Node, World, world

from opengateway.errors import LedgerRefused
from opengateway.ledger.entry import SETTLE, ZERO32, EntryInvalid, read_form
from opengateway.ledger.requester import KEPT_AHEAD
from opengateway.ledger.voucher import (
    TAG,
    SignedVoucher,
    Voucher,
    read_voucher,
    sign_voucher,
    under_settle_proof,
    vouched_by,
)
from opengateway.ledger.witness import check_proof

QUARTER_H = 16 * 60_000


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as here:
        yield here


@pytest.fixture
def pair(made: World) -> tuple[Node, Node]:
    """(requester, worker), with one request admitted by `admitted`."""
    return made.node("requester"), made.node("worker")


def admitted(requester: Node, worker: Node, most: int = 200) -> bytes:
    rid, opening = requester.open(worker, most=most)
    worker.admit(opening, requester)
    return rid


def vouch(requester: Node, rid: bytes, completion: int, prompt: int = 10) -> bytes:
    voucher = requester.book.vouch(rid, prompt_tokens=prompt, completion_tokens=completion)
    requester.book.commit()
    return voucher


def refused(reason: str, what: object, *arguments: object, **named: object) -> LedgerRefused:
    with pytest.raises(LedgerRefused) as caught:
        what(*arguments, **named)  # type: ignore[operator]
    assert caught.value.reason == reason
    return caught.value


def forged(requester: Node, opening: bytes, **changes: object) -> bytes:
    """A voucher that the requester really signed, whatever it says."""
    leaf = read_form(opening, NET).leaf
    honest = Voucher(leaf, 1, 64, 10 * PRICE.prompt + 64 * PRICE.completion, requester.clock())
    return sign_voucher(requester.identity, honest._replace(**changes)).wire  # type: ignore[arg-type]


def test_a_voucher_is_read_as_it_was_signed(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = admitted(requester, worker)
    found = read_voucher(vouch(requester, rid, 64))
    assert found.voucher.n == 1
    assert found.voucher.completion_tokens == 64
    assert found.voucher.amount == 10 * PRICE.prompt + 64 * PRICE.completion
    assert vouched_by(requester.id, found)
    assert not vouched_by(worker.id, found)


@pytest.mark.parametrize(
    "body",
    [
        [TAG, ZERO32, 1, 2, 3],
        [TAG, ZERO32, 1, 2, 3, 4, 5],
        ["ogw-voucher/2", ZERO32, 1, 2, 3, 4],
        [TAG, b"short", 1, 2, 3, 4],
        [TAG, ZERO32, 1, -2, 3, 4],
        [TAG, ZERO32, 1, True, 3, 4],
        [TAG, ZERO32, 1, 2.0, 3, 4],
        [TAG, ZERO32, 1, 2, 1 << 62, 4],
        {"tag": TAG},
    ],
    ids=["short", "long", "tag", "leaf", "negative", "bool", "float", "huge", "map"],
)
def test_what_is_no_voucher_is_refused(body: object) -> None:
    with pytest.raises(EntryInvalid):
        read_voucher(cbor2.dumps([cbor2.dumps(body), bytes(64)]))


def test_another_encoding_of_a_voucher_is_refused() -> None:
    body = Voucher(ZERO32, 1, 2, 3, 4).body
    assert body[-1] == 4
    with pytest.raises(EntryInvalid):
        read_voucher(cbor2.dumps([body[:-1] + b"\x18\x04", bytes(64)]))


def test_vouchers_are_cumulative_and_the_latest_wins(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = admitted(requester, worker)
    first, second, third = (vouch(requester, rid, tokens) for tokens in (64, 128, 192))
    assert worker.book.vouched(second, requester.id) == 128  # the first was lost
    assert worker.book.vouched(first, requester.id) == 128  # or came late
    assert worker.book.vouched(second, requester.id) == 128  # or twice
    assert worker.book.vouched(third, requester.id) == 192


def test_a_voucher_survives_a_crash_of_either_side(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = admitted(requester, worker)
    voucher = vouch(requester, rid, 64)
    worker.book.vouched(voucher, requester.id)
    worker.book.commit()
    worker.crash()
    requester.crash()
    again = read_voucher(requester.book.vouch(rid, prompt_tokens=10, completion_tokens=63)).voucher
    assert again.completion_tokens == 64 + KEPT_AHEAD, "never below what it may have sent"
    assert worker.book.peer(requester.id).reserved == 10 * PRICE.prompt + 64 * PRICE.completion


def test_a_requester_vouches_for_no_more_than_it_holds(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = admitted(requester, worker, most=50)
    refused("hold", requester.book.vouch, rid, prompt_tokens=10, completion_tokens=51)
    refused("hold", requester.book.vouch, rid, prompt_tokens=11, completion_tokens=50)
    refused("no_open", requester.book.vouch, bytes(16), prompt_tokens=1, completion_tokens=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"open_leaf": ZERO32}, "no_open"),
        ({"amount": 1}, "amount"),
        ({"amount": 6405}, "amount"),
        ({"amount": 10**6}, "hold"),
        ({"completion_tokens": 201, "amount": 20_100}, "hold"),
        ({"t_ms": 5}, "hold"),
    ],
)
def test_a_worker_takes_no_voucher_that_its_open_does_not_cover(
    pair: tuple[Node, Node], changes: dict[str, object], reason: str
) -> None:
    requester, worker = pair
    _, opening = requester.open(worker, most=200)
    worker.admit(opening, requester)
    refused(reason, worker.book.vouched, forged(requester, opening, **changes), requester.id)


def test_a_voucher_of_somebody_else_is_refused(made: World, pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    _, opening = requester.open(worker, most=200)
    worker.admit(opening, requester)
    thief = made.node("thief")
    refused("signature", worker.book.vouched, forged(thief, opening), requester.id)
    refused("no_open", worker.book.vouched, forged(requester, opening), thief.id)


def test_a_later_voucher_over_less_is_refused(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    _, opening = requester.open(worker, most=200)
    worker.admit(opening, requester)
    worker.book.vouched(forged(requester, opening), requester.id)
    less = forged(requester, opening, n=2, completion_tokens=63, amount=100 + 6300)
    refused("under_settle", worker.book.vouched, less, requester.id)


def test_a_requester_never_settles_below_its_voucher(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = admitted(requester, worker)
    worker.book.vouched(vouch(requester, rid, 128), requester.id)
    worker.book.delivered(rid, requester.id, 10, 128)
    settle = requester.settle(rid, prompt=2, completion=100)
    requester.pay(worker, settle)
    spent = 10 * PRICE.prompt + 128 * PRICE.completion
    assert requester.book.balance().spent == worker.book.balance().earned == spent
    assert worker.book.peer(requester.id).unpaid == 0


def test_a_crashed_requester_settles_what_it_vouched_for(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = admitted(requester, worker)
    worker.book.vouched(vouch(requester, rid, 64), requester.id)
    worker.book.commit()
    requester.crash()
    [hold] = requester.book.open_holds()
    settle = requester.book.void(hold.rid)
    requester.book.commit()
    assert settle is not None
    assert read_form(settle, NET).entry.kind == SETTLE
    requester.pay(worker, settle)
    # Some tokens more than it vouched for: that is what it had kept, and never less than it had sent.
    assert worker.book.balance().earned == 10 * PRICE.prompt + (64 + KEPT_AHEAD) * PRICE.completion


def settled_below(requester: Node, worker: Node) -> tuple[bytes, bytes]:
    """SETTLE and the higher voucher, by a requester that hides its voucher from its own ledger."""
    rid, opening = requester.open(worker, most=200)
    worker.admit(opening, requester)
    return requester.settle(rid, completion=20), forged(requester, opening)


def test_a_settle_below_the_voucher_is_refused_and_kept_as_proof(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    settle, voucher = settled_below(requester, worker)
    worker.book.vouched(voucher, requester.id)
    refused("fraud", worker.book.earn, settle, requester.id)
    worker.book.commit()
    worker.crash()
    [(who, kind, proof)] = worker.book.faults()
    assert (who, kind) == (requester.id, "F5-under-settle")
    assert check_proof(proof, NET) == requester.id


def test_an_honest_settle_proves_nothing_against_anybody(made: World, pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    settle, voucher = settled_below(requester, worker)
    honest, half = read_voucher(voucher), read_form(settle, NET)

    def proof(changed: Voucher, by: Node) -> bytes:
        again: SignedVoucher = sign_voucher(by.identity, changed)
        return under_settle_proof(half, again)

    assert check_proof(proof(honest.voucher, requester), NET) == requester.id
    cheap = honest.voucher._replace(amount=half.entry.amount)
    for bad in (
        proof(cheap, requester),
        proof(honest.voucher._replace(open_leaf=ZERO32), requester),
        proof(honest.voucher, made.node("liar")),
        proof(honest.voucher, requester)[:-1],
    ):
        with pytest.raises(ValueError, match=r"proof|voucher|SETTLE"):
            check_proof(bad, NET)


def vanished(requester: Node, worker: Node, made: World) -> bytes:
    """A request whose requester vouched for 64 of 100 tokens and was not heard of again."""
    rid = admitted(requester, worker)
    worker.book.vouched(vouch(requester, rid, 64), requester.id)
    worker.book.delivered(rid, requester.id, 10, 100)
    worker.book.commit()
    made.clock.pass_ms(QUARTER_H)
    worker.book.commit()
    return rid


def test_who_vanishes_has_earned_its_worker_the_last_voucher(made: World, pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    vanished(requester, worker, made)
    vouched = 10 * PRICE.prompt + 64 * PRICE.completion
    assert worker.book.balance().earned == vouched
    account = worker.book.peer(requester.id)
    assert (account.served, account.reserved, account.unpaid) == (vouched, 0, 36 * PRICE.completion)
    worker.crash()
    assert worker.book.balance().earned == vouched
    made.clock.pass_ms(QUARTER_H)
    worker.book.commit()
    assert worker.book.balance().earned == vouched, "once"


def test_who_comes_back_and_settles_pays_the_rest_once(made: World, pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = vanished(requester, worker, made)
    settle = requester.settle(rid, completion=100)
    requester.pay(worker, settle)
    again = worker.book.earn(settle, requester.id)
    assert worker.book.earn(settle, requester.id) == again
    spent = 10 * PRICE.prompt + 100 * PRICE.completion
    assert requester.book.balance().spent == worker.book.balance().earned == spent
    assert worker.book.peer(requester.id).unpaid == 0
    assert not requester.book.unanswered()
    requester.ask(worker)  # and the pair goes on as before
    assert requester.book.peer(worker.id).consumed == worker.book.peer(requester.id).served


def test_who_comes_back_owing_exactly_the_voucher_gets_its_receipt(
    made: World, pair: tuple[Node, Node]
) -> None:
    requester, worker = pair
    vanished(requester, worker, made)
    requester.crash()
    for hold in requester.book.open_holds():
        requester.book.void(hold.rid)
    requester.book.commit()
    for _, _, settle in requester.book.unanswered():
        requester.pay(worker, settle)
    assert not requester.book.unanswered()
    assert requester.book.peer(worker.id).consumed == worker.book.peer(requester.id).served
    requester.ask(worker)


def test_a_worker_that_crashed_in_mid_stream_is_paid_what_was_vouched(
    made: World, pair: tuple[Node, Node]
) -> None:
    requester, worker = pair
    rid = admitted(requester, worker)
    worker.book.vouched(vouch(requester, rid, 64), requester.id)
    worker.book.commit()
    worker.crash()
    requester.pay(worker, requester.settle(rid, completion=64))
    assert worker.book.balance().earned == 10 * PRICE.prompt + 64 * PRICE.completion
    assert worker.book.peer(requester.id).unpaid == 0


def test_no_worker_earns_beyond_what_was_vouched_or_settled(made: World, pair: tuple[Node, Node]) -> None:
    """It may claim to have delivered whatever it likes."""
    requester, worker = pair
    rid = admitted(requester, worker)
    worker.book.delivered(rid, requester.id, 10**6, 10**6)
    made.clock.pass_ms(QUARTER_H)
    worker.book.commit()
    assert worker.book.balance().earned == 0
    assert requester.book.balance().spent == 0
    assert "EARN" not in [line.kind for line in worker.book.history()]


def test_one_voucher_in_many_waits_for_the_disk(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = admitted(requester, worker)
    waits = []
    for tokens in range(16, 161, 16):
        vouch(requester, rid, tokens)
        waits.append(requester.book.kept_more)
    assert waits == [True, False, False, False, False, True, False, False, False, False]


def test_no_voucher_that_was_sent_is_above_what_a_crash_would_leave(pair: tuple[Node, Node]) -> None:
    requester, worker = pair
    rid = admitted(requester, worker)
    for tokens in range(16, 161, 16):
        voucher = requester.book.vouch(rid, prompt_tokens=10, completion_tokens=tokens)
        if requester.book.kept_more:
            requester.book.commit()
        worker.book.vouched(voucher, requester.id)
    requester.crash()
    [hold] = requester.book.open_holds()
    settle = requester.book.void(hold.rid)
    requester.book.commit()
    assert settle is not None
    assert worker.book.earn(settle, requester.id)


def test_a_requester_whose_ledger_fell_over_goes_on_vouching(pair: tuple[Node, Node]) -> None:
    """What it kept is ahead of what had come: the next vouchers must neither be refused nor be taken for old
    ones by a worker that has seen several since."""
    requester, worker = pair
    rid = admitted(requester, worker)
    for tokens in (16, 32, 48):
        assert worker.book.vouched(vouch(requester, rid, tokens), requester.id) == tokens
    requester.crash()
    for tokens in (64, 80, 96, 120, 128):
        assert worker.book.vouched(vouch(requester, rid, tokens), requester.id) >= tokens
    settle = requester.settle(rid, prompt=10, completion=128)
    requester.pay(worker, settle)
    assert worker.book.balance().earned == 10 * PRICE.prompt + 128 * PRICE.completion
