"""Hours of the week, as the owner of a node writes them: `22:00-07:00`, `sat+sun 00:00-24:00`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Span:
    """Hours of some days, in minutes after midnight; `until` at or before `since` is on the next day."""

    days: frozenset[int]
    """0 is Monday."""
    since: int
    until: int

    def holds(self, now: datetime) -> bool:
        """`now` in the time of the place."""
        minute, today = now.hour * 60 + now.minute, now.weekday()
        if self.since < self.until:
            return today in self.days and self.since <= minute < self.until
        yesterday = (today - 1) % len(DAYS)
        return (today in self.days and minute >= self.since) or (
            yesterday in self.days and minute < self.until
        )


def read_span(text: str) -> Span:
    """Raises `ValueError` with what is wrong."""
    *named, hours = text.split() or [""]
    since, dash, until = hours.partition("-")
    if len(named) > 1 or not dash:
        raise ValueError(
            f"{text!r} is no time such as 22:00-07:00, mon-fri 18:00-23:30 or sat+sun 00:00-24:00"
        )
    days = (
        frozenset(day for part in named[0].split("+") for day in _days(part)) if named else range(len(DAYS))
    )
    return Span(frozenset(days), _minutes(since), _minutes(until))


def _days(part: str) -> list[int]:
    """`sat`, or `mon-fri`."""
    first, dash, last = part.lower().partition("-")
    for day in (first, last) if dash else (first,):
        if day not in DAYS:
            raise ValueError(f"{day!r} is none of {', '.join(DAYS)}")
    begin = DAYS.index(first)
    count = (DAYS.index(last) - begin) % len(DAYS) + 1 if dash else 1
    return [(begin + at) % len(DAYS) for at in range(count)]


def _minutes(clock: str) -> int:
    hour, colon, minute = clock.partition(":")
    shaped = colon and hour.isdecimal() and minute.isdecimal() and len(minute) == 2 and int(minute) < 60
    if shaped and (found := int(hour) * 60 + int(minute)) <= DAY_MINUTES:
        return found
    raise ValueError(f"{clock!r} is no time of day such as 07:30")
