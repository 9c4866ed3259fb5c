"""Bounded, express, timed, and read by one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from kernel_lab import Note, Sleeper, Who, Worker, boom, poll, settle, worker
from pykka._envelope import Envelope

from actors.kernel import ActorDeadError, Address, Mailbox, MailboxFull, ManualClock
from actors.kernel.mailbox import EXPRESS_LIMIT, Evicted

Plant = Callable[..., Address[Any]]


class Eye:
    in_hand: Envelope[Any] | None = None


def test_a_full_mailbox_refuses_and_tell_never_raises(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock, mailbox=2)
    plant(a)
    sleeper = Sleeper(a)
    assert [a.tell(Note("x")) for _ in range(3)] == [True, True, False]
    with pytest.raises(MailboxFull, match="a: 2 messages are waiting already"):
        a.ask(Who()).get(timeout=10)
    assert (a.lost, a.mailbox.peak) == (2, 2)
    sleeper.wake()
    settle(a)
    assert a.ask(Who()).get(timeout=10) == 1


def test_the_express_lane_has_room_of_its_own_and_ends_too(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock, mailbox=1)
    root = plant(a)
    sleeper = Sleeper(a)
    a.tell(Note("x"))
    told = [a.tell(Note("x"), express=True) for _ in range(EXPRESS_LIMIT + 1)]
    assert told == [True] * EXPRESS_LIMIT + [False]
    sleeper.wake()
    settle(root)
    root.stop()  # the kernel's own orders are never refused


def test_a_stop_gets_through_to_an_actor_whose_lanes_are_full(clock: ManualClock, plant: Plant) -> None:
    class Slow(Worker):
        def on_receive(self, message: object) -> int | None:
            self.diary.append(type(message).__name__)
            return super().on_receive(message)

    diary: list[str] = []
    a = plant(worker("a", clock, lambda: Slow(diary), mailbox=5), lone=True)
    sleeper = Sleeper(a)
    while a.tell(Note("normal")):
        pass
    while a.tell(Note("express"), express=True):
        pass
    sleeper.wake()
    a.stop()
    assert a.state == "stopped"


def test_express_mail_overtakes(clock: ManualClock, plant: Plant) -> None:
    diary: list[str] = []
    a = plant(worker("a", clock, lambda: Worker(diary)), lone=True)
    sleeper = Sleeper(a)
    for text in ("1", "2"):
        a.tell(Note(text))
    a.tell_later(0, Note("timer"))
    assert a.tell(Note("cancel"), express=True)
    urgent = a.ask(Who(), express=True)
    sleeper.wake()
    assert urgent.get(timeout=10) == 1
    settle(a)
    assert diary == ["cancel", "timer", "1", "2"]


def test_timers_ring_in_order_of_their_time(clock: ManualClock, plant: Plant) -> None:
    diary: list[str] = []
    a = plant(worker("a", clock, lambda: Worker(diary)), lone=True)
    for seconds in (3, 1, 2):
        a.tell_later(seconds, Note(str(seconds)))
    settle(a)
    assert diary == []
    clock.advance(2)
    settle(a)
    assert diary == ["1", "2"]
    clock.advance(1)
    settle(a)
    assert diary == ["1", "2", "3"]


def test_timers_belong_to_the_address_and_survive_a_restart(clock: ManualClock, plant: Plant) -> None:
    diary: list[str] = []
    a = worker("a", clock, lambda: Worker(diary))
    root = plant(a)
    a.tell_later(100, Note("asked in life 1"))
    a.tell(boom())
    settle(root)
    clock.advance(2)
    settle(root)
    clock.advance(100)
    settle(root)
    assert (a.life, diary) == (2, ["asked in life 1"])


def test_setting_an_equal_timer_moves_it_so_a_restart_does_not_double_a_tick(
    clock: ManualClock, plant: Plant
) -> None:
    class Ticking(Worker):
        def on_start(self) -> None:
            self.address.tell_later(10, Note("tick"))

    diary: list[str] = []
    a = worker("a", clock, lambda: Ticking(diary))
    root = plant(a)
    a.tell(boom())
    settle(root)
    clock.advance(2)
    settle(root)
    clock.advance(100)
    settle(root)
    assert (a.life, diary) == (2, ["tick"])
    a.tell_later(1, Note("twice"), replace=False)
    a.tell_later(1, Note("twice"), replace=False)
    clock.advance(1)
    settle(root)
    assert diary == ["tick", "twice", "twice"]


def test_timers_are_bounded_too(clock: ManualClock) -> None:
    a = worker("a", clock, mailbox=2)
    assert [a.tell_later(1, Note(str(i))) for i in range(3)] == [True, True, False]
    assert a.lost == 1
    a.close()
    assert a.tell_later(1, Note("")) is False


def test_whoever_was_evicted_reads_no_more(clock: ManualClock) -> None:
    mailbox, first, second = Mailbox(10, clock), Eye(), Eye()
    mailbox.admit(first)
    mailbox.put(Envelope(1))
    mailbox.put(Envelope(2))
    assert mailbox.get(first).message == 1
    mailbox.admit(second)
    with pytest.raises(Evicted):
        mailbox.get(first)
    assert mailbox.get(second).message == 2
    assert mailbox.get_now(second) is None


def test_each_message_is_read_once_and_in_order_while_the_reader_is_replaced(clock: ManualClock) -> None:
    mailbox = Mailbox(100_000, clock)
    got: list[list[int]] = []

    def read(eye: Eye, mine: list[int]) -> None:
        with contextlib.suppress(Evicted):
            while True:
                mine.append(mailbox.get(eye).message)

    def write() -> None:
        for number in range(5_000):
            mailbox.put(Envelope(number))

    readers = []
    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(50):
        eye, mine = Eye(), list[int]()
        got.append(mine)
        mailbox.admit(eye)
        readers.append(threading.Thread(target=read, args=(eye, mine)))
        readers[-1].start()
    writer.join()
    poll(lambda: len(mailbox) == 0)
    mailbox.admit(None)
    for reader in readers:
        reader.join()
    assert [number for mine in got for number in mine] == list(range(5_000))


def test_what_is_put_while_the_mailbox_closes_is_either_refused_or_handed_back(clock: ManualClock) -> None:
    for _ in range(50):
        mailbox = Mailbox(1_000_000, clock)
        accepted: list[int] = []
        begun = threading.Semaphore(0)

        def write(
            mailbox: Mailbox = mailbox, accepted: list[int] = accepted, begun: threading.Semaphore = begun
        ) -> None:
            mine = 0
            with contextlib.suppress(ActorDeadError):
                while True:
                    mailbox.put(Envelope(mine))
                    mine += 1
                    begun.release()
            accepted.append(mine)

        writers = [threading.Thread(target=write) for _ in range(3)]
        for writer in writers:
            writer.start()
        begun.acquire()
        handed_back = len(mailbox.close())
        for writer in writers:
            writer.join()
        assert (sum(accepted), len(mailbox)) == (handed_back, 0)


def test_a_timer_runs_by_the_real_clock_too_and_one_for_never_hurts_nobody(plant: Plant) -> None:
    diary: list[str] = []
    a = plant(Address("a", lambda: Worker(diary)), lone=True)
    a.tell_later(float("inf"), Note("never"))
    a.tell_later(0.005, Note("soon"))
    poll(lambda: diary == ["soon"])
    assert a.state == "running"


def test_closing_hands_back_what_was_never_read_and_refuses_the_rest(clock: ManualClock) -> None:
    mailbox = Mailbox(10, clock)
    mailbox.put(Envelope("normal"))
    mailbox.put(Envelope("express"), express=True)
    mailbox.put_later(1, Envelope("timer"))
    assert [mail.message for mail in mailbox.close()] == ["express", "normal"]
    with pytest.raises(ActorDeadError):
        mailbox.put(Envelope("late"))
    with pytest.raises(ActorDeadError):
        mailbox.put_later(1, Envelope("late"))
    assert len(mailbox) == 0
