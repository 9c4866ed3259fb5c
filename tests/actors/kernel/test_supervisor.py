from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pykka
import pytest
from kernel_lab import Probe, settle
from pykka import ActorDeadError

from actors.kernel import Actor, Address, Backoff, Escalated, ManualClock, Refused, Reply, Request, Supervisor


@dataclass(frozen=True, slots=True)
class Who(Request[int]):
    """Which life are you on?"""


@dataclass(frozen=True, slots=True)
class Boom:
    why: str = "boom"


@dataclass(frozen=True, slots=True)
class Nap(Request[None]):
    gate: threading.Event


@dataclass(frozen=True, slots=True)
class No(Request[None]): ...


class Worker(Actor[Who | Boom | Nap | No]):
    def on_receive(self, message: Who | Boom | Nap | No) -> int | None:
        match message:
            case Who():
                return self.life
            case Boom(why):
                raise RuntimeError(why)
            case Nap(gate):
                gate.wait()
                return None
            case No():
                raise Refused("no")


def worker(name: str, clock: ManualClock, **options: object) -> Address[Who | Boom | Nap | No]:
    return Address(name, Worker, clock=clock, backoff=Backoff(first=1, tries=2), **options)  # type: ignore[arg-type]


def node(clock: ManualClock, *children: Address, takes_down: str = "itself") -> Address:
    root = Address("node", lambda: Supervisor(takes_down), *children, clock=clock)
    root.start()
    return root


def test_a_restart_keeps_the_address_and_its_mail(clock: ManualClock) -> None:
    a = worker("a", clock)
    root = node(clock, a)
    a.tell(Boom())
    answer = a.ask(Who())
    settle(root)
    assert a.state == "backoff"
    clock.advance(2)
    assert answer.get(timeout=1) == 2
    root.stop()


def test_refusing_is_an_answer_not_a_crash(clock: ManualClock) -> None:
    a = worker("a", clock)
    root = node(clock, a)
    with pytest.raises(Refused):
        a.ask(No()).get(timeout=1)
    assert a.ask(Who()).get(timeout=1) == 1
    root.stop()


@pytest.mark.parametrize(
    ("takes_down", "lives"),
    [("itself", [1, 2, 1]), ("the rest", [1, 2, 2]), ("everyone", [2, 2, 2])],
)
def test_what_a_failure_takes_down(clock: ManualClock, takes_down: str, lives: list[int]) -> None:
    workers = [worker(name, clock) for name in "abc"]
    root = node(clock, *workers, takes_down=takes_down)
    workers[1].tell(Boom())
    settle(root)
    clock.advance(5)
    assert [w.ask(Who()).get(timeout=1) for w in workers] == lives
    root.stop()


def test_too_many_failures_in_a_row_escalate(clock: ManualClock) -> None:
    a = worker("a", clock)
    root = node(clock, a)
    for _ in range(3):
        a.tell(Boom())
        settle(root)
        clock.advance(10)
        settle(root)
    assert isinstance(root.error, Escalated)
    assert root.state == "failed"
    root.close()
    with pytest.raises(ActorDeadError):
        a.ask(Who()).get(timeout=1)


def test_staying_up_forgives(clock: ManualClock) -> None:
    a = worker("a", clock)
    root = node(clock, a)
    for _ in range(6):
        a.tell(Boom())
        settle(root)
        clock.advance(10)
        a.ask(Who()).get(timeout=1)
        clock.advance(100)
    assert root.state == "running"
    assert a.failures == 1
    root.stop()


def test_a_full_mailbox_refuses_and_never_raises(clock: ManualClock) -> None:
    a = worker("a", clock, mailbox=2)
    root = node(clock, a)
    gate = threading.Event()
    a.ask(Nap(gate))
    while a.busy is None:
        time.sleep(0.001)
    assert [a.tell(Boom("x")) for _ in range(3)] == [True, True, False]
    with pytest.raises(Refused):
        a.ask(Who()).get(timeout=1)
    gate.set()
    root.stop()


def test_a_stuck_actor_is_abandoned_and_cannot_steal_mail(clock: ManualClock) -> None:
    a = worker("a", clock, patience=0.1)
    a.start()
    gate = threading.Event()
    a.ask(Nap(gate))
    while a.busy is None:
        time.sleep(0.001)
    zombie = a.actor
    a.stop()
    assert a.state == "abandoned"
    a.start()
    gate.set()
    assert zombie is not None and zombie.thread is not None
    zombie.thread.join(1)
    assert not zombie.thread.is_alive()
    assert [a.ask(Who()).get(timeout=1) for _ in range(5)] == [2] * 5
    a.stop()


def test_children_stop_in_reverse_order(clock: ManualClock) -> None:
    order: list[str] = []

    class Noted(Worker):
        def on_exit(self) -> None:
            order.append(self.address.name)

    kids = [Address(n, Noted, clock=clock) for n in "abc"]
    root = node(clock, *kids)
    root.stop()
    assert order == ["c", "b", "a"]


def test_on_exit_runs_even_when_on_start_fails(clock: ManualClock) -> None:
    ran: list[str] = []

    class Broken(Worker):
        def on_start(self) -> None:
            raise OSError("port in use")

        def on_exit(self) -> None:
            ran.append("on_exit")

    a = Address("a", Broken, clock=clock, backoff=Backoff(first=1))
    root = node(clock, a)
    settle(root)
    assert ran == ["on_exit"] and a.state == "backoff" and isinstance(a.error, OSError)
    root.stop()


def test_an_answer_can_arrive_as_a_message(clock: ManualClock) -> None:
    a = worker("a", clock)
    probe = Probe()
    root = node(clock, a)
    reply: Reply[int] = a.ask(Who())
    reply.then(lambda r: probe.tell(r.get()))
    assert probe.expect(int) == 1
    root.stop()


def test_no_ask_is_ever_lost(clock: ManualClock) -> None:
    for _ in range(100):
        a = worker("a", clock)
        a.start()
        outcomes: list[object] = []

        def hammer(a: Address = a, outcomes: list[object] = outcomes) -> None:
            while True:
                try:
                    a.ask(Who()).get(timeout=2)
                except Exception as error:
                    outcomes.append(type(error))
                    return

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        [t.start() for t in threads]
        time.sleep(0.001)
        a.stop()
        a.close()
        [t.join() for t in threads]
        assert outcomes == [ActorDeadError] * 4


def test_plain_pykka_still_works(clock: ManualClock) -> None:
    a = worker("a", clock)
    a.start()
    assert a.actor is not None
    ref = a.actor.actor_ref
    assert ref in pykka.ActorRegistry.get_all()
    assert ref.ask(Who()) == 1
    assert ref.proxy().life.get() == 1
    assert ref.stop() is True
    a.actor.thread.join(1)
    assert ref not in pykka.ActorRegistry.get_all()
    assert a.state == "stopped"


def test_one_crash_does_not_stop_the_world(clock: ManualClock) -> None:
    class Leaver(Worker):
        def on_receive(self, message: object) -> None:
            raise SystemExit

    good, bad = worker("good", clock), Address("bad", Leaver, clock=clock)
    root = node(clock, good, bad)
    bad.tell(Boom())
    settle(root)
    assert bad.state == "backoff"
    assert good.ask(Who()).get(timeout=1) == 1
    root.stop()
