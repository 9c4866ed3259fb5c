"""Entry points and whom the owner connected to: dialled for ever, but not where there is enough company."""

from __future__ import annotations

import pytest

from actors.wanted import LET_GO_REST, RETRY, Wanted
from opengateway.discovery.company import COMPANY

ENTRY, FRIEND = "tcp://8.8.8.8:1", "tcp://9.9.9.9:1"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("actors.wanted.time.monotonic", lambda: now[0])
    return now


def wanted() -> Wanted:
    made = Wanted.of((ENTRY,), {})
    made.keep(FRIEND)
    return made


def dialled(plan: Wanted, company: int) -> set[str]:
    return {endpoint for endpoint, _ in plan.due((), company=company)}


def test_whoever_is_not_reached_is_dialled_for_ever_however_much_company_there_is(clock: list[float]) -> None:
    plan = wanted()
    for _ in range(10):
        assert dialled(plan, company=100) == {ENTRY, FRIEND}
        clock[0] += RETRY[1]


def test_an_entry_that_let_us_go_is_needed_again_when_company_is_lost(clock: list[float]) -> None:
    plan = wanted()
    plan.due((ENTRY, FRIEND), company=COMPANY)
    for endpoint in (ENTRY, FRIEND, "tcp://1.1.1.1:1"):
        plan.let_go(endpoint)
    assert dialled(plan, company=0) == set(), "it has only just said so"
    clock[0] += LET_GO_REST[0]
    assert dialled(plan, company=COMPANY) == set()
    assert dialled(plan, company=COMPANY - 1) == {ENTRY, FRIEND}


def test_whom_the_owner_connected_to_is_tried_again_all_the_same(clock: list[float]) -> None:
    plan = wanted()
    plan.let_go(ENTRY)
    plan.let_go(FRIEND)
    clock[0] += LET_GO_REST[1]
    assert dialled(plan, company=COMPANY) == {FRIEND}
    plan.due((ENTRY, FRIEND), company=COMPANY)
    clock[0] += RETRY[1]
    assert dialled(plan, company=COMPANY) == {ENTRY, FRIEND}, "reached once more, and lost"
