"""Who may wait in front of a node's slots, and for how long."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.routing.priority import HEAD_START, Claim, Service, order
from opengateway.routing.queue import FOR_STRANGERS, STRANGER_AT_ONCE, Pace, displaced, room, waits
from opengateway.units import NodeId


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))


def claims(service: Service, *nodes: int, since: float = 0.0) -> list[Claim]:
    return [Claim(service, since + at / 100, node(n)) for at, n in enumerate(nodes)]


def test_while_there_is_room_everybody_waits() -> None:
    waiting = claims(Service.SECURED, 1, 2, 3)
    assert displaced(waiting, Claim(Service.STRANGER, 1.0, node(4)), {}, room(2)) is None


def test_who_comes_to_a_full_queue_of_its_equals_is_refused_at_once() -> None:
    waiting = claims(Service.SECURED, 1, 2, 3, 4)
    assert displaced(waiting, Claim(Service.SECURED, 1.0, node(5)), {}, room(2)) == len(waiting)


def test_credit_takes_the_place_of_a_stranger_beyond_the_strangers_own() -> None:
    waiting = [*claims(Service.SECURED, 1, 2, 3), *claims(Service.STRANGER, 7, 8)]
    assert displaced(waiting, Claim(Service.SECURED, 1.0, node(5)), {}, room(2)) == 4


def test_the_strangers_own_place_is_taken_by_nobody_with_credit() -> None:
    waiting = [*claims(Service.SECURED, 1, 2, 3, 4), *claims(Service.STRANGER, 7)]
    assert displaced(waiting, Claim(Service.SECURED, 1.0, node(5)), {}, room(2)) == len(waiting)


def test_a_stranger_finds_its_place_however_many_with_credit_wait() -> None:
    waiting = claims(Service.SECURED, 1, 2, 3, 4)
    assert displaced(waiting, Claim(Service.STRANGER, 1.0, node(7)), {}, room(2)) is None


def test_a_node_that_fills_the_queue_makes_room_for_one_that_has_nothing_there() -> None:
    waiting = claims(Service.SECURED, 1, 1, 1, 1)
    assert displaced(waiting, Claim(Service.SECURED, 1.0, node(2)), {}, room(2)) == 3


def test_a_stranger_has_no_more_than_two_requests_at_once() -> None:
    newcomer = Claim(Service.STRANGER, 1.0, node(1))
    waiting = claims(Service.STRANGER, 1)
    assert displaced(waiting, newcomer, {}, room(8)) is None
    assert displaced(waiting, newcomer, {node(1): 1}, room(8)) == len(waiting)
    assert STRANGER_AT_ONCE == 2


def test_slots_that_get_free_are_taken_in_order() -> None:
    assert waits([3.0, 1.0], [4.0, 4.0, 4.0]) == [1.0, 3.0, 5.0]


def test_without_any_slot_nobody_can_say_when() -> None:
    assert waits([], [1.0, 2.0]) == []


def test_how_long_an_answer_takes_is_learnt() -> None:
    pace = Pace()
    assert pace.expected("m", 100.0) == 2.0
    for _ in range(30):
        pace.ended("m", 8.0)
    assert pace.expected("m", 100.0) == pytest.approx(8.0)
    assert pace.left("m", 3.0) == pytest.approx(5.0)
    assert pace.left("m", 20.0) == pytest.approx(4.0)


def test_names_without_end_are_not_remembered_without_end() -> None:
    pace = Pace()
    for number in range(2 * Pace.MOST):
        pace.ended(f"m{number}", 1.0)
    assert len(pace._mean) == Pace.MOST


ARRIVALS = st.lists(
    st.tuples(st.floats(0.0, 200.0), st.sampled_from(list(Service)[1:]), st.integers(1, 6)), max_size=60
)


@given(ARRIVALS, st.integers(1, 3), st.floats(0.5, 5.0))
def test_whoever_is_let_in_begins_within_a_bound(
    arrivals: list[tuple[float, Service, int]], slots: int, seconds: float
) -> None:
    """The head start, and then what may be ahead of it: a full queue and the answers that are being given.
    Who is pushed out or refused is told at once."""
    places = room(slots)
    most = places + max(1, places // FOR_STRANGERS)
    events = sorted(arrivals)
    free = [0.0] * slots
    waiting: list[Claim] = []
    begun: list[tuple[Claim, float]] = []

    def serve(until: float) -> None:
        while waiting and free[0] <= until:
            now = heapq.heappop(free)
            claim = waiting.pop(order(waiting, {})[0])
            start = max(now, claim.since)
            begun.append((claim, start))
            heapq.heappush(free, start + seconds)

    for at, service, who in events:
        serve(at)
        newcomer = Claim(service, at, node(who))
        gone = displaced(waiting, newcomer, {}, places)
        waiting.append(newcomer)
        if gone is not None:
            waiting.pop(gone)
        assert len(waiting) <= most
    serve(float("inf"))
    for claim, start in begun:
        own = 5.0 * most  # its node's other requests, all of which may have come first
        assert start - claim.since <= HEAD_START[claim.service] + own + seconds * (2 + most / slots)
