"""Where an actor lives: stable across restarts, typed, and safe to share."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from pykka import ActorDeadError
from pykka._envelope import Envelope

from actors.kernel.backoff import Backoff
from actors.kernel.clock import SYSTEM_CLOCK, Clock
from actors.kernel.mailbox import Mail, Mailbox, Refused
from actors.kernel.reply import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.kernel.actor import Actor

# Who accepts `A | B` may stand wherever somebody is wanted who accepts `A`.
M = TypeVar("M", contravariant=True)  # noqa: PLC0105
R = TypeVar("R")

State: TypeAlias = Literal["new", "starting", "running", "backoff", "failed", "stopped", "abandoned"]
Restarts: TypeAlias = Literal["always", "on_failure", "never"]

DEFAULT_BACKOFF = Backoff()

logger = logging.getLogger("actors.kernel")


class Abandoned(Exception):
    """A thread did not stop when told to. It cannot be killed, so it is fenced off and left behind."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what you are doing, then leave. Meant for one life, not for its successors."""

    life: int


@dataclass(frozen=True, slots=True)
class Exited:
    """Death watch: sent to supervisor and watchers once an actor's cleanup has finished."""

    address: Address[Any]
    life: int
    failure: BaseException | None


class Address(Generic[M]):
    """Where an actor lives. A restart replaces the actor; the address and its mail remain.

    `make` builds the actor of each new life. `children` are for a supervisor. `mailbox` is
    the number of messages that may wait; `patience` the seconds that on_start() or the
    message in hand may take before whoever starts or stops it stops waiting. `name` is
    unique in the tree, and the name of its thread.

    The attributes may be read by any thread without asking the actor: a stuck actor cannot
    answer questions.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Actor[M]],
        *children: Address[Any],
        restart: Restarts = "always",
        backoff: Backoff = DEFAULT_BACKOFF,
        mailbox: int = 1024,
        patience: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.make = make
        self.children = list(children)
        self.parent: Address[Any] | None = None
        self.restart = restart
        self.backoff = backoff
        self.patience = patience
        self.clock = clock
        self.mailbox = Mailbox(mailbox, clock)
        self.watchers: list[Address[Any]] = []
        self.state: State = "new"
        self.life = 0
        self.failures = 0  # in a row
        self.lost = 0  # messages refused, discarded, or unread when it closed
        self.since = 0.0  # the start of this life, by the clock
        self.error: BaseException | None = None  # the latest failure, of whichever life
        self.actor: Actor[M] | None = None
        self.left_behind: list[threading.Thread] = []
        self._failure: BaseException | None = None  # of this life
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._ended = threading.Event()
        for child in children:
            child.parent = self
        if twice := [name for name, times in Counter(a.name for _, a in self.walk()).items() if times > 1]:
            raise ValueError(f"names of actors must differ; more than one is called {', '.join(twice)}")

    def __repr__(self) -> str:
        return f"<Address {self.name} {self.state} life={self.life}>"

    # -- for everyone --------------------------------------------------------------

    def tell(self, message: M, *, express: bool = False) -> bool:
        """Deliver at most once, and never raise: a full mailbox is not the sender's crash.

        False if the mailbox is full or closed. Express mail overtakes all other.
        """
        return self._post(Envelope(message), express)

    def ask(self, message: Request[R], *, express: bool = False) -> Reply[R]:
        """Like `tell`, with an answer. There always is one, if only ActorDeadError or Refused.

        A question that was not read before its actor died waits for the next life. Where there
        is none to come, close() answers it.
        """
        reply: Reply[R] = Reply()
        self._post(Envelope(message, reply), express)
        return reply

    def tell_later(self, seconds: float, message: M, *, replace: bool = True) -> bool:
        """Deliver after `seconds`, to whichever life is there by then: timers survive a restart.

        An equal message that waits for its time is moved, not doubled, so on_start() may arm
        the tick that the last life has left running. (With two ticks where there was one, each
        crash doubled the rate.) `replace=False` keeps both.
        False if closed, or if as many timers are running as the mailbox holds messages.
        """
        try:
            self.mailbox.put_later(seconds, Envelope(message), replace=replace)
        except (Refused, ActorDeadError):
            self._count_lost()
            return False
        return True

    def wait(self, timeout: float | None = None) -> BaseException | None:
        """Block until this life has ended and cleaned up. Returns its failure, None if it just stopped.

        Raises TimeoutError after `timeout` seconds.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"{self.name} is still {self.state} after {timeout} s")
        return self._failure

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Address[Any]]]:
        """This address and everyone below, parents first, each with its depth."""
        yield depth, self
        for child in list(self.children):
            yield from child.walk(depth + 1)

    # -- for the supervisor, and for whoever owns the root --------------------------

    @property
    def grace(self) -> float:
        """Seconds that starting or stopping may take: its own patience and that of everyone below."""
        return self.patience + sum(child.grace for child in list(self.children))

    def start(self) -> None:
        """Begin a new life. Returns once on_start() has finished or failed, or after `grace`."""
        if self.mailbox.closed:
            raise RuntimeError(f"{self.name} is closed; make a new address")
        if self.actor is not None and not self._ended.is_set():
            raise RuntimeError(f"{self.name} is {self.state} already")
        with self._lock:
            self.life += 1
            self.state = "starting"
            self.since = self.clock.now()
            self.actor = self._failure = None
            self._ready.clear()
            self._ended.clear()
        actor = None
        try:
            actor = self.actor = self.make()
            self.mailbox.admit(actor)
            actor.move_in(self)
        except Exception as error:
            logger.exception("%s could not begin life %d", self.name, self.life)
            self.exited(actor, error)
            return
        self._ready.wait(self.grace)

    def running(self, actor: Actor[Any]) -> None:
        """Called by the actor when its on_start() is done."""
        with self._lock:
            if actor is self.actor:
                self.state = "running"
                self._ready.set()

    def stop(self, *, wait: bool = True) -> None:
        """End this life within `grace` seconds. A thread cannot be killed, only abandoned.

        Without `wait` it only gives the order: for signal handlers, and for actors that stop
        the tree that they are part of.
        """
        actor = self.actor
        thread = actor.thread if actor is not None else None
        if actor is not None and thread is not None and thread.is_alive():
            self._post(Envelope(Stop(actor.life)), express=True, always=True)
            if not wait or thread is threading.current_thread():
                return  # it leaves once it has handled the message in hand
            thread.join(self.grace)
            if thread.is_alive():
                self._abandon(actor, thread)
        elif self.state in ("new", "backoff"):
            self.state = "stopped"

    def close(self) -> None:
        """Stop, accept no more mail, here or below, and answer everyone who is still waiting."""
        self.stop()
        for child in list(self.children):
            child.close()
        self._discard(self.mailbox.close(), ActorDeadError(f"{self.name} is gone"))

    def discard(self, reason: str) -> None:
        """Throw away all unread mail, here and below; those who asked get an ActorDeadError."""
        for _, address in self.walk():
            address._discard(  # noqa: SLF001
                address.mailbox.drain(), ActorDeadError(f"{address.name}: {reason}")
            )

    def exited(self, actor: Actor[Any] | None, failure: BaseException | None) -> None:
        """Called by the actor when its on_exit() is done; one that was given up on has no say."""
        with self._lock:
            if actor is not self.actor or self._ended.is_set():
                return
            self._end("failed" if failure else "stopped", failure)
        self._announce(failure)

    # -- inside --------------------------------------------------------------------

    def _end(self, state: State, failure: BaseException | None) -> None:
        self.state = state
        self._failure = failure
        self.error = failure or self.error
        self._ready.set()
        self._ended.set()

    def _announce(self, failure: BaseException | None) -> None:
        exited = Exited(self, self.life, failure)
        if self.parent is not None:
            # Never refused: there is one for each life, and a lost one is a child that stays dead.
            self.parent._post(Envelope(exited), express=True, always=True)  # noqa: SLF001
        for watcher in list(self.watchers):
            watcher.tell(exited, express=True)

    def _abandon(self, actor: Actor[Any], thread: threading.Thread) -> None:
        failure = Abandoned(f"{self.name} did not stop within {self.grace:g} s, it is stuck in {actor.doing}")
        self.mailbox.admit(None)
        with self._lock:
            if self._ended.is_set():
                return  # it left just now
            self.actor = None
            self.left_behind = [t for t in self.left_behind if t.is_alive()] + [thread]
            self._end("abandoned", failure)
        logger.warning("%s, life %d, abandoned: %s", self.name, self.life, failure)
        actor.refuse_owed(failure)
        self._announce(failure)

    def _post(self, mail: Mail, express: bool = False, always: bool = False) -> bool:
        try:
            self.mailbox.put(mail, express=express, always=always)
        except (Refused, ActorDeadError) as error:
            if not always:
                self._count_lost()
            if isinstance(mail.reply_to, Reply):
                mail.reply_to.refuse(type(error)(f"{self.name}: {error}"))
            return False
        return True

    def _discard(self, unread: list[Mail], error: ActorDeadError) -> None:
        for mail in unread:
            if isinstance(mail.reply_to, Reply):
                mail.reply_to.refuse(error)
            if not isinstance(mail.message, (Stop, Exited)):
                self._count_lost()

    def _count_lost(self) -> None:
        with self._lock:
            self.lost += 1
