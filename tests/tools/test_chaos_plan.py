"""What chaos breaks when: the same for the same seed, and never two things at one node."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.chaos.__main__ import main
from tools.chaos.plan import KINDS, LEAVE, REST_S, Fault, names, plan


def test_half_of_the_nodes_serve_and_the_others_ask() -> None:
    assert names(2) == (("worker0",), ("caller0",))
    workers, callers = names(5)
    assert (len(workers), len(callers)) == (3, 2)


def test_a_seed_is_the_whole_plan() -> None:
    assert plan(7, 5, 120) == plan(7, 5, 120)
    assert plan(7, 5, 120) != plan(8, 5, 120)


def test_this_plan_stays_the_same_in_every_version_of_python() -> None:
    assert [str(fault) for fault in plan(7, 3, 20)] == PLAN_7


PLAN_7 = [
    "    4.7 s  crash     worker1 gauge",
    "    5.0 s  one_way   worker0 caller0 for 8.4 s",
    "    5.3 s  freeze    worker0 for 1.2 s",
    "    9.9 s  kill      worker1 for 2.0 s",
    "   20.0 s  leave     worker0",
]


def test_every_kind_has_its_turn_in_two_minutes() -> None:
    for seed in range(20):
        assert {fault.kind for fault in plan(seed, 5, 120)} == {*KINDS, LEAVE}


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 20), st.floats(5, 300))
def test_no_two_faults_strike_one_node_at_once_and_all_are_over_in_time(
    seed: int, nodes: int, seconds: float
) -> None:
    *faults, last = plan(seed, nodes, seconds)
    assert last.kind == LEAVE
    assert last.targets[0] in names(nodes)[0]
    lanes: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        lanes["network" if KINDS[fault.kind].network else fault.targets[0]].append(fault)
        assert set(fault.targets) <= {*names(nodes)[0], *names(nodes)[1]}
        assert fault.at_s + fault.for_s <= seconds + 0.1
        assert (fault.actor != "") == (fault.kind == "crash")
        if "engine" in (fault.kind, fault.actor):
            assert fault.targets[0] in names(nodes)[0], "who has no model has no engine"
    for lane in lanes.values():
        for one, other in pairwise(lane):
            assert other.at_s >= one.at_s + one.for_s + REST_S - 0.2  # both are rounded


def test_only_the_kinds_that_were_asked_for_come() -> None:
    assert {fault.kind for fault in plan(1, 4, 200, ["kill", "delay"])} == {"kill", "delay", LEAVE}
    assert {fault.kind for fault in plan(1, 4, 200, ["engine"])} == {"engine", LEAVE}
    assert [fault.kind for fault in plan(1, 4, 200, [])] == [LEAVE]


def test_a_partition_parts_halves_and_one_way_has_two_ends() -> None:
    for fault in plan(3, 6, 600):
        if fault.kind == "partition":
            assert len(set(fault.targets)) == 3
        if fault.kind == "one_way":
            assert len(set(fault.targets)) == 2


def test_what_is_no_fault_is_named_beside_those_that_are() -> None:
    with pytest.raises(ValueError, match="no such fault: earthquake; there are kill, "):
        plan(1, 3, 10, ["kill", "earthquake"])
    with pytest.raises(ValueError, match="two nodes at least"):
        plan(1, 1, 10)


def test_the_plan_can_be_read_without_breaking_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plan", "--seed", "7", "--nodes", "3", "--seconds", "20"]) == 0
    assert capsys.readouterr().out.splitlines() == PLAN_7


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--nodes", "21"], "--nodes: 2 to 20"),
        (["--nodes", "1"], "--nodes: 2 to 20"),
        (["--faults", "rain"], "no such fault: rain"),
        (["--report", "a.txt"], "--report: .md or .json, not a.txt"),
    ],
)
def test_wrong_usage_is_told_before_anything_starts(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
