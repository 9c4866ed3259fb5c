"""Where an actor lives: stable across restarts, typed, and safe to share."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import pykka
from pykka import ActorDeadError
from pykka._envelope import Envelope

from actors.kernel.clock import Clock, SystemClock
from actors.kernel.mailbox import Mailbox, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.kernel.actor import Actor

M = TypeVar("M", contravariant=True)
R = TypeVar("R")

State = Literal["new", "starting", "running", "backoff", "failed", "stopped", "abandoned"]


class Request(Generic[R]):
    """Base of every message that expects an answer of type `R`."""

    __slots__ = ()


class Reply(pykka.ThreadingFuture[R]):
    """A future that can also call back, so that nobody has to block on it."""

    def __init__(self) -> None:
        super().__init__()
        self._callbacks: list[Callable[[Reply[R]], object]] = []

    def get(self, *, timeout: float | None = None) -> R:
        """As in pykka, where it is typed `Any`."""
        value: R = super().get(timeout=timeout)
        return value

    def then(self, callback: Callable[[Reply[R]], object]) -> None:
        """Call back on the answering actor's thread, or at once if already answered."""
        with self._condition:
            if self._result is None:
                self._callbacks.append(callback)
                return
        callback(self)

    def set(self, value: R | None = None) -> None:
        super().set(value)
        self._fire()

    def set_exception(self, exc_info: Any = None) -> None:
        super().set_exception(exc_info)
        self._fire()

    def refuse(self, error: BaseException) -> None:
        self.set_exception((type(error), error, error.__traceback__))

    def _fire(self) -> None:
        with self._condition:
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what you are doing, then leave. Meant for one life, not for its successors."""

    life: int


@dataclass(frozen=True, slots=True)
class Exited:
    """Death watch: sent to watchers once an actor's cleanup has finished."""

    address: Address[Any]
    life: int
    failure: BaseException | None


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how fast to try again. Staying up for `settled` forgives the past."""

    first: float = 0.1
    limit: float = 30.0
    tries: int | None = 5
    settled: float = 60.0

    def delay(self, failures: int) -> float:
        return min(self.limit, self.first * 2.0 ** (failures - 1)) * random.uniform(0.8, 1.2)  # noqa: S311


class Address(Generic[M]):
    """Where an actor lives. A restart replaces the actor; the address and its mail remain.

    The attributes are counters for introspection. Each is written by one thread and may
    be read by any, without asking the actor: a stuck actor cannot answer questions.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Actor[M]],
        *children: Address[Any],
        restart: Literal["always", "on_failure", "never"] = "always",
        backoff: Backoff = Backoff(),
        mailbox: int = 1024,
        patience: float = 5.0,
        clock: Clock = SystemClock(),
    ) -> None:
        self.name = name
        self.make = make
        self.children = list(children)
        self.restart = restart
        self.backoff = backoff
        self.patience = patience
        self.clock = clock
        self.mailbox = Mailbox(mailbox, clock)
        self.watchers: list[Address[Any]] = []
        self.state: State = "new"
        self.life = 0
        self.failures = 0
        self.processed = 0
        self.undelivered = 0
        self.since = 0.0
        self.busy: object = None
        self.error: BaseException | None = None
        self.actor: Actor[M] | None = None
        self.ready = threading.Event()
        for child in children:
            child.watchers.append(self)

    def __repr__(self) -> str:
        return f"<Address {self.name} {self.state} life={self.life}>"

    # -- for everyone --------------------------------------------------------------

    def tell(self, message: M) -> bool:
        """Deliver at most once, and never raise: a full mailbox is not the sender's crash."""
        return self._post(Envelope(message))

    def ask(self, message: Request[R]) -> Reply[R]:
        reply: Reply[R] = Reply()
        self._post(Envelope(message, reply))
        return reply

    def tell_later(self, seconds: float, message: M) -> None:
        self.mailbox.put_later(seconds, Envelope(message))

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Address[Any]]]:
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    # -- for the supervisor --------------------------------------------------------

    def start(self) -> None:
        """Begin a new life. Returns once on_start() has finished, or after `patience`."""
        self.life += 1
        self.state = "starting"
        self.since = self.clock.now()
        self.ready.clear()
        try:
            self.actor = self.make()
        except Exception as error:
            self.exited(self.life, error)
            return
        self.mailbox.admit(self.actor)
        self.actor.move_in(self)
        self.ready.wait(self.patience)

    def stop(self) -> None:
        """End this life within `patience`. A thread cannot be killed, only abandoned."""
        thread = self.actor.thread if self.actor is not None else None
        if thread is not None and thread.is_alive():
            self._post(Envelope(Stop(self.life)), express=True)
            thread.join(self.patience)
            if thread.is_alive():
                self.mailbox.admit(None)
                self.state = "abandoned"
                return
        self.state = "stopped"

    def close(self) -> None:
        """Accept no more mail, here or below, and answer everyone who is still waiting."""
        for child in self.children:
            child.close()
        for envelope in self.mailbox.close():
            self.undelivered += 1
            if isinstance(envelope.reply_to, Reply):
                envelope.reply_to.refuse(ActorDeadError(f"{self.name} is gone"))

    def exited(self, life: int, failure: BaseException | None) -> None:
        self.state = "failed" if failure else "stopped"
        self.error = failure or self.error
        self.ready.set()
        for watcher in self.watchers:
            watcher._post(Envelope(Exited(self, life, failure)), express=True)

    def _post(self, envelope: Envelope[Any], *, express: bool = False) -> bool:
        try:
            self.mailbox.put(envelope, express=express)
        except (Refused, ActorDeadError) as error:
            self.undelivered += 1
            if isinstance(envelope.reply_to, Reply):
                envelope.reply_to.refuse(error)
            return False
        return True
