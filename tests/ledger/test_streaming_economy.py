"""Random histories of streamed answers: vouchers lost, doubled and late, crashes of both sides, hours of
silence. Whatever happened, once both sides meet again their books agree."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_world import Node, world

from opengateway.errors import LedgerRefused
from opengateway.ledger.voucher import read_voucher

MOST = 200
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "vouch", "lose", "again", "deliver", "settle", "drop", "crash C", "crash P", "wait"]
        ),
        st.integers(0, 7),
        st.integers(1, MOST),
    ),
    max_size=40,
)


class Asked(NamedTuple):
    rid: bytes
    vouchers: list[bytes]


def heard(worker: Node, requester: Node, voucher: bytes) -> None:
    try:
        worker.book.vouched(voucher, requester.id)
        worker.book.commit()
    except LedgerRefused:
        worker.book.rollback()


def step(what: str, one: Asked, tokens: int, requester: Node, worker: Node) -> None:
    match what:
        case "vouch" | "lose":
            voucher = requester.book.vouch(one.rid, prompt_tokens=10, completion_tokens=tokens)
            requester.book.commit()
            one.vouchers.append(voucher)
            if what == "vouch":
                heard(worker, requester, voucher)
        case "again" if one.vouchers:
            heard(worker, requester, one.vouchers[tokens % len(one.vouchers)])
        case "deliver":
            worker.book.delivered(one.rid, requester.id, 10, tokens)
            worker.book.commit()
        case "settle":
            requester.settle(one.rid, completion=tokens)  # and it is lost: sent again when they meet
        case "drop":
            requester.book.give_up(one.rid)
            requester.book.commit()


def meet(requester: Node, worker: Node) -> None:
    """As after a restart of the requester, and with the session that follows."""
    for hold in requester.book.open_holds():
        requester.book.give_up(hold.rid)
    requester.book.commit()
    for _, _, settle in requester.book.unanswered():
        requester.pay(worker, settle)


@pytest.mark.timeout(300)
@given(STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_both_books_agree_whatever_was_lost_and_whoever_crashed(steps: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as made:
        requester, worker = made.node("requester"), made.node("worker")
        asked: list[Asked] = []
        for what, number, tokens in steps:
            made.clock.pass_ms(10)
            if what == "open" or not asked:
                rid, opening = requester.open(worker, most=MOST)
                worker.admit(opening, requester)
                asked.append(Asked(rid, []))
            elif what.startswith("crash"):
                (requester if what.endswith("C") else worker).crash()
            elif what == "wait":
                made.clock.pass_ms(16 * 60_000)
                worker.book.commit()
            else:
                one = asked[number % len(asked)]
                try:
                    step(what, one, tokens, requester, worker)
                except LedgerRefused as refused:  # settled already, or less than before
                    assert refused.reason in ("no_open", "under_settle", "hold")
        meet(requester, worker)
        spent = requester.book.balance().spent
        assert spent == worker.book.balance().earned
        assert requester.book.peer(worker.id).consumed == worker.book.peer(requester.id).served == spent
        assert requester.book.balance().held == 0
        assert not requester.book.unanswered()
        assert not worker.book.faults(), "an honest requester convicts itself of nothing"
        assert spent >= sum(_highest(one) for one in asked)
        requester.ask(worker)  # and they do business as before


def _highest(one: Asked) -> int:
    """ucr that were vouched for."""
    return max((read_voucher(voucher).voucher.amount for voucher in one.vouchers), default=0)
