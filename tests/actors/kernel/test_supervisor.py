"""Who starts, stops and restarts whom."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from kernel_lab import Boom, Note, Sleeper, Who, Worker, boom, poll, settle, worker

from actors.kernel import (
    ActorDeadError,
    Address,
    Adopt,
    Backoff,
    Escalated,
    ManualClock,
    Refused,
    Release,
    Supervisor,
)

Plant = Callable[..., Address[Any]]


def test_a_restart_keeps_the_address_and_its_mail(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock)
    root = plant(a)
    sleeper = Sleeper(a)
    a.tell(boom())
    answer = a.ask(Who())
    sleeper.wake()
    settle(root)
    assert a.state == "backoff"
    clock.advance(2)
    assert answer.get(timeout=10) == 2


def test_a_crash_loop_backs_off_twice_as_long_each_time(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock, backoff=Backoff(first=1, limit=6, tries=None))
    root = plant(a)
    for shortest, longest in [(0.8, 1.2), (1.6, 2.4), (3.2, 4.8), (4.8, 7.2), (4.8, 7.2)]:
        a.tell(boom())
        settle(root)
        clock.advance(shortest - 0.01)
        settle(root)
        assert a.state == "backoff"
        clock.advance(longest - shortest + 0.02)
        settle(root)
        assert a.state == "running"


def test_the_thousandth_wait_is_no_longer_than_the_limit() -> None:
    assert Backoff(limit=30, tries=None).delay(5000) <= 36


def test_staying_up_forgives(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock)
    root = plant(a)
    for _ in range(6):
        a.tell(boom())
        settle(root)
        clock.advance(10)
        a.ask(Who()).get(timeout=10)
        clock.advance(100)
    assert root.state == "running"
    assert a.failures == 1


@pytest.mark.parametrize(
    ("takes_down", "lives"),
    [("itself", [1, 2, 1]), ("the rest", [1, 2, 2]), ("everyone", [2, 2, 2])],
)
def test_a_failure_takes_down_what_it_is_told_to(
    clock: ManualClock, plant: Plant, takes_down: str, lives: list[int]
) -> None:
    workers = [worker(name, clock) for name in "abc"]
    root = plant(*workers, takes_down=takes_down)
    workers[1].tell(boom())
    settle(root)
    clock.advance(5)
    assert [w.ask(Who()).get(timeout=10) for w in workers] == lives


class Diarist(Worker):
    def on_start(self) -> None:
        self.diary.append(f"+{self.address.name}")

    def on_exit(self) -> None:
        self.diary.append(f"-{self.address.name}")


def diarists(diary: list[str], clock: ManualClock, **options: Any) -> list[Address[Any]]:
    return [worker(name, clock, lambda: Diarist(diary), **options) for name in "abc"]


def test_children_start_in_order_and_stop_in_reverse(clock: ManualClock, plant: Plant) -> None:
    diary: list[str] = []
    plant(*diarists(diary, clock)).stop()
    assert diary == ["+a", "+b", "+c", "-c", "-b", "-a"]


def test_those_taken_down_together_come_back_in_order(clock: ManualClock, plant: Plant) -> None:
    for _ in range(20):  # each wait is random; the order must not be
        diary: list[str] = []
        a, b, c = diarists(diary, clock)
        root = plant(a, b, c, takes_down="everyone")
        diary.clear()
        b.tell(boom())
        settle(root)
        clock.advance(5)
        settle(root)
        assert diary == ["-b", "-c", "-a", "+a", "+b", "+c"]


def test_a_later_failure_of_an_elder_delays_those_who_wait_already(clock: ManualClock, plant: Plant) -> None:
    diary: list[str] = []
    a, b, c = diarists(diary, clock, backoff=Backoff(first=10))
    root = plant(a, b, c, takes_down="the rest")
    diary.clear()
    c.tell(boom())
    settle(root)
    clock.advance(7)
    b.tell(boom())
    settle(root)
    clock.advance(7)  # the time of c's own restart, which is void by now
    settle(root)
    assert (b.state, c.state) == ("backoff", "backoff")
    clock.advance(7)
    settle(root)
    assert diary == ["-c", "-b", "+b", "+c"]


def test_too_many_failures_in_a_row_escalate_and_whoever_waits_on_the_root_sees_it(
    clock: ManualClock, plant: Plant
) -> None:
    a = worker("a", clock)
    root = plant(a)
    for _ in range(3):
        a.tell(boom())
        settle(root)
        clock.advance(10)
        settle(root)
    failure = root.wait(10)
    assert isinstance(failure, Escalated)
    assert isinstance(failure.__cause__, RuntimeError)
    assert str(failure) == "a failed 3 times in a row"
    assert (root.state, a.state) == ("failed", "failed")
    root.close()
    with pytest.raises(ActorDeadError):
        a.ask(Who()).get(timeout=10)


def test_a_supervisor_that_escalates_is_restarted_by_its_own(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock, backoff=Backoff(tries=0))
    middle = Address("middle", Supervisor, a, clock=clock, backoff=Backoff(first=1, tries=1))
    root = plant(middle)
    a.tell(boom())
    settle(root)
    assert (root.state, middle.state, a.state) == ("running", "backoff", "failed")
    clock.advance(2)
    settle(root)
    assert (middle.life, a.life, a.state) == (2, 2, "running")
    a.tell(boom())
    assert isinstance(root.wait(10), Escalated)
    assert root.life == 1


def test_an_escalation_climbs_two_supervisors(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock, backoff=Backoff(tries=0))
    inner = Address("inner", Supervisor, a, clock=clock, backoff=Backoff(tries=0))
    outer = Address("outer", Supervisor, inner, clock=clock, backoff=Backoff(first=1, tries=1))
    root = plant(outer)
    a.tell(boom())
    settle(root)
    assert isinstance(outer.error, Escalated)
    assert isinstance(outer.error.__cause__, Escalated)
    clock.advance(2)
    settle(root)
    assert [(address.name, address.life, address.state) for _, address in root.walk()] == [
        ("root", 1, "running"),
        ("outer", 2, "running"),
        ("inner", 2, "running"),
        ("a", 2, "running"),
    ]


def test_a_supervisor_that_fails_discards_the_poison_below_it_and_tells_who_asked(
    clock: ManualClock, plant: Plant
) -> None:
    diary: list[str] = []
    a = worker("a", clock, lambda: Worker(diary))
    bystander = worker("bystander", clock)
    middle = Address("middle", Supervisor, a, clock=clock, backoff=Backoff(first=1))
    root = plant(middle, bystander)
    elsewhere = Sleeper(bystander)
    kept = bystander.ask(Who())
    sleeper = Sleeper(a)
    for _ in range(10):
        a.tell(boom())
    a.tell(Note("behind the poison"))
    a.tell_later(1000, Note("a timer"))
    waiting = a.ask(Who())
    sleeper.wake()
    for _ in range(2):
        settle(middle)
        assert a.state == "backoff"
        clock.advance(10)
    poll(lambda: middle.state == "backoff")
    with pytest.raises(ActorDeadError, match="supervisor failed"):
        waiting.get(timeout=10)
    assert a.lost == 9  # 7 of the poison, the note, the question
    elsewhere.wake()
    assert kept.get(timeout=10) == 1
    clock.advance(10)
    settle(root)
    assert (middle.life, a.life, a.state, diary) == (2, 4, "running", [])
    clock.advance(1000)
    settle(root)
    assert diary == ["a timer"]


def test_a_supervisor_that_is_merely_stopped_and_started_keeps_the_mail_below(
    clock: ManualClock, plant: Plant
) -> None:
    a = worker("a", clock)
    root = plant(a)
    root.stop()
    answer = a.ask(Who())
    root.start()
    assert answer.get(timeout=10) == 2


def test_a_stopped_supervisor_restarts_nobody(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock)
    root = plant(a)
    a.tell(boom())
    settle(root)
    assert a.state == "backoff"
    root.stop()
    clock.advance(100)
    assert (root.state, a.state, a.life) == ("stopped", "stopped", 1)
    root.start()
    settle(root)  # the restart that the last life had planned is due, and void
    assert (a.state, a.life) == ("running", 2)


def test_an_actor_may_stop_the_tree_that_it_is_part_of(clock: ManualClock, plant: Plant) -> None:
    class Gardener(Worker):
        def on_receive(self, message: object) -> None:
            assert self.address.parent is not None
            self.address.parent.stop(wait=False)

    a = worker("a", clock, Gardener)
    root = plant(a)
    a.tell(Note(""))
    assert root.wait(10) is None
    assert a.state == "stopped"


def test_a_stop_overtakes_a_restart_that_is_due(clock: ManualClock, plant: Plant) -> None:
    slow_exit = worker("slow", clock, restart="never")
    a = worker("a", clock)
    root = plant(a, slow_exit)
    a.tell(boom())
    settle(root)
    # While the supervisor waits for one child to be let go, both its stop and a restart fall due.
    sleeper = Sleeper(slow_exit)
    released = root.ask(Release(slow_exit))
    poll(lambda: root.actor is not None and root.actor.doing == "Release")
    assert root.actor is not None
    stopping = root.actor.actor_ref.stop(block=False)
    clock.advance(100)
    sleeper.wake()
    assert released.get(timeout=10) is None
    assert stopping.get(timeout=10) is True
    assert root.wait(10) is None
    assert (a.state, a.life) == ("stopped", 1)


@pytest.mark.parametrize(
    ("restart", "failure", "state"),
    [
        ("always", False, "backoff"),
        ("on_failure", False, "stopped"),
        ("on_failure", True, "backoff"),
        ("never", True, "failed"),
        ("never", False, "stopped"),
    ],
)
def test_who_need_not_return_is_closed(
    clock: ManualClock, plant: Plant, restart: Any, failure: bool, state: str
) -> None:
    a = worker("a", clock, restart=restart)
    root = plant(a)
    if failure:
        a.tell(boom())
    else:
        a.stop()
    settle(root)
    assert a.state == state
    answer = a.ask(Who())
    if state == "backoff":
        clock.advance(2)
        assert answer.get(timeout=10) == 2
    else:
        with pytest.raises(ActorDeadError):
            answer.get(timeout=10)
        root.stop()
        root.start()
        assert a.state == state


def test_a_child_is_adopted_and_released_at_run_time(clock: ManualClock, plant: Plant) -> None:
    a, b = worker("a", clock), worker("b", clock)
    root = plant(a)
    root.ask(Adopt(b)).get(timeout=10)
    assert b.ask(Who()).get(timeout=10) == 1
    b.tell(boom())
    settle(root)
    clock.advance(2)
    assert b.ask(Who()).get(timeout=10) == 2
    sleeper = Sleeper(b)
    waiting = b.ask(Who())
    released = root.ask(Release(b))
    poll(lambda: bool(b.mailbox._express))
    sleeper.wake()
    released.get(timeout=10)
    assert root.children == [a]
    assert b.state == "stopped"
    assert sleeper.reply.get(timeout=10) is None
    with pytest.raises(ActorDeadError):
        waiting.get(timeout=10)
    assert b.tell(Note("hello?")) is False
    settle(root)
    assert b.life == 2


def test_an_adopted_child_stays_when_its_supervisor_restarts(clock: ManualClock, plant: Plant) -> None:
    a, b = worker("a", clock, backoff=Backoff(tries=0)), worker("b", clock)
    middle = Address("middle", Supervisor, a, clock=clock)
    root = plant(middle)
    middle.ask(Adopt(b)).get(timeout=10)
    a.tell(boom())
    settle(root)
    clock.advance(2)
    assert b.ask(Who()).get(timeout=10) == 2


def test_a_child_can_be_released_while_it_waits_for_its_restart(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock)
    root = plant(a)
    a.tell(boom())
    settle(root)
    root.ask(Release(a)).get(timeout=10)
    clock.advance(100)
    settle(root)
    assert (a.life, a.state) == (1, "stopped")


def test_a_child_that_is_closed_behind_its_supervisors_back_stays_closed(
    clock: ManualClock, plant: Plant
) -> None:
    running, waiting = worker("running", clock), worker("waiting", clock)
    root = plant(running, waiting)
    waiting.tell(boom())
    settle(root)
    waiting.close()
    running.close()
    settle(root)
    clock.advance(100)
    settle(root)
    assert (root.state, running.life, waiting.life) == ("running", 1, 1)


def test_a_thread_that_cannot_be_started_is_a_failure_like_any_other(
    clock: ManualClock, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = worker("a", clock)
    root = plant(a)
    a.tell(boom())
    settle(root)

    def no_more_threads(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_threads)
        clock.advance(2)
        settle(root)
    assert (a.state, a.life, a.failures) == ("backoff", 2, 2)
    clock.advance(4)
    assert a.ask(Who()).get(timeout=10) == 3


def test_two_actors_of_one_name_are_refused(clock: ManualClock, plant: Plant) -> None:
    with pytest.raises(ValueError, match="names of actors must differ"):
        Address("root", Supervisor, worker("a", clock), worker("a", clock))
    middle = Address("middle", Supervisor, clock=clock)
    plant(worker("a", clock), middle)
    with pytest.raises(Refused, match="there is a a already"):
        middle.ask(Adopt(worker("a", clock))).get(timeout=10)
    with pytest.raises(Refused, match="no child"):
        middle.ask(Release(worker("b", clock))).get(timeout=10)


def test_a_child_that_cannot_even_be_made_backs_off(clock: ManualClock, plant: Plant) -> None:
    def make() -> Worker:
        raise OSError("no engine")

    a = worker("a", clock, make)
    root = plant(a)
    settle(root)
    assert a.state == "backoff"
    assert isinstance(a.error, OSError)


def test_system_exit_in_one_handler_does_not_stop_the_others(clock: ManualClock, plant: Plant) -> None:
    good, bad = worker("good", clock), worker("bad", clock)
    root = plant(good, bad)
    reply = bad.ask(Boom(SystemExit(1)))
    settle(root)
    assert bad.state == "backoff"
    assert good.ask(Who()).get(timeout=10) == 1
    with pytest.raises(ActorDeadError, match="ended by SystemExit"):
        reply.get(timeout=10)  # not SystemExit: that would end the asker too


def test_stopping_a_tree_takes_no_longer_than_everyones_patience_together(
    clock: ManualClock, plant: Plant
) -> None:
    a, b = worker("a", clock, patience=0.05), worker("b", clock, patience=0.05)
    root = plant(a, b)
    assert root.grace == pytest.approx(5.1)
    sleepers = [Sleeper(a), Sleeper(b)]
    root.stop()
    assert (root.state, a.state, b.state) == ("stopped", "abandoned", "abandoned")
    for sleeper in sleepers:
        sleeper.join()


def test_a_crash_is_logged_once_with_its_traceback_and_never_with_the_message(
    clock: ManualClock, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    class Indiscreet(Worker):
        def on_receive(self, message: object) -> None:
            raise ValueError("cannot")

    caplog.set_level(logging.DEBUG, "actors.kernel")
    a = worker("a", clock, Indiscreet, backoff=Backoff(first=1, tries=1))
    root = plant(a)
    for _ in range(2):
        a.tell(Note("my secret prompt"))
        settle(root)
        clock.advance(2)
        settle(root)
    assert isinstance(root.wait(10), Escalated)
    with_traceback = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in with_traceback] == [
        "a failed in life 1, in Note: ValueError",
        "a failed in life 2, in Note: ValueError",
    ]
    levels = {record.getMessage().split(",")[0]: record.levelname for record in caplog.records}
    assert levels["a restarted"] == "INFO"
    assert levels["root failed in life 1"] == "ERROR"
    assert "secret" not in caplog.text
