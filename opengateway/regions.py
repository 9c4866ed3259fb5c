"""Where a node is: AWS-style region codes, each with its country, continent and coordinates.

The codes are those that cloud users know; a node in Nairobi or Oslo takes the nearest. Nothing here
is exact: it orders a search (country, then continent, then world) before anybody has measured a
round trip.

`regions.json` also places each tz database zone (country and coordinates from its `zone.tab`, which
is in the public domain, old names included), so that a node knows its region without asking anyone.

What a node says of its place can be disproved, never proven: an answer cannot have come from farther away
than light gets in half of the round trip, but anybody can answer late.
"""

from __future__ import annotations

import functools
import json
import math
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from opengateway.closest import closest
from opengateway.errors import UnknownRegion

DEFAULT: Final = "us-east-1"
"""For a machine that keeps UTC, as servers do: the oldest region, and most used."""

EARTH_RADIUS_KM: Final = 6371.0088  # IUGG mean radius

KM_PER_MS: Final = 102.1
"""How far away at most something is per millisecond of round trip: light in fibre makes 204.2 km in one
(refractive index 1.468), and has to come back."""


@dataclass(frozen=True, slots=True)
class Region:
    code: str
    area: str
    """What people call it, such as "N. Virginia"."""
    city: str
    country: str
    """ISO 3166-1 alpha-2."""
    continent: str
    """AF, AS, EU, NA, OC or SA."""
    latitude: float
    longitude: float
    open: bool = True
    """False where only some may be: a government or sovereign partition. It is never guessed."""

    def distance_km(self, other: Region) -> float:
        return distance_km(self.latitude, self.longitude, other.latitude, other.longitude)


@functools.cache
def _table() -> tuple[dict[str, Region], dict[str, tuple[str, float, float]]]:
    raw: dict[str, Any] = json.loads(
        resources.files("opengateway").joinpath("regions.json").read_text("utf-8")
    )
    places = {row["code"]: Region(**row) for row in raw["regions"]}
    return places, {name: (row[0], row[1], row[2]) for name, row in raw["timezones"].items()}


def regions() -> dict[str, Region]:
    """Every region by its code."""
    return dict(_table()[0])


def region(code: str) -> Region:
    """The region with this code. Raises `UnknownRegion`, naming what was probably meant."""
    known = _table()[0]
    if (found := known.get(code)) is not None:
        return found
    near = closest(code, known)
    meant = f', did you mean "{near}"?' if near else ""
    raise UnknownRegion(
        f'unknown region "{code}"{meant}',
        hint=f"set one with `opengateway config set region {near or DEFAULT}`; "
        'or "" to have it guessed from the timezone',
    )


def nearest(latitude: float, longitude: float, country: str = "") -> Region:
    """The closest open region, in degrees north and east; one in `country` comes before all others.

    The country first: from Shanghai, Taipei is nearer than Beijing, but it is not where the data may go.
    """
    candidates = [place for place in _table()[0].values() if place.open]
    at_home = [place for place in candidates if place.country == country]
    return min(at_home or candidates, key=lambda r: distance_km(latitude, longitude, r.latitude, r.longitude))


@functools.cache
def shortest_round_trip_ms(one: str, other: str) -> float:
    """The least that a round trip takes between nodes that are rightly in these two regions; 0 where nothing
    can be said: the same or neighbouring regions, or a code that we do not know.

    A region is where its nodes have their nearest data centre, not where they are: a node on Hawaii is
    rightly in us-west-1. So each may be as far from its centre as the farthest timezone counted to it."""
    known = _table()[0]
    if one not in known or other not in known:
        return 0.0
    apart = known[one].distance_km(known[other])
    return max(0.0, apart - _farthest_km()[one] - _farthest_km()[other]) / KM_PER_MS


@functools.cache
def _farthest_km() -> dict[str, float]:
    found = dict.fromkeys(_table()[0], 0.0)
    for country, latitude, longitude in _table()[1].values():
        place = nearest(latitude, longitude, country)
        away = distance_km(latitude, longitude, place.latitude, place.longitude)
        found[place.code] = max(found[place.code], away)
    return found


def guess(timezone: str | None = None) -> Region:
    """The region nearest to this machine's timezone (or to `timezone`); `DEFAULT` for UTC and unknown."""
    name = system_timezone() if timezone is None else timezone
    place = _table()[1].get(name)
    if place is None:
        return region(DEFAULT)
    country, latitude, longitude = place
    return nearest(latitude, longitude, country)


def system_timezone(root: Path = Path("/")) -> str:
    """The tz database name this machine is set to, such as "Europe/Oslo"; "" if it says none."""
    name = os.environ.get("TZ", "").lstrip(":")
    if not name:
        name = _link_target(root / "etc/localtime") or _first_line(root / "etc/timezone")
    return name if not name.startswith("/") else _after_zoneinfo(name)


def _link_target(path: Path) -> str:
    try:
        return _after_zoneinfo(str(path.readlink()))
    except OSError:  # no link: a copy of the zone file, which does not know its own name
        return ""


def _after_zoneinfo(path: str) -> str:
    _, found, name = path.partition("zoneinfo/")
    return name.removeprefix("posix/").removeprefix("right/") if found else ""


def _first_line(path: Path) -> str:
    try:
        return path.read_text("ascii").strip().partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance between two points in degrees (haversine formula)."""
    a, b = math.radians(lat1), math.radians(lat2)
    across = math.sin((b - a) / 2) ** 2
    along = math.cos(a) * math.cos(b) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, across + along)))
