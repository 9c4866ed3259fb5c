"""A bounded queue with one reader, an express lane and timers.

pykka's own inbox is an unbounded ``queue.Queue`` that dies with its actor. This one is
different in four ways, each of them there because the alternative was tried and hurt:

- It is *bounded*. A stalled pykka actor accepts a million messages without complaint.
- It *outlives its reader*, so mail sent while an actor restarts is not lost.
- It has an *express lane*. pykka's stop request waits behind the whole backlog.
- It has exactly *one reader*. A thread that was stuck, given up on, and then came back
  to life must not steal the mail of its successor.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from pykka import ActorDeadError

if TYPE_CHECKING:
    from pykka._envelope import Envelope

    from actors.kernel.clock import Clock


class Refused(Exception):
    """An expected "no". It is sent to whoever asked, and nobody crashes."""


class Evicted(Exception):
    """Another life has begun at this address, and this one should end quietly."""


class Mailbox:
    def __init__(self, limit: int, clock: Clock) -> None:
        self.limit = limit
        self.peak = 0
        self.refused = 0
        self._clock = clock
        self._closed = False
        self._reader: object = None
        self._express: deque[Envelope[Any]] = deque()
        self._normal: deque[Envelope[Any]] = deque()
        self._timers: list[tuple[float, int, Envelope[Any]]] = []
        self._ticket = itertools.count()
        self._changed = threading.Condition(threading.Lock())

    def __len__(self) -> int:
        return len(self._normal)

    def put(self, envelope: Envelope[Any], *, express: bool = False) -> None:
        with self._changed:
            if self._closed:
                msg = "mailbox closed"
                raise ActorDeadError(msg)
            if express:
                self._express.append(envelope)
            elif len(self._normal) >= self.limit:
                self.refused += 1
                msg = "mailbox full"
                raise Refused(msg)
            else:
                self._normal.append(envelope)
                self.peak = max(self.peak, len(self._normal))
            self._changed.notify()

    def put_later(self, seconds: float, envelope: Envelope[Any]) -> None:
        with self._changed:
            if not self._closed:
                due = self._clock.now() + seconds
                heapq.heappush(self._timers, (due, next(self._ticket), envelope))
                self._changed.notify()

    def admit(self, reader: object) -> None:
        """Make `reader` the only one who may `get`; whoever read before is evicted."""
        with self._changed:
            self._reader = reader
            self._changed.notify_all()

    def get(self, reader: object) -> Envelope[Any]:
        with self._changed:
            while True:
                if reader is not self._reader:
                    raise Evicted
                due = self._timers[0][0] - self._clock.now() if self._timers else None
                if due is not None and due <= 0:
                    return heapq.heappop(self._timers)[2]
                if self._express:
                    return self._express.popleft()
                if self._normal:
                    return self._normal.popleft()
                self._clock.wait(self._changed, due)

    def close(self) -> list[Envelope[Any]]:
        """Refuse all further mail, and hand back what was never read."""
        with self._changed:
            self._closed = True
            unread = [*self._express, *self._normal]
            self._express.clear()
            self._normal.clear()
            self._timers.clear()
        return unread
