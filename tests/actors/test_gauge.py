"""The machine is lent when its owner does not use it, and taken back within one look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from actors.gauge import QUIET_LOOKS, Gauge
from opengateway.models.machine import Load

IDLE = Load(
    cpu_percent=90.0,
    owner_cpu_percent=3.0,
    ram_free_bytes=1,
    disk_free_bytes=1,
    battery_percent=None,
    plugged=None,
)
BUSY = replace(IDLE, owner_cpu_percent=60.0)


def looks(folder: Path, *loads: Load) -> list[bool]:
    told: list[bool] = []
    gauge = Gauge(folder, measured=lambda _: None, owner_busy=told.append)
    for load in loads:
        gauge._look_for_the_owner(load)
    return told


def test_the_owners_own_work_pauses_at_the_first_look(tmp_path: Path) -> None:
    assert looks(tmp_path, IDLE, BUSY) == [True]


def test_our_own_engines_do_not_count_as_the_owner(tmp_path: Path) -> None:
    assert looks(tmp_path, IDLE, IDLE) == []


def test_a_short_pause_of_the_owner_lends_nothing(tmp_path: Path) -> None:
    assert looks(tmp_path, BUSY, *[IDLE] * (QUIET_LOOKS - 1), BUSY) == [True]


def test_the_machine_is_lent_again_after_a_while(tmp_path: Path) -> None:
    assert looks(tmp_path, BUSY, *[IDLE] * QUIET_LOOKS) == [True, False]


def test_on_battery_the_machine_is_not_lent(tmp_path: Path) -> None:
    assert looks(tmp_path, replace(IDLE, plugged=False, battery_percent=80.0)) == [True]
