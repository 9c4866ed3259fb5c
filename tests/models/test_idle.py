"""When a machine is lent: the owner's policy against the clock and the load."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from opengateway.hours import read_span
from opengateway.models.idle import QUIET_LOOKS, Lending, Policy, reason
from opengateway.models.machine import Load

NOON, NIGHT = datetime(2026, 11, 25, 12, 0), datetime(2026, 11, 25, 23, 0)  # noqa: DTZ001
IDLE = Load(
    cpu_percent=90.0,
    owner_cpu_percent=3.0,
    ram_free_bytes=1,
    disk_free_bytes=1,
    battery_percent=None,
    plugged=None,
)
BUSY = replace(IDLE, owner_cpu_percent=60.0)
GAME = replace(IDLE, owner_gpu_percent=80.0)
UNPLUGGED = replace(IDLE, plugged=False, battery_percent=80.0)
WHEN_IDLE = Policy("idle")


def looks(policy: Policy, *loads: Load) -> list[str]:
    lending = Lending(policy)
    return [lending.why for load in loads if lending.look(load, NOON)]


def test_the_owners_own_work_pauses_at_the_first_look() -> None:
    assert looks(WHEN_IDLE, IDLE, BUSY) == ["you use it (60 % of its CPU)"]
    assert looks(WHEN_IDLE, IDLE, GAME) == ["you use it (80 % of its GPU)"]


def test_our_own_engines_do_not_count_as_the_owner() -> None:
    assert looks(WHEN_IDLE, IDLE, IDLE) == []


def test_a_short_pause_of_the_owner_lends_nothing() -> None:
    assert len(looks(WHEN_IDLE, BUSY, *[IDLE] * (QUIET_LOOKS - 1), BUSY)) == 1


def test_the_machine_is_lent_again_after_a_while() -> None:
    assert looks(WHEN_IDLE, BUSY, *[IDLE] * QUIET_LOOKS)[-1] == ""


def test_on_battery_the_machine_is_lent_only_where_the_owner_says_so() -> None:
    assert looks(WHEN_IDLE, UNPLUGGED) == ["it runs on battery"]
    assert looks(Policy("always"), UNPLUGGED) == ["it runs on battery"]
    assert looks(Policy("always", on_battery=True), UNPLUGGED) == []


def test_always_means_beside_the_owners_work_too() -> None:
    assert looks(Policy("always"), BUSY, GAME) == []


def test_only_in_the_hours_that_the_owner_has_named() -> None:
    policy = Policy("always", (read_span("22:00-07:00"),))
    assert reason(policy, IDLE, NIGHT) == ""
    assert "hours" in reason(policy, IDLE, NOON)


def test_never_is_never() -> None:
    assert reason(Policy("never"), IDLE, NOON)


def test_a_reason_that_changes_is_told_once_and_shown_as_it_is() -> None:
    lending = Lending(WHEN_IDLE)
    assert lending.look(BUSY, NOON)
    assert not lending.look(UNPLUGGED, NOON)
    assert lending.why == "it runs on battery"
