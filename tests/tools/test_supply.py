"""What is installed with a node: lowest versions, and licences that are listed and fit ours."""

from __future__ import annotations

import re

import pytest

from tools.supply import licences
from tools.supply.lowest import lowest, requirements

NAME = re.compile(r"[A-Za-z0-9._-]+")


def names(lines: list[str]) -> set[str]:
    return {found[0].lower() for line in lines if (found := NAME.match(line))}


def test_everything_that_is_needed_has_a_lowest_version() -> None:
    needed = requirements()
    assert names(lowest(needed)) == names(needed)
    assert all("==" in line for line in lowest(needed))


def test_a_marker_stays_with_its_requirement() -> None:
    assert lowest(['uvloop>=0.21; sys_platform != "win32"']) == ['uvloop==0.21; sys_platform != "win32"']


def test_an_extra_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        requirements(("no such extra",))


def test_the_page_of_licences_lists_everything_that_is_needed() -> None:
    page = licences.PAGE.read_text()
    listed = {row.split("|")[1].strip().lower() for row in page.splitlines() if row.startswith("| ")}
    assert names(requirements()) <= listed, "tools/supply/licences.py --write"


def test_no_licence_of_what_is_installed_binds_the_whole_node() -> None:
    assert not [
        one.metadata["Name"] for one in licences.closure() if licences.COPYLEFT.search(licences.licence(one))
    ]


@pytest.mark.parametrize(
    ("licence", "binds"),
    [
        ("AGPL-3.0-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("LGPL-2.1-or-later", False),
        ("MIT", False),
    ],
)
def test_a_licence_that_binds_whoever_ships_the_node_is_noticed(licence: str, binds: bool) -> None:
    assert bool(licences.COPYLEFT.search(licence)) is binds
