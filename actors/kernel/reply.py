"""An answer that will come: a pykka future that nobody has to block on."""

from __future__ import annotations

import enum
import logging
import queue
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import pykka
from pykka import ActorDeadError

R = TypeVar("R")

logger = logging.getLogger("actors.kernel")


class Request(Generic[R]):
    """Base of every message that expects an answer of type `R`."""

    __slots__ = ()


class Later(enum.Enum):
    """What a handler returns that has kept `self.reply` and will answer it afterwards."""

    LATER = "later"


LATER: Final = Later.LATER


class Reply(pykka.ThreadingFuture[R]):
    """A future that can also call back. The first answer counts.

    There can be two: the address answers for an actor that it gives up on, and that actor
    may wake up afterwards and answer as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._callbacks: list[Callable[[Reply[R]], object]] = []

    @property
    def answered(self) -> bool:
        return self._result is not None

    def get(self, *, timeout: float | None = None) -> R:
        """Block for up to `timeout` seconds. Raises the answer if it is an error, or pykka.Timeout."""
        value: R = super().get(timeout=timeout)
        return value

    def then(self, callback: Callable[[Reply[R]], object]) -> None:
        """Call back on the answering thread, or at once if answered already.

        What goes wrong in a callback is logged: it is the asker's code, and must not end
        the life of whoever answers. Meant for what `ask` returned, not for what `map` made of it.
        """
        with self._condition:
            if self._result is None:
                self._callbacks.append(callback)
                return
        self._call(callback)

    def answer(self, value: R) -> bool:
        """False if it had been answered before."""
        try:
            super().set(value)
        except queue.Full:
            return False
        self._answered()
        return True

    def refuse(self, error: BaseException) -> bool:
        """Answer with an error. False if it had been answered before.

        Only an `Exception` may travel: a SystemExit or CancelledError raised in the asker
        would stop a program or cancel a task that has nothing to do with it.
        """
        if not isinstance(error, Exception):
            cause, error = error, ActorDeadError(f"ended by {type(error).__name__}")
            error.__cause__ = cause
        try:
            super().set_exception((type(error), error, error.__traceback__))
        except queue.Full:
            return False
        self._answered()
        return True

    # -- the pykka side ------------------------------------------------------------

    def set(self, value: R | None = None) -> None:
        super().set(value)
        self._answered()

    def set_exception(self, exc_info: Any = None) -> None:
        super().set_exception(exc_info)
        self._answered()

    def _answered(self) -> None:
        # No lock: the result stands, so from here on then() calls back at once.
        while self._callbacks:
            self._call(self._callbacks.pop(0))

    def _call(self, callback: Callable[[Reply[R]], object]) -> None:
        try:
            callback(self)
        except Exception:
            logger.exception("a callback on a reply failed")
