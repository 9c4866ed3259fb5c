"""One thread, one message at a time, and no surviving an unexpected error."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import pykka
from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from actors.kernel.address import Stop
from actors.kernel.backoff import Escalated
from actors.kernel.mailbox import Evicted, Mail, Mailbox, Refused
from actors.kernel.reply import LATER, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.kernel.address import Address

M = TypeVar("M")
R = TypeVar("R")

logger = logging.getLogger("actors.kernel")

# One look-up instead of pykka's four isinstance() on every message.
_FOR_PYKKA = frozenset({ProxyCall, ProxyGetAttr, ProxySetAttr})


class Actor(pykka.ThreadingActor, Generic[M]):
    """A pykka actor that lives at an address.

    `on_receive` either returns (its value is the answer), raises `Refused` (the answer is
    no, and life goes on), or raises anything else (this life is over). That holds however
    the message arrived: in plain pykka an error provoked by `ask` leaves the actor
    running, half-way through whatever it was changing.

    To answer later, a handler keeps `self.reply` and returns `LATER`. Whatever is still
    unanswered when a life ends is refused with the reason.

    Everything pykka offers still works: refs, proxies, `stop()` and the `ActorRegistry`.
    Only `on_failure` is not called: `on_exit` is, and finds the reason in `self.failure`.
    """

    use_daemon_thread = True

    address: Address[M]
    life: int
    thread: threading.Thread | None = None
    failure: BaseException | None = None
    in_hand: Mail | None = None
    busy_since: float = 0.0  # by the address's clock

    # -- for subclasses ------------------------------------------------------------

    def on_receive(self, message: M) -> Any:
        """Handle one message. The default is pykka's without its log line, which would show the message."""
        raise TypeError(f"{type(self).__name__} has no handler for {type(message).__name__}")

    def on_idle(self) -> None:
        """The mailbox has just become empty; a moment to commit what a batch of messages asked for.

        Runs once after each run of messages, before the actor waits for more, and not when
        it is told to stop. A mailbox that is never empty never gets here: limit the batch as well.
        """

    def on_exit(self) -> None:
        """Give back what on_start() took. Runs once, however this life ended; see `self.failure`."""

    @property
    def reply(self) -> Reply[Any] | None:
        """Where the answer to the message in hand goes; None if nobody asked."""
        reply = self.in_hand.reply_to if self.in_hand is not None else None
        return reply if isinstance(reply, Reply) else None

    def pipe_to_self(self, reply: Reply[R], wrap: Callable[[Reply[R]], M]) -> None:
        """Receive the answer as a message, instead of blocking until it comes."""
        address = self.address
        reply.then(lambda answer: address.tell(wrap(answer)))

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG003
        """pykka's way to start an actor without an address. Here it has one."""
        raise TypeError(f"an actor lives at an address: Address(name, {cls.__name__}).start()")

    # -- for the address -----------------------------------------------------------

    def move_in(self, address: Address[M]) -> None:
        """Begin to live here, on a thread of its own."""
        self.address = address
        self.life = address.life
        # The ref was made with pykka's own inbox; both must know ours before anybody can get the ref.
        self.actor_inbox = self.actor_ref.actor_inbox = _Inbox(address.mailbox, self)
        pykka.ActorRegistry.register(self.actor_ref)
        try:
            self._start_actor_loop()
        except BaseException:
            pykka.ActorRegistry.unregister(self.actor_ref)
            raise

    @property
    def doing(self) -> str:
        """The hook it is in, or the type of the message in hand: never its contents, maybe a prompt."""
        mail = self.in_hand
        return self._phase or ("" if mail is None else type(mail.message).__name__)

    def refuse_owed(self, failure: BaseException | None) -> None:
        """Answer for this life whatever it took in hand and did not answer."""
        error = failure or ActorDeadError(f"{self.address.name} stopped before it answered")
        if self.reply is not None:
            self.reply.refuse(error)
        while self._owed:
            try:
                reply = self._owed.pop()
            except KeyError:  # answered by another thread in this instant
                return
            reply.refuse(error)

    # -- the pykka side ------------------------------------------------------------

    def __init__(self) -> None:
        super().__init__()
        self._owed: set[Reply[Any]] = set()
        self._batch = False  # has handled a message since on_idle()
        self._phase = ""  # the hook it is in, if it is in one

    @staticmethod
    def _create_future() -> Reply[Any]:
        return Reply()

    def _start_actor_loop(self) -> None:
        self.thread = threading.Thread(target=self._live, name=self.address.name, daemon=True)
        self.thread.start()

    def _live(self) -> None:
        evicted = False
        try:
            self._enter("on_start")
            self.on_start()
            self._phase = ""
            self.address.running(self)
            self._actor_loop_running()
        except Evicted:
            evicted = True
        except BaseException as error:  # SystemExit too: pykka would stop every actor there is
            self._handle_failure(type(error), error, error.__traceback__)
        try:
            self._enter("on_exit")
            self.on_exit()
        except BaseException as error:
            self._handle_failure(type(error), error, error.__traceback__)
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        self.refuse_owed(self.failure)
        self.in_hand, self._phase = None, ""
        if evicted:
            logger.warning(
                "the abandoned thread of %s, life %d, came back and left", self.address.name, self.life
            )
        else:
            self.address.exited(self, self.failure)

    def _actor_loop_running(self) -> None:
        stopped, now = self.actor_stopped.is_set, self.address.clock.now
        # Chosen once: an actor without on_idle() pays nothing for it.
        plain = type(self).on_idle is Actor.on_idle
        get: Callable[[Actor[Any]], Mail] = self.address.mailbox.get if plain else self._get_or_idle
        receive = self._handle_receive
        while not stopped():
            mail = get(self)
            self.busy_since = now()
            reply = mail.reply_to
            try:
                answer = receive(mail.message)
            except BaseException as error:
                if isinstance(reply, Reply):
                    reply.refuse(error)
                if not isinstance(error, Refused):
                    raise
            else:
                if isinstance(reply, Reply):
                    if answer is LATER:
                        self._owe(reply)
                    else:
                        reply.answer(answer)
            self.in_hand = None

    def _get_or_idle(self, reader: Actor[Any]) -> Mail:
        mailbox = self.address.mailbox
        mail = mailbox.get_now(reader)
        if mail is None:
            if self._batch:
                self._batch = False
                self._enter("on_idle")
                self.on_idle()
                self._phase = ""
            mail = mailbox.get(reader)
        self._batch = True
        return mail

    def _enter(self, phase: str) -> None:
        self._phase, self.busy_since = phase, self.address.clock.now()

    def _owe(self, reply: Reply[Any]) -> None:
        self._owed.add(reply)
        reply.then(self._owed.discard)

    def _handle_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is Stop:
            return self._stop() if message.life == self.life else None
        if kind in _FOR_PYKKA:
            return super()._handle_receive(message)
        return self.on_receive(message)

    def _handle_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self.failure = self.failure or exception_value
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        logger.error(
            "%s failed in life %d, in %s: %s",
            self.address.name,
            self.life,
            self.doing,
            exception_type.__name__,
            # A supervisor that gave up has no story of its own: its child's was logged already.
            exc_info=None if exception_type is Escalated else (exception_type, exception_value, traceback),
        )


class _Inbox:
    """What pykka's ref for one life writes to: the address's mailbox, with `stop` signed."""

    def __init__(self, mailbox: Mailbox, reader: Actor[Any]) -> None:
        self._mailbox = mailbox
        self._reader = reader

    def put(self, mail: Mail, /) -> None:
        if isinstance(mail.message, _ActorStop):
            self._mailbox.put(Envelope(Stop(self._reader.life), mail.reply_to), express=True, always=True)
        else:
            self._mailbox.put(mail)

    def get(self) -> Mail:
        return self._mailbox.get(self._reader)

    def empty(self) -> bool:
        return not self._mailbox
