"""Claims of a place that physics disproves."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.discovery.claims import DOUBTERS, Claim, Judged, judge
from opengateway.regions import KM_PER_MS, region, regions, shortest_round_trip_ms
from opengateway.units import NodeId

FRANKFURT, PARIS, VIRGINIA, TOKYO = "eu-central-1", "eu-west-3", "us-east-1", "ap-northeast-1"
PLACES = st.sampled_from(sorted(regions()))


def who(number: int) -> NodeId:
    return NodeId(bytes([number]) * 32)


def claims(*found: tuple[str, float]) -> list[Claim]:
    return [Claim(who(number), place, ms) for number, (place, ms) in enumerate(found, 1)]


def test_an_answer_that_is_faster_than_light_disproves_a_far_claim() -> None:
    assert judge(FRANKFURT, claims((TOKYO, 8.0), (VIRGINIA, 8.0))).disproved == {who(1), who(2)}


def test_what_people_really_measure_disproves_nobody() -> None:
    measured = claims((TOKYO, 220.0), (VIRGINIA, 88.0), (PARIS, 9.0), (FRANKFURT, 0.4))
    assert judge(FRANKFURT, measured) == Judged()


def test_a_slow_answer_proves_nothing_about_a_near_claim() -> None:
    assert judge(FRANKFURT, claims((FRANKFURT, 900.0), (PARIS, 900.0))) == Judged()


def test_a_region_that_we_do_not_know_cannot_be_disproved() -> None:
    assert judge(FRANKFURT, claims(("atlantis-1", 0.1))) == Judged()
    assert judge("atlantis-1", claims((TOKYO, 0.1))) == Judged()


def test_one_that_finds_all_its_neighbours_somewhere_impossible_doubts_itself() -> None:
    """A computer that keeps UTC is guessed to be in us-east-1."""
    near = [(FRANKFURT, 3.0)] * DOUBTERS
    assert judge(VIRGINIA, claims(*near)) == Judged(ours=True)
    assert judge(VIRGINIA, claims(*near[1:])).disproved, "two are too few to doubt the owner's word"


def test_liars_do_not_make_a_node_doubt_itself_while_more_neighbours_agree() -> None:
    liars, honest = [(TOKYO, 3.0)] * DOUBTERS, [(FRANKFURT, 3.0)] * DOUBTERS
    judged = judge(FRANKFURT, claims(*liars, *honest))
    assert not judged.ours
    assert len(judged.disproved) == DOUBTERS
    far = [(VIRGINIA, 90.0)] * 20
    assert judge(FRANKFURT, claims(*liars, *far)).ours, "who is far away cannot tell where we are"


@given(PLACES, PLACES)
def test_nobody_who_is_in_the_middle_of_his_region_is_ever_wronged(one: str, other: str) -> None:
    least = shortest_round_trip_ms(one, other)
    assert least == pytest.approx(shortest_round_trip_ms(other, one))
    assert 0 <= least <= region(one).distance_km(region(other)) / KM_PER_MS
    assert least < math.pi * 6371.1 / KM_PER_MS


@pytest.mark.parametrize(("one", "other"), [("us-east-1", "us-west-2"), ("eu-central-1", "eu-south-2")])
def test_regions_whose_people_may_be_neighbours_disprove_nothing(one: str, other: str) -> None:
    assert shortest_round_trip_ms(one, other) == 0
