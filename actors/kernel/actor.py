"""One thread, one message at a time, and no surviving an unexpected error."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.kernel.address import Reply, Stop
from actors.kernel.mailbox import Evicted, Mailbox, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.kernel.address import Address

M = TypeVar("M")
R = TypeVar("R")

logger = logging.getLogger(__name__)

__all__ = ["Actor", "Refused"]


class Actor(pykka.ThreadingActor, Generic[M]):
    """A pykka actor that lives at an address.

    `on_receive` either returns (its value is the answer), raises `Refused` (the answer is
    no, and life goes on), or raises anything else (this life is over). That holds however
    the message arrived: in plain pykka an error provoked by `ask` leaves the actor
    running, half-way through whatever it was changing.

    Everything pykka offers still works: refs, proxies, `stop()` and the `ActorRegistry`.
    """

    address: Address[M]
    life: int
    thread: threading.Thread | None = None
    failure: BaseException | None = None

    def on_exit(self) -> None:
        """Give back what on_start() took. Runs once, however this life ended."""

    def pipe_to_self(self, reply: Reply[R], wrap: Callable[[Reply[R]], M]) -> None:
        """Receive the answer as a message, instead of blocking until it comes."""
        address = self.address
        reply.then(lambda answer: address.tell(wrap(answer)))

    # -- the pykka side ------------------------------------------------------------

    def move_in(self, address: Address[M]) -> None:
        self.address = address
        self.life = address.life
        self.actor_inbox = self.actor_ref.actor_inbox = _Inbox(address.mailbox, self)
        pykka.ActorRegistry.register(self.actor_ref)
        self._start_actor_loop()

    def _start_actor_loop(self) -> None:
        self.thread = threading.Thread(target=self._live, name=self.address.name, daemon=True)
        self.thread.start()

    def _live(self) -> None:
        address, evicted = self.address, False
        try:
            self.on_start()
            address.state = "running"
            address.ready.set()
            self._actor_loop_running()
        except Evicted:
            evicted = True
        except BaseException as error:
            self._handle_failure(type(error), error, error.__traceback__)
        try:
            self.on_exit()
        except Exception as error:
            self._handle_failure(type(error), error, error.__traceback__)
        if not evicted:
            address.exited(self.life, self.failure)

    def _actor_loop_running(self) -> None:
        address, mailbox = self.address, self.address.mailbox
        while not self.actor_stopped.is_set():
            envelope = mailbox.get(self)
            reply = envelope.reply_to
            address.busy = envelope.message
            try:
                answer = self._handle_receive(envelope.message)
            except BaseException as error:
                if reply is not None:
                    reply.set_exception()
                if not isinstance(error, Refused):
                    raise
            else:
                if reply is not None:
                    reply.set(answer)
            finally:
                address.busy = None
                address.processed += 1

    def _handle_receive(self, message: Any) -> Any:
        if isinstance(message, Stop):
            return self._stop() if message.life == self.life else None
        return super()._handle_receive(message)

    def _handle_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self.failure = self.failure or exception_value
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        logger.error(
            "%s failed in life %d",
            self.address.name,
            self.life,
            exc_info=(exception_type, exception_value, traceback),
        )


class _Inbox:
    """What pykka's ref for one life writes to: the address's mailbox, with `stop` signed."""

    def __init__(self, mailbox: Mailbox, reader: Actor[Any]) -> None:
        self._mailbox = mailbox
        self._reader = reader

    def put(self, envelope: Envelope[Any], /) -> None:
        if isinstance(envelope.message, _ActorStop):
            stop = Envelope(Stop(self._reader.life), envelope.reply_to)
            self._mailbox.put(stop, express=True)
        else:
            self._mailbox.put(envelope)

    def get(self) -> Envelope[Any]:
        return self._mailbox.get(self._reader)

    def empty(self) -> bool:
        return not self._mailbox
