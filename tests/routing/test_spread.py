"""Which places should begin a part now."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.routing.placement import Demand, Offer, answer_seconds
from opengateway.routing.spread import seconds_until_free, worth_starting

DEMAND = Demand(0, 100)


def place(number: int, tps: float, *, slots: int = 1, running: tuple[float, ...] = ()) -> Offer:
    return Offer(f"p{number}", "lan", 0.0, slots, len(running), tps, running_s=running)


def makespan(speeds: list[float], parts: int) -> float:
    """Plays it out: whenever a place is free, each that is worth it begins a part."""
    now, left = 0.0, parts
    ends: list[tuple[float, int, float]] = []
    while left or ends:
        running = {number: now - began for _, number, began in ends}
        offers = [
            place(n, tps, running=(running[n],) if n in running else ()) for n, tps in enumerate(speeds)
        ]
        for number, tps in enumerate(speeds):
            if left and number not in running and f"p{number}" in worth_starting(offers, left, DEMAND):
                heapq.heappush(ends, (now + DEMAND.completion / tps, number, now))
                left -= 1
        now, _, _ = heapq.heappop(ends)
    return now


@pytest.mark.parametrize("parts", [1, 4, 7, 16, 64])
def test_parts_over_speeds_of_1_to_4_end_as_early_as_can_be(parts: int) -> None:
    speeds = [10.0, 20.0, 30.0, 40.0]
    ones = [DEMAND.completion / tps for tps in speeds]
    ends = sorted(one * turn for one in ones for turn in range(1, parts + 1))
    assert makespan(speeds, parts) == pytest.approx(ends[parts - 1])
    if parts == 64:
        assert makespan(speeds, parts) <= 1.15 * parts * DEMAND.completion / sum(speeds)


@given(st.lists(st.floats(1.0, 100.0), min_size=1, max_size=6), st.integers(1, 50))
def test_the_plan_is_never_worse_than_the_fastest_place_alone(speeds: list[float], parts: int) -> None:
    assert makespan(speeds, parts) <= parts * DEMAND.completion / max(speeds) + 1e-6


def test_a_slow_free_place_gets_nothing_that_a_fast_busy_one_ends_sooner() -> None:
    slow, fast = place(1, 5.0), place(2, 100.0, running=(0.5,))
    assert worth_starting([slow, fast], 1, DEMAND) == set()
    assert worth_starting([slow, fast], 50, DEMAND) == {"p1"}


def test_a_busy_place_that_stands_still_is_not_waited_for() -> None:
    slow, stuck = place(1, 5.0), place(2, 100.0, running=(60.0,))
    assert worth_starting([slow, stuck], 1, DEMAND) == {"p1"}


def test_the_queue_ahead_says_when_a_slot_is_free() -> None:
    here = [place(1, 10.0, slots=2, running=(4.0, 6.0))]
    one = answer_seconds(here[0], DEMAND)
    assert one == 10.0
    assert seconds_until_free(here, 0, DEMAND) == pytest.approx(4.0)
    assert seconds_until_free(here, 1, DEMAND) == pytest.approx(6.0)
    assert seconds_until_free(here, 2, DEMAND) == pytest.approx(14.0)
    assert seconds_until_free([], 0, DEMAND) > 3600
