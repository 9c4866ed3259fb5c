"""The hours in which a machine is lent."""

from __future__ import annotations

from datetime import datetime

import pytest

from opengateway.hours import read_span

MONDAY, SATURDAY = 2, 7
"""Of November 2026."""


def at(day: int, clock: str) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 11, day, hour, minute)  # noqa: DTZ001 - the time of the place


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ("09:00-17:30", [(MONDAY, "09:00"), (SATURDAY, "17:29")], [(MONDAY, "08:59"), (MONDAY, "17:30")]),
        ("22:00-07:00", [(MONDAY, "22:00"), (MONDAY, "06:59")], [(MONDAY, "07:00"), (MONDAY, "21:59")]),
        ("00:00-24:00", [(MONDAY, "00:00"), (MONDAY, "23:59")], []),
        ("mon-fri 18:00-23:00", [(MONDAY, "18:00")], [(SATURDAY, "18:00"), (MONDAY, "17:00")]),
        ("sat+sun 00:00-24:00", [(SATURDAY, "12:00"), (8, "12:00")], [(MONDAY, "12:00")]),
        ("fri 22:00-04:00", [(6, "23:00"), (SATURDAY, "03:59")], [(SATURDAY, "23:00"), (6, "03:00")]),
        ("sat-mon 10:00-11:00", [(SATURDAY, "10:00"), (8, "10:30"), (MONDAY, "10:00")], [(3, "10:00")]),
    ],
)
def test_a_span_holds_inside_and_not_outside(
    span: str, inside: list[tuple[int, str]], outside: list[tuple[int, str]]
) -> None:
    assert all(read_span(span).holds(at(*moment)) for moment in inside)
    assert not any(read_span(span).holds(at(*moment)) for moment in outside)


@pytest.mark.parametrize(
    "text", ["", "night", "22:00", "25:00-26:00", "9-17", "09:60-10:00", "xyz 09:00-10:00"]
)
def test_what_is_no_span_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|none of"):
        read_span(text)
