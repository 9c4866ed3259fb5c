"""The search for peers: it begins next door, widens as far as it must, and rests."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from opengateway.discovery.seeking import (
    AGAIN_S,
    COMPANY,
    CONTENT_REST_S,
    FIRST_REST_S,
    JITTER,
    REST_LIMIT_S,
    WANTED_FOR_S,
    WANTS_LIMIT,
    WORKERS,
    Seeking,
)
from opengateway.discovery.topics import RINGS


def seeking() -> Seeking:
    return Seeking(chance=random.Random(7))


def until(plan: Seeking, end: float, start: float = 0.0, step: float = 0.5) -> list[tuple[float, str, str]]:
    """(when, ring, model) of every search up to `end`."""
    found, now = [], start
    while now < end:
        found += [(now, *search) for search in plan.due(now)]
        now += step
    return found


def test_a_node_alone_asks_its_region_first_and_then_ever_wider() -> None:
    rings = [ring for _, ring, model in until(seeking(), 12.0) if model == ""]
    assert rings == list(RINGS)


def test_after_the_world_was_asked_in_vain_it_rests_longer_each_time_but_never_gives_up() -> None:
    begun = [at for at, ring, _ in until(seeking(), 6 * 3600.0) if ring == "region"]
    pauses = [later - earlier for earlier, later in pairwise(begun)]
    assert FIRST_REST_S < pauses[0] < 3 * FIRST_REST_S
    assert pauses[1] > pauses[0]
    assert max(pauses) <= REST_LIMIT_S * (1 + JITTER) + 10
    assert begun[-1] > 5 * 3600.0


def test_it_stops_widening_once_there_are_enough() -> None:
    plan = seeking()
    assert plan.due(0.0) == [("region", "")]
    plan.there({"": COMPANY}, 0.1)
    later = until(plan, CONTENT_REST_S * (1 - JITTER) - 10, start=1.0)
    # One more look that was planned already; from then on it is content.
    assert len(later) <= 1
    assert until(plan, 3 * CONTENT_REST_S, start=CONTENT_REST_S), "newcomers are looked for all the same"


def test_a_model_that_somebody_asks_for_is_looked_for_at_once() -> None:
    plan = seeking()
    plan.want("llama", 100.0)
    assert ("region", "llama") in plan.due(100.0)


def test_asking_again_and_again_does_not_search_again_and_again() -> None:
    plan = seeking()
    searches = 0
    for at in range(500):
        now = at * 0.01
        plan.want("llama", now)
        searches += sum(1 for _, model in plan.due(now) if model == "llama")
    assert searches <= len(RINGS)
    resting = until(plan, 20.0, start=6.0)
    assert resting
    plan.want("llama", 20.0 + AGAIN_S)
    assert ("region", "llama") in plan.due(20.0 + AGAIN_S), "a user's word ends the rest"


def test_a_model_with_enough_workers_is_not_searched_on_a_users_word() -> None:
    plan = seeking()
    plan.want("llama", 0.0)
    plan.there({"llama": WORKERS, "": COMPANY}, 0.0)
    until(plan, 10.0)
    plan.want("llama", 10.0)
    assert plan.due(10.0) == []


def test_losing_peers_begins_the_search_anew_and_soon() -> None:
    plan = seeking()
    plan.there({"": COMPANY}, 0.0)
    until(plan, 30.0)
    plan.there({"": COMPANY - 1}, 30.0)
    assert [ring for at, ring, _ in until(plan, 33.0, start=30.0)][:1] == ["region"]


def test_what_nobody_wanted_for_an_hour_is_forgotten_and_company_never() -> None:
    plan = seeking()
    plan.want("llama", 0.0)
    until(plan, WANTED_FOR_S + REST_LIMIT_S * 2, step=10.0)
    assert plan.wants == ("",)


@given(st.lists(st.text(max_size=5), max_size=200))
def test_names_that_users_make_up_do_not_fill_the_memory(names: list[str]) -> None:
    plan = seeking()
    for at, name in enumerate(names):
        plan.want(name, float(at))
    assert len(plan.wants) <= WANTS_LIMIT
    assert "" in plan.wants
    if names:
        assert names[-1] in plan.wants


def test_a_table_that_was_empty_is_asked_again_when_it_is_not() -> None:
    plan = seeking()
    until(plan, 12.0)
    plan.again(12.0)
    assert plan.due(12.0) == [("region", "")]
