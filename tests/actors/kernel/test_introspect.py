"""What can be seen of a tree without asking anybody in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kernel_lab import Boom, Note, Sleeper, Who, boom, settle, worker

from actors.kernel import Address, ManualClock, Supervisor, describe, find, stack

Plant = Callable[..., Address[Any]]


def test_a_tree_is_described_while_one_in_it_is_stuck(clock: ManualClock, plant: Plant) -> None:
    a, b = worker("a", clock, mailbox=3), worker("b", clock)
    root = plant(Address("middle", Supervisor, a, clock=clock), b)
    a.ask(Who()).get(timeout=10)
    b.tell(Boom(OSError("port\nin use")))
    settle(root)
    clock.advance(2)
    settle(root)
    sleeper = Sleeper(a)
    for _ in range(5):
        a.tell(Note("my secret prompt"))
    clock.advance(30)
    rows = describe(root)
    assert [(row.name, row.depth, row.state, row.life) for row in rows] == [
        ("root", 0, "running", 1),
        ("middle", 1, "running", 1),
        ("a", 2, "running", 1),
        ("b", 1, "running", 2),
    ]
    stuck = rows[2]
    assert (stuck.handled, stuck.mailbox, stuck.peak, stuck.lost) == (1, 3, 3, 2)
    assert (stuck.doing, stuck.busy_s, stuck.uptime_s, stuck.error) == ("Nap", 30, 32, "")
    fallen = rows[3]
    assert (fallen.doing, fallen.busy_s, fallen.uptime_s) == ("", 0, 30)
    assert fallen.error == "OSError: port in use"
    assert "secret" not in repr(rows)
    sleeper.wake()


def test_the_stack_of_a_stuck_actor_says_where_it_is(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock, patience=0.05), lone=True)
    sleeper = Sleeper(a)
    assert "wake.wait(DEADLINE_S)" in stack(a)
    a.stop()
    assert stack(a).startswith("a (abandoned):\n")
    assert "wake.wait(DEADLINE_S)" in stack(a)
    sleeper.join()
    assert stack(a) == "a is abandoned: no thread runs there\n"


def test_nobody_lives_at_a_new_address(clock: ManualClock) -> None:
    (row,) = describe(worker("a", clock))
    assert (row.state, row.life, row.uptime_s, row.handled, row.doing) == ("new", 0, 0, 0, "")


def test_an_actor_is_found_by_name_or_the_names_are_told(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock)
    root = plant(a)
    assert find(root, "a") is a
    with pytest.raises(KeyError, match="no actor is called 'b'; there are root, a"):
        find(root, "b")


def test_what_failed_stays_visible_after_the_restart(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock)
    root = plant(a)
    a.tell(boom())
    settle(root)
    assert [row.state for row in describe(root)] == ["running", "backoff"]
    clock.advance(2)
    settle(root)
    assert describe(root)[1].error == "RuntimeError: boom"
