"""A tab outlives what happens to its two nodes meanwhile."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from swarm_lab import Asked, Member, Swarm, swarm

from opengateway.ledger.audit import verify
from opengateway.ledger.requester import KEPT_AHEAD

PRICE, TOKENS = 100, 3
LIMIT_S = 60


def pair(here: Swarm) -> tuple[Member, Member]:
    """The second owes the first for an answer, so that the first is no stranger there."""
    ann, bob = here.member("ann", price=PRICE), here.member("bob", price=PRICE)
    here.join()
    assert not bob.ask(ann, 8000).error
    return ann, bob


def ask_until_on_tabs(here: Swarm, ann: Member, bob: Member, wanted: int) -> list[Asked]:
    asked: list[Asked] = []
    deadline = time.monotonic() + LIMIT_S
    while ann.lines.tabs.counters["requests"] < wanted:
        assert time.monotonic() < deadline, ann.lines.tabs.counters
        these = [ann.begin(bob, TOKENS) for _ in range(8)]
        here.until(lambda these=these: all(one.over for one in these), "these are answered")
        asked += these
    return asked


def agree(here: Swarm, ann: Member, bob: Member) -> None:
    def same() -> bool:
        paid, earned = ann.book.peer(bob.id).consumed, bob.book.peer(ann.id).served
        return paid == earned and not ann.book.open_holds() and not ann.book.unanswered()

    deadline = time.monotonic() + LIMIT_S
    while not same():
        assert time.monotonic() < deadline, "both sides agree and nothing is held"
        with contextlib.suppress(AssertionError):
            here.until(same, "it is settled", 2.0)
            return
        here.cut()  # what a falling ledger had in its hands goes round again with the next session
        here.join()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("who", ["asks", "serves", "both"])
def test_when_a_ledger_falls_over_all_that_came_is_paid_all_the_same(tmp_path: Path, who: str) -> None:
    with swarm(tmp_path) as here:
        ann, bob = pair(here)
        asked = ask_until_on_tabs(here, ann, bob, 20)
        if who != "serves":
            ann.crash()
        if who != "asks":
            bob.crash()
        asked += ask_until_on_tabs(here, ann, bob, 60)
        agree(here, ann, bob)
        came = sum(one.tokens for one in asked)
        # An admission that was not on the disk yet is lost with its Ledger; what streams then breaks off.
        assert came > len(asked) * TOKENS * 2 // 3
        # Who asks goes on from the voucher that it kept, which was ahead of what had come.
        ahead = KEPT_AHEAD if who != "serves" else 0
        assert 0 <= ann.book.peer(bob.id).consumed - came * PRICE <= ahead * PRICE
        assert len(list(ann.book._journal.vault.store.rows())) < len(asked)
        for member in (ann, bob):
            file = tmp_path / f"{member.name}.ogwl"
            file.write_bytes(member.export())
            report = verify(file)
            assert report.exit <= 1, report.findings


@pytest.mark.timeout(120)
def test_when_the_session_breaks_the_tab_is_settled_with_the_next_one(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        ann, bob = pair(here)
        asked = ask_until_on_tabs(here, ann, bob, 20)
        here.cut()
        here.join()
        agree(here, ann, bob)
        came = sum(one.tokens for one in asked)
        assert ann.book.peer(bob.id).consumed == came * PRICE


@pytest.mark.timeout(120)
def test_a_node_that_stops_settles_its_tabs_first(tmp_path: Path) -> None:
    with swarm(tmp_path) as here:
        ann, bob = pair(here)
        asked = ask_until_on_tabs(here, ann, bob, 20)
        ann.stop()
        ann.start()
        here.join()
        agree(here, ann, bob)
        came = sum(one.tokens for one in asked)
        assert ann.book.peer(bob.id).consumed == came * PRICE
