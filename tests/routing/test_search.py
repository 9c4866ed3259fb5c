"""The widening search: whom it asks, in which order, and when it has enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opengateway.routing.placement import RINGS, Offer
from opengateway.routing.search import FEW, MOST_ASKED, RING_S, AskSlots, Search
from opengateway.units import NodeId

NEAR, FAR = "lan", "world"


def offers(*rings: str, tps: float = 50.0, slots: int = 1) -> list[Offer]:
    return [
        Offer(NodeId(number.to_bytes(32)), ring, 0.01, slots, 0, tps) for number, ring in enumerate(rings, 1)
    ]


def rings(asks: list[AskSlots]) -> list[str]:
    return [ask.ring for ask in asks]


def test_the_nearest_few_are_asked_first_and_nobody_farther() -> None:
    search = Search(offers(FAR, *[NEAR] * 5, "nearest"), 1)
    assert rings(search.begin(0.0)) == [NEAR] * FEW
    assert search.ring == NEAR


def test_one_slot_found_ends_the_search_for_one() -> None:
    search = Search(offers(NEAR, NEAR, FAR), 1)
    asks = search.begin(0.0)
    assert search.answered(asks[0].place, 1, 0.1) == []
    assert search.over
    assert search.due(99.0) == []


def test_a_ring_that_is_full_is_asked_twice_and_then_the_next() -> None:
    search = Search(offers(*[NEAR] * 9, "nearest", FAR), 1)
    asked, asks = [], search.begin(0.0)
    while asks:
        asked.append(rings(asks))
        more: list[AskSlots] = []
        for ask in asks:
            more += search.answered(ask.place, 0, 0.1)
        asks = more
    assert asked == [[NEAR] * FEW, [NEAR] * FEW, ["nearest"], [FAR]]
    assert search.over
    assert search.found == 0


def test_a_silent_ring_is_widened_after_its_time_and_counts_when_it_speaks_late() -> None:
    search = Search(offers(NEAR, FAR), 1)
    [near] = search.begin(0.0)
    assert search.due(RING_S[NEAR] / 2) == []
    assert rings(search.due(RING_S[NEAR])) == [FAR]
    assert search.answered(near.place, 1, 1.0) == []
    assert search.over


def test_many_slots_are_looked_for_at_many_places_at_once_and_kept_from_the_near_ones() -> None:
    search = Search(offers(*[NEAR] * 3, *["nearest"] * 4, *[FAR] * 20), 10)
    near = search.begin(0.0)
    assert rings(near) == [NEAR] * 3
    wider: list[AskSlots] = []
    for ask in near:
        wider += search.answered(ask.place, 1, 0.1)
    assert rings(wider) == ["nearest"] * 4
    far: list[AskSlots] = []
    for ask in wider:
        far += search.answered(ask.place, 1, 0.2)
    assert rings(far) == [FAR] * 3
    assert search.found == 7


def test_places_that_cannot_keep_up_with_a_reader_come_after_all_rings_that_can() -> None:
    slow, quick = offers(NEAR, tps=0.5)[0], offers(NEAR, FAR)[1]
    assert [ask.place for ask in Search([slow, quick], 1).begin(0.0)] == [quick.place]


@given(
    st.lists(st.sampled_from(RINGS[1:]), max_size=60),
    st.integers(1, 40),
    st.lists(st.integers(0, 3), min_size=60, max_size=60),
)
def test_nobody_is_asked_twice_and_no_more_than_the_bound(
    places: list[str], want: int, answers: list[int]
) -> None:
    search = Search(offers(*places), want)
    asked: list[AskSlots] = []
    now, waiting, left = 0.0, search.begin(0.0), iter(answers)
    while waiting:
        asked += waiting
        more: list[AskSlots] = []
        for ask in waiting:
            more += search.answered(ask.place, next(left), now)
        waiting = more or search.due(now := now + 2.0)
    assert len({ask.place for ask in asked}) == len(asked) <= MOST_ASKED + want - 1
    assert [RINGS.index(ask.ring) for ask in asked] == sorted(RINGS.index(ask.ring) for ask in asked)
    assert search.over
