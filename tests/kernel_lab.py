"""What tests of actors need: small actors, an address that collects mail, and a way to wait for quiet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.kernel import Actor, Address, Backoff, Clock, Refused, Request

# How long a test waits for what should happen at once. Only a failing test waits that long.
DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Who(Request[int]):
    """Which life are you on?"""


@dataclass(frozen=True, slots=True)
class Boom(Request[None]):
    error: BaseException


@dataclass(frozen=True, slots=True)
class Nap(Request[None]):
    """Say that you sleep, then sleep until woken."""

    asleep: threading.Event
    wake: threading.Event


@dataclass(frozen=True, slots=True)
class No(Request[None]):
    """Refuse this."""


@dataclass(frozen=True, slots=True)
class Note:
    text: str


class Worker(Actor[Any]):
    """Does what the messages above say, and keeps a diary that outlives it."""

    def __init__(self, diary: list[str] | None = None) -> None:
        super().__init__()
        self.diary = [] if diary is None else diary

    def on_receive(self, message: object) -> int | None:
        match message:
            case Who():
                return self.life
            case Boom(error):
                raise error
            case Nap(asleep, wake):
                asleep.set()
                assert wake.wait(DEADLINE_S)
            case No():
                raise Refused("no")
            case Note(text):
                self.diary.append(text)
        return None


def boom() -> Boom:
    return Boom(RuntimeError("boom"))


def worker(name: str, clock: Clock, make: Callable[[], Actor[Any]] = Worker, **options: Any) -> Address[Any]:
    """At a second of clock time after the first failure it is back; the third in a row escalates."""
    options.setdefault("backoff", Backoff(first=1, tries=2))
    return Address(name, make, clock=clock, **options)


class Probe(Address[Any]):
    """An address nobody lives at: it collects mail for the test to read."""

    def __init__(self, name: str = "probe") -> None:
        super().__init__(name, Actor)

    def received(self) -> list[Any]:
        return [mail.message for mail in (*self.mailbox._express, *self.mailbox._normal)]

    def expect(self, kind: type[Any]) -> Any:
        poll(lambda: any(isinstance(message, kind) for message in self.received()))
        return next(message for message in self.received() if isinstance(message, kind))


class Sleeper:
    """An actor that is stuck in a handler until the test lets it go."""

    def __init__(self, address: Address[Any]) -> None:
        self._wake = threading.Event()
        asleep = threading.Event()
        self.reply = address.ask(Nap(asleep, self._wake))
        assert asleep.wait(DEADLINE_S)
        self.actor = address.actor

    def wake(self) -> None:
        self._wake.set()

    def join(self) -> None:
        """Wake it and wait for its thread to end."""
        self._wake.set()
        assert self.actor is not None
        assert self.actor.thread is not None
        self.actor.thread.join(DEADLINE_S)
        assert not self.actor.thread.is_alive()


def poll(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.0005)


def settle(root: Address[Any]) -> None:
    """Wait until everyone under `root` either sleeps with an empty mailbox or is gone."""
    seen: list[int] | None = None

    def quiet() -> bool:
        nonlocal seen
        before, seen = seen, [address.mailbox.read for _, address in root.walk()]
        # Twice in a row, because whom we looked at first may have had mail from whom we looked at last.
        return all(_sleeps(address) for _, address in root.walk()) and before == seen

    poll(quiet)


def _sleeps(address: Address[Any]) -> bool:
    actor, mailbox = address.actor, address.mailbox
    if actor is None or actor.thread is None or not actor.thread.is_alive():
        return address.state not in ("starting", "running")
    with mailbox._lock:
        due = bool(mailbox._timers) and mailbox._timers[0][0] <= address.clock.now()
        return mailbox._sleeping and not due and not len(mailbox)
