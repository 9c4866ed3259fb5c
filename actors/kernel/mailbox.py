"""A bounded queue with one reader, an express lane and timers.

pykka's own inbox is an unbounded ``queue.Queue`` that dies with its actor. This one is
different in four ways, each of them there because the alternative was tried and hurt:

- It is *bounded*. A stalled pykka actor accepts a million messages without complaint.
- It *outlives its reader*, so mail sent while an actor restarts is not lost. That holds
  for timers too: they belong to the address, and the next life receives what the last one
  asked for. Setting a timer with an equal message moves the one that is running.
- It has an *express lane*. pykka's stop request waits behind the whole backlog.
- It has exactly *one reader*. A thread that was stuck, given up on, and then came back
  to life must not steal the mail of its successor.

Senders take no lock. With one lock for both sides a burst of `tell` cost 3.7 us a message
(pykka 1.7): whoever lost the interpreter while holding it stalled everybody else. So a
sender appends to a deque, which is atomic, and only then looks whether the mailbox has
closed or the reader has gone to sleep; the other side announces first and looks at the
deques afterwards. Two senders at the brim may both get in: the limit is exact but for one
message per thread.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from pykka import ActorDeadError
from pykka._envelope import Envelope

if TYPE_CHECKING:
    from actors.kernel.clock import Clock

Mail: TypeAlias = Envelope[Any]

# Stops and cancels that wait at once. A reader that is this far behind is stuck, and
# another cancel would not reach it either.
EXPRESS_LIMIT = 256


class Refused(Exception):
    """An expected "no". It is sent to whoever asked, and nobody crashes."""


class MailboxFull(Refused):
    """The addressee cannot keep up. Send less, wait, or ask somebody else."""


class Evicted(Exception):
    """Another life has begun at this address, and this one should end quietly."""


class Reader(Protocol):
    in_hand: Mail | None


class Mailbox:
    """`limit` messages, EXPRESS_LIMIT express messages and `limit` timers at most."""

    def __init__(self, limit: int, clock: Clock) -> None:
        self.limit = limit
        self.read = 0  # messages handed out so far
        self._clock = clock
        self._peak = 0
        self._closed = False
        self._sleeping = False
        self._reader: Reader | None = None
        self._express: deque[Mail] = deque()
        self._normal: deque[Mail] = deque()
        self._timers: list[tuple[float, int, Mail]] = []
        self._ticket = itertools.count()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def __len__(self) -> int:
        return len(self._normal) + len(self._express)

    @property
    def peak(self) -> int:
        """The longest that the queue has been. It only shrinks when read, so the reader measures it."""
        return max(self._peak, len(self._normal))

    # -- for senders ---------------------------------------------------------------

    def put(self, mail: Mail, *, express: bool = False, always: bool = False) -> None:
        """Raises MailboxFull, or ActorDeadError if closed. `always` is for the kernel's own few messages."""
        if express:
            lane = self._express
            full = len(lane) >= EXPRESS_LIMIT and not always
        else:
            lane = self._normal
            full = len(lane) >= self.limit
        if full:
            raise MailboxFull(f"{len(lane)} messages are waiting already")
        lane.append(mail)
        if self._closed:
            self._take_back(lane, mail)
        if self._sleeping:
            self._wake()

    def put_later(self, seconds: float, mail: Mail, *, replace: bool = True) -> None:
        """Deliver after `seconds`. With `replace`, an equal message that waits already is moved instead."""
        with self._lock:
            if self._closed:
                raise ActorDeadError("mailbox closed")
            if replace:
                kind = type(mail.message)
                self._timers = [
                    timer
                    for timer in self._timers
                    if type(timer[2].message) is not kind or timer[2].message != mail.message
                ]
                heapq.heapify(self._timers)
            if len(self._timers) >= self.limit:
                raise MailboxFull(f"{len(self._timers)} timers are running already")
            heapq.heappush(self._timers, (self._clock.now() + seconds, next(self._ticket), mail))
            self._sleeping = False
            self._changed.notify()

    def _take_back(self, lane: deque[Mail], mail: Mail) -> None:
        try:
            lane.remove(mail)
        except ValueError:
            return  # close() found it, and answers it
        raise ActorDeadError("mailbox closed")

    def _wake(self) -> None:
        with self._lock:
            self._sleeping = False
            self._changed.notify()

    # -- for the one reader --------------------------------------------------------

    def get(self, reader: Reader) -> Mail:
        """Block until there is mail, and put it into the reader's hand. Raises Evicted."""
        with self._lock:
            while (mail := self._next(reader)) is None:
                self._sleeping = True
                if not self._normal and not self._express:
                    self._clock.wait_until(self._changed, self._timers[0][0] if self._timers else None)
                self._sleeping = False
            return mail

    def get_now(self, reader: Reader) -> Mail | None:
        """The same without waiting: None if there is no mail at the moment."""
        with self._lock:
            return self._next(reader)

    def _next(self, reader: Reader) -> Mail | None:
        if reader is not self._reader:
            raise Evicted
        if self._express:
            mail = self._express.popleft()
        elif self._timers and self._timers[0][0] <= self._clock.now():
            mail = heapq.heappop(self._timers)[2]
        elif self._normal:
            self._peak = max(self._peak, len(self._normal))
            mail = self._normal.popleft()
        else:
            return None
        # Under the lock, so that whoever evicts this reader knows what it holds.
        reader.in_hand = mail
        self.read += 1
        return mail

    # -- for the address -----------------------------------------------------------

    def admit(self, reader: Reader | None) -> None:
        """Make `reader` the only one who may `get`; whoever read before is evicted."""
        with self._lock:
            self._reader = reader
            self._changed.notify_all()

    def drain(self) -> list[Mail]:
        """Take out all unread mail. Timers stay."""
        with self._lock:
            unread = []
            for lane in (self._express, self._normal):
                while lane:
                    unread.append(lane.popleft())
            return unread

    def close(self) -> list[Mail]:
        """Refuse all further mail, forget the timers, and hand back what was never read."""
        with self._lock:
            self._closed = True
            self._timers.clear()
        return self.drain()

    @property
    def closed(self) -> bool:
        return self._closed
