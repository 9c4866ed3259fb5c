"""Random histories of streamed answers in both directions: vouchers lost, doubled and late, SETTLEs and EARNs
lost, crashes of both sides, hours of silence. At every moment both ledgers pass their audits; once both sides
meet again their books agree, and nothing that was refused before is refused for ever."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ledger_second import NODE, second_opinions
from ledger_world import START_MS, Node, World, world

from opengateway.errors import LedgerRefused
from opengateway.ledger.audit import Limits, verify_pair
from opengateway.ledger.voucher import read_voucher

MOST = 200
LATER = Limits(now_ms=START_MS + 10**10)
Steps = list[tuple[str, int, int]]
"""What happens, to which request (an `open` with an even number is ann's at bob, else bob's), tokens."""
KINDS = (
    *("open", "open", "open", "serve", "serve", "serve", "wait", "wait", "settle", "settle", "pay"),
    *("vouch", "lose", "again", "deliver", "drop", "crash C", "crash P", "earn", "meet"),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 7), st.integers(1, MOST)), min_size=8, max_size=40
)
HARMLESS = {"W_INFLIGHT", "W_NOCOUNTER", "W_UNSETTLED", "W_PAIRTIME"}


@dataclass
class Asked:
    rid: bytes
    requester: Node
    worker: Node
    settle: bytes = b""
    vouchers: list[bytes] = field(default_factory=list)


def heard(one: Asked, voucher: bytes) -> None:
    try:
        one.worker.book.vouched(voucher, one.requester.id)
        one.worker.book.commit()
    except LedgerRefused:
        one.worker.book.rollback()


def step(what: str, one: Asked, tokens: int) -> None:
    requester, worker = one.requester, one.worker
    match what:
        case "vouch" | "lose" | "serve":
            voucher = requester.book.vouch(one.rid, prompt_tokens=10, completion_tokens=tokens)
            requester.book.commit()
            one.vouchers.append(voucher)
            if what != "lose":
                heard(one, voucher)
            if what == "serve":
                step("deliver", one, tokens)
        case "again" if one.vouchers:
            heard(one, one.vouchers[tokens % len(one.vouchers)])
        case "deliver":
            worker.book.delivered(one.rid, requester.id, 10, tokens)
            worker.book.commit()
        case "settle":  # and it is lost: sent again when they meet
            one.settle = requester.settle(one.rid, completion=tokens)
        case "pay":
            one.settle = one.settle or requester.settle(one.rid, completion=tokens)
            requester.pay(worker, one.settle)
        case "earn" if one.settle:  # it arrives, and the EARN is lost
            worker.book.earn(one.settle, requester.id)
            worker.book.commit()
        case "drop":
            requester.book.give_up(one.rid)
            requester.book.commit()


def meet(requester: Node, worker: Node) -> None:
    """What a session begins with."""
    for _, _, settle in requester.book.unanswered():
        requester.pay(worker, settle)


def play(made: World, ann: Node, bob: Node, steps: Steps) -> list[Asked]:
    asked: list[Asked] = []
    for what, number, tokens in steps:
        made.clock.pass_ms(10)
        requester, worker = (bob, ann) if number % 2 else (ann, bob)
        if what == "open" or not asked:
            rid, opening = requester.open(worker, most=MOST)
            worker.admit(opening, requester)
            asked.append(Asked(rid, requester, worker))
        elif what.startswith("crash"):
            (ann if what.endswith("C") else bob).crash()
        elif what == "wait":
            made.clock.pass_ms(16 * 60_000)
            for node in (ann, bob):
                node.book.commit()
        elif what == "meet":
            meet(requester, worker)
        else:
            try:
                step(what, asked[number % len(asked)], tokens)
            except LedgerRefused as refused:  # settled already, less than before, or one is missing before it
                assert refused.reason in ("no_open", "under_settle", "hold", "out_of_order")
    return asked


@dataclass
class Audits:
    """Exports of both nodes, each pair audited at once; the second verifier is asked about all in the end."""

    folder: Path
    exits: dict[Path, int] = field(default_factory=dict)

    def __call__(self, ann: Node, bob: Node) -> None:
        files = []
        for node in (ann, bob):
            files.append(self.folder / f"{len(self.exits) + len(files)}.ogwl")
            files[-1].write_bytes(node.export())
        found = verify_pair(*files, limits=LATER)
        assert {finding.code for report in found for finding in report.findings} <= HARMLESS
        self.exits.update(zip(files, (found.first.exit, found.second.exit), strict=True))

    def second_opinion(self) -> None:
        if NODE is not None:
            assert second_opinions(list(self.exits)) == list(self.exits.values())


def everything_arrives(ann: Node, bob: Node, asked: list[Asked]) -> None:
    for requester, worker in ((ann, bob), (bob, ann)):
        for hold in requester.book.open_holds():  # as after a restart
            requester.book.give_up(hold.rid)
        requester.book.commit()
        meet(requester, worker)
        spent = requester.book.balance().spent
        assert spent == worker.book.balance().earned
        assert requester.book.peer(worker.id).consumed == worker.book.peer(requester.id).served == spent
        assert requester.book.balance().held == 0
        assert not requester.book.unanswered()
        assert not worker.book.faults(), "an honest requester convicts itself of nothing"
        assert spent >= sum(_highest(one) for one in asked if one.requester is requester)
        requester.ask(worker)  # and they do business as before


def _highest(one: Asked) -> int:
    """ucr that were vouched for."""
    return max((read_voucher(voucher).voucher.amount for voucher in one.vouchers), default=0)


@contextmanager
def two() -> Iterator[tuple[World, Node, Node]]:
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as made:
        yield made, made.node("ann"), made.node("bob")


LOST_AND_LATE: Steps = [
    *(("open", 0, 1), ("open", 0, 1), ("vouch", 0, 1), ("deliver", 0, 1)),
    *(("settle", 1, 1), ("wait", 0, 1)),
]
"""The SETTLE of Ann's second request is lost; then Bob earns the first by its voucher."""


def through(steps: Steps, audits: Audits) -> None:
    with two() as (made, ann, bob):
        asked = play(made, ann, bob, steps)
        audits(ann, bob)
        everything_arrives(ann, bob, asked)
        audits(ann, bob)


@pytest.mark.timeout(300)
def test_both_books_agree_whatever_was_lost_and_whoever_crashed(tmp_path: Path) -> None:
    audits = Audits(tmp_path)

    @given(STEPS)
    @example(LOST_AND_LATE)
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def any_history(steps: Steps) -> None:
        through(steps, audits)

    any_history()
    audits.second_opinion()


def test_a_lost_settle_is_earned_after_another_request_was_earned_by_its_voucher(tmp_path: Path) -> None:
    audits = Audits(tmp_path)
    through(LOST_AND_LATE, audits)
    audits.second_opinion()
