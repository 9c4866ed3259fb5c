"""One life: how it begins, handles, answers and ends."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pykka
import pytest
from kernel_lab import DEADLINE_S, Boom, No, Note, Probe, Sleeper, Who, Worker, boom, poll, settle, worker

from actors.kernel import (
    LATER,
    Abandoned,
    Actor,
    ActorDeadError,
    Address,
    Backoff,
    Exited,
    ManualClock,
    Refused,
    Reply,
    Request,
)

Plant = Callable[..., Address[Any]]


def test_refusing_is_an_answer_not_a_crash(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock)
    plant(a)
    with pytest.raises(Refused):
        a.ask(No()).get(timeout=10)
    assert a.ask(Who()).get(timeout=10) == 1


def test_a_crash_answers_the_ask_that_caused_it_and_ends_that_life(clock: ManualClock, plant: Plant) -> None:
    a = worker("a", clock)
    root = plant(a)
    error = ValueError("between two writes")
    with pytest.raises(ValueError, match="between two writes"):
        a.ask(Boom(error)).get(timeout=10)
    settle(root)
    assert (a.state, a.error) == ("backoff", error)


def test_an_unknown_message_is_a_crash_that_does_not_show_the_message(
    clock: ManualClock, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    a = plant(worker("a", clock, Actor), lone=True)
    a.tell(Note("my secret prompt"))
    assert isinstance(a.wait(10), TypeError)
    assert "no handler for Note" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("hook", ["on_start", "on_receive", "on_idle", "on_stop", "on_exit", "none of them"])
@pytest.mark.parametrize("error", [OSError("port in use"), SystemExit(1)])
def test_on_exit_runs_exactly_once_whatever_fails(
    clock: ManualClock, plant: Plant, hook: str, error: BaseException
) -> None:
    exits: list[BaseException | None] = []

    class Fragile(Worker):
        def fail_in(self, here: str) -> None:
            if here == hook:
                raise error

        def on_start(self) -> None:
            self.fail_in("on_start")

        def on_receive(self, message: object) -> int | None:
            self.fail_in("on_receive")
            return super().on_receive(message)

        def on_idle(self) -> None:
            self.fail_in("on_idle")

        def on_stop(self) -> None:
            self.fail_in("on_stop")

        def on_exit(self) -> None:
            exits.append(self.failure)
            self.fail_in("on_exit")

    a = plant(worker("a", clock, Fragile), lone=True)
    a.tell(Who())
    if hook in ("on_stop", "on_exit", "none of them"):
        settle(a)
        a.stop()
    expected = None if hook == "none of them" else error
    assert a.wait(10) is expected
    assert exits == [None if hook == "on_exit" else expected]
    assert a.state == ("failed" if expected else "stopped")


def test_whoever_waits_is_told_when_it_takes_too_long(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock), lone=True)
    with pytest.raises(TimeoutError, match="a is still running"):
        a.wait(0)
    a.stop()
    assert a.wait() is None


def test_a_thread_carries_the_name_of_its_address_and_does_not_keep_the_program_alive(
    clock: ManualClock, plant: Plant
) -> None:
    a = plant(worker("a", clock), lone=True)
    assert a.actor is not None
    assert a.actor.thread is not None
    assert (a.actor.thread.name, a.actor.thread.daemon) == ("a", True)


def test_an_actor_may_stop_itself(clock: ManualClock, plant: Plant) -> None:
    class Mayfly(Worker):
        def on_receive(self, message: object) -> None:
            self.address.stop()

    a = plant(worker("a", clock, Mayfly), lone=True)
    a.tell(Note(""))
    assert a.wait(10) is None


def test_an_address_lives_one_life_at_a_time_and_none_when_closed(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock), lone=True)
    with pytest.raises(RuntimeError, match="running already"):
        a.start()
    a.close()
    with pytest.raises(RuntimeError, match="closed"):
        a.start()


def test_a_stuck_thread_is_abandoned_and_fenced_off_from_its_mailbox(
    clock: ManualClock, plant: Plant
) -> None:
    a = plant(worker("a", clock, patience=0.05), lone=True)
    sleeper = Sleeper(a)
    waiting = a.ask(Who())
    a.stop()
    assert a.state == "abandoned"
    assert isinstance(a.wait(10), Abandoned)
    with pytest.raises(Abandoned, match="stuck in Nap"):
        sleeper.reply.get(timeout=10)
    a.start()
    assert waiting.get(timeout=10) == 2
    sleeper.join()
    assert [a.ask(Who()).get(timeout=10) for _ in range(5)] == [2] * 5
    assert (a.state, a.life) == ("running", 2)


def test_a_crash_of_an_abandoned_thread_is_nobodys_business_any_more(
    clock: ManualClock, plant: Plant
) -> None:
    class Late(Worker):
        def on_exit(self) -> None:
            raise OSError("too late")

    a = worker("a", clock, Late, patience=0.05)
    root = plant(a)
    sleeper = Sleeper(a)
    a.stop()
    settle(root)
    clock.advance(2)
    settle(root)
    assert (a.state, a.life) == ("running", 2)
    sleeper.join()
    settle(root)
    assert (a.state, a.life) == ("running", 2)


def test_a_slow_start_is_waited_for_no_longer_than_its_patience(clock: ManualClock, plant: Plant) -> None:
    go_on = threading.Event()

    class Slow(Worker):
        def on_start(self) -> None:
            go_on.wait(DEADLINE_S)

    a = plant(worker("a", clock, Slow, patience=0.01), lone=True)
    first = a.actor
    assert (a.state, a.actor and a.actor.doing) == ("starting", "on_start")
    a.stop()
    assert a.state == "abandoned"
    a.start()
    go_on.set()
    assert a.ask(Who()).get(timeout=10) == 2
    assert first is not None
    assert first.thread is not None
    first.thread.join(10)
    assert a.state == "running"


def test_an_actor_without_an_address_is_refused_with_the_way_to_go() -> None:
    with pytest.raises(TypeError, match=r"Address\(name, Worker\)\.start\(\)"):
        Worker.start()


def test_an_answer_can_arrive_as_a_message(clock: ManualClock, plant: Plant) -> None:
    class Clerk(Worker):
        def on_receive(self, message: object) -> int | None:
            if isinstance(message, Address):
                self.pipe_to_self(message.ask(Who()), lambda reply: Note(f"life {reply.get()}"))
                return None
            return super().on_receive(message)

    diary: list[str] = []
    a, clerk = worker("a", clock), worker("clerk", clock, lambda: Clerk(diary))
    root = plant(a, clerk)
    clerk.tell(a)
    settle(root)
    assert diary == ["life 1"]


def test_watchers_hear_of_a_death_after_the_cleanup(clock: ManualClock, plant: Plant) -> None:
    diary: list[str] = []

    class Tidy(Worker):
        def on_exit(self) -> None:
            self.diary.append("clean")

    a, probe = worker("a", clock, lambda: Tidy(diary)), Probe()
    a.watchers.append(probe)
    plant(a, lone=True)
    a.tell(boom())
    exited = probe.expect(Exited)
    assert (exited.address, exited.life, str(exited.failure), diary) == (a, 1, "boom", ["clean"])


# -- later answers and on_idle --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Append(Request[int]):
    """Answered with the number of the commit that made it durable."""


class Journal(Worker):
    """Commits in groups, as a ledger does."""

    def __init__(self, commits: list[int]) -> None:
        super().__init__()
        self.commits = commits
        self.waiting: list[Reply[int]] = []
        self.asked = 0

    def on_receive(self, message: object) -> Any:
        if isinstance(message, Append):
            self.asked += 1
            if self.reply is not None:
                self.waiting.append(self.reply)
            return LATER
        return super().on_receive(message)

    def on_idle(self) -> None:
        if self.asked:
            self.commits.append(self.asked)
            self.asked = 0
        while self.waiting:
            self.waiting.pop().answer(len(self.commits))


def test_on_idle_commits_a_batch_once_and_answers_it_afterwards(clock: ManualClock, plant: Plant) -> None:
    commits: list[int] = []
    a = plant(worker("a", clock, lambda: Journal(commits)), lone=True)
    settle(a)
    assert commits == []
    sleeper = Sleeper(a)
    replies = [a.ask(Append()) for _ in range(10)]
    a.tell(Append())
    sleeper.wake()
    assert [reply.get(timeout=10) for reply in replies] == [1] * 10
    assert a.ask(Append()).get(timeout=10) == 2
    assert commits == [11, 1]
    assert a.actor is not None
    assert not a.actor._owed


class NeverIdle(Journal):
    def on_idle(self) -> None:
        """Keeps everybody waiting."""


def test_a_crash_refuses_the_answers_that_were_still_owed(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock, lambda: NeverIdle([])), lone=True)
    replies = [a.ask(Append()) for _ in range(3)]
    a.tell(boom())
    for reply in replies:
        with pytest.raises(RuntimeError, match="boom"):
            reply.get(timeout=10)


def test_a_stop_refuses_the_answers_that_were_still_owed(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock, lambda: NeverIdle([])), lone=True)
    reply = a.ask(Append())
    settle(a)
    a.stop()
    with pytest.raises(ActorDeadError, match="a stopped before it answered"):
        reply.get(timeout=10)


def test_on_exit_may_still_answer_what_is_owed(clock: ManualClock, plant: Plant) -> None:
    class Diligent(NeverIdle):
        def on_exit(self) -> None:
            for reply in self.waiting:
                reply.answer(-1)

    a = plant(worker("a", clock, lambda: Diligent([])), lone=True)
    reply = a.ask(Append())
    settle(a)
    a.stop()
    assert reply.get(timeout=10) == -1


def test_abandoning_a_thread_refuses_the_answers_that_it_owed(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock, lambda: NeverIdle([]), patience=0.05), lone=True)
    reply = a.ask(Append())
    sleeper = Sleeper(a)
    a.stop()
    with pytest.raises(Abandoned):
        reply.get(timeout=10)
    sleeper.join()


# -- no reply is ever lost ------------------------------------------------------------


def test_mail_to_a_closed_address_is_answered(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock), lone=True)
    a.stop()
    before = a.ask(Who())
    a.close()
    after = a.ask(Who())
    for reply in (before, after):
        with pytest.raises(ActorDeadError):
            reply.get(timeout=10)
    assert a.lost == 2


def test_no_ask_is_lost_when_it_races_with_stop_and_close(clock: ManualClock) -> None:
    for _ in range(100):
        a = worker("a", clock)
        a.start()
        outcomes: list[type[Exception]] = []
        begun = threading.Semaphore(0)

        def hammer(
            a: Address[Any] = a, outcomes: list[Any] = outcomes, begun: threading.Semaphore = begun
        ) -> None:
            try:
                while True:
                    a.ask(Who()).get(timeout=DEADLINE_S)
                    begun.release()
            except Exception as error:
                outcomes.append(type(error))

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        begun.acquire()
        a.close()
        for thread in threads:
            thread.join()
        assert outcomes == [ActorDeadError] * 4


def test_every_ask_gets_one_answer_while_everything_crashes_and_restarts(
    clock: ManualClock, plant: Plant
) -> None:
    a = worker("a", clock, mailbox=50, backoff=Backoff(first=0.001, limit=0.001, tries=None))
    stubborn = worker(
        "b", clock, lambda: NeverIdle([]), mailbox=50, backoff=Backoff(first=0.001, limit=0.001, tries=None)
    )
    root = plant(a, stubborn, takes_down="everyone")
    answers: list[list[int]] = []

    def meddle(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(300):
            address = dice.choice((a, stubborn))
            message = dice.choice([Who(), Who(), No(), boom(), Append(), Boom(SystemExit())])
            match dice.randrange(8):
                case 0:
                    address.tell(message, express=dice.random() < 0.5)
                case 1:
                    address.tell_later(dice.random(), message)
                case 2 if dice.random() < 0.1:
                    address.stop()
                case _:
                    count = [0]
                    answers.append(count)
                    reply = address.ask(message, express=dice.random() < 0.1)
                    reply.then(lambda _, count=count: count.__setitem__(0, count[0] + 1))
            # Let them keep up, or they would see one long queue and no life after the first.
            for _ in range(100):
                clock.advance(0.001)
                time.sleep(0)
                if len(address.mailbox) < 10:
                    break

    threads = [threading.Thread(target=meddle, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    root.close()
    poll(lambda: all(count == [1] for count in answers))
    assert len(answers) > 700
    assert root.error is None
    assert min(a.life, stubborn.life) > 30


def test_plain_pykka_still_works(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock), lone=True)
    assert a.actor is not None
    ref = a.actor.actor_ref
    assert ref in pykka.ActorRegistry.get_all()
    assert ref.ask(Who()) == 1
    assert ref.ask(Who(), block=False).map(lambda life: life + 1).get(timeout=10) == 2
    assert ref.proxy().life.get(timeout=10) == 1
    assert ref.proxy().on_receive(Who()).get(timeout=10) == 1
    assert ref.stop(timeout=10) is True
    assert a.wait(10) is None
    assert ref not in pykka.ActorRegistry.get_all()
    assert a.state == "stopped"


def test_nothing_of_a_crashed_actor_stays_in_pykkas_registry(clock: ManualClock, plant: Plant) -> None:
    before = pykka.ActorRegistry.get_all()
    a = plant(worker("a", clock), lone=True)
    a.tell(boom())
    a.wait(10)
    assert pykka.ActorRegistry.get_all() == before
