"""Our tabs at peers: when one is opened, who may go on it, and when it is settled.

The Scheduler's thread asks before each request (`take`, `size`), the I/O loop tells what became of it, so
what they share is behind a lock; a tab is settled on the loop.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from actors.io_loop import IoLoop
from opengateway.engines.tab import MOST_REQUESTS, Budget, Need, Tab
from opengateway.routing.views import Price
from opengateway.units import CREDIT, NodeId

BUSY: Final = 8
WITHIN_S: Final = 0.5
"""So many requests within so many seconds to one peer are worth a tab: then the one hold for several, and the
moment that its settlement comes later, cost less than an OPEN, a SETTLE and an EARN for each."""
REQUESTS: Final = 1024
"""Of the size of the first one, that a tab has room for."""
MOST: Final = 10 * CREDIT
"""ucr held by one tab: a fifth of what a stranger gets on trust."""
IDLE_S: Final = 0.25
"""Seconds after the last answer until it is settled."""
RENEW_S: Final = 1.0
"""Seconds after which the next one is opened, so that it is there when this one is over."""
AGE_S: Final = 2.0
"""Seconds after which nothing new goes on it: what a crash can leave unsettled is bounded by it."""
SPOILT_S: Final = 60.0
"""Seconds without tabs at a peer that has refused one: its line for us is shorter than a tab."""
PEERS: Final = 4096
"""Accounts whose last requests are remembered."""


class Kind(NamedTuple):
    """What goes on one tab: one peer, one model, one price, one offer."""

    peer: NodeId
    model: str
    price: Price
    offer: bytes


class Tabs:
    def __init__(self, io: IoLoop) -> None:
        self._io = io
        self._lock = threading.Lock()
        self._open: dict[Kind, Tab] = {}
        """The one that further requests go on."""
        self._coming: dict[Kind, Tab] = {}
        """The next one, which its peer has not accepted yet."""
        self._all: dict[Tab, Kind] = {}
        self._recent: dict[Kind, deque[float]] = {}
        self._spoilt: dict[NodeId, float] = {}
        self._opening: set[Kind] = set()
        self.settle: Callable[[Tab], None] = lambda _: None
        """Pay for what is on it, on the loop. Set by who pays."""
        self.counters = {"opened": 0, "requests": 0}

    # -- on any thread ---------------------------------------------------------------------------

    def take(self, kind: Kind, need: Need, now: float) -> Tab | None:
        """The tab that this request goes on; its part of the budget is set aside."""
        with self._lock:
            coming = self._coming.get(kind)
            if coming is not None and coming.accepted:
                del self._coming[kind]
                self._replace(kind, coming)
            tab = self._open.get(kind)
            if tab is None or (_fades(tab, now) and self._may_open(kind, now)):
                return None
            if now - tab.began > AGE_S or not tab.budget.has_room(need):
                return None
            tab.budget.take(need)
            tab.used = now
            self.counters["requests"] += 1
            return tab

    def _replace(self, kind: Kind, tab: Tab) -> None:
        before = self._open.get(kind)
        if not tab.closed:
            self._open[kind] = tab
        if before is not None and before is not tab:
            self._close(before)

    def _may_open(self, kind: Kind, now: float) -> bool:
        spoilt = now < self._spoilt.get(kind.peer, 0.0)
        return not (spoilt or kind in self._opening or kind in self._coming)

    def size(self, kind: Kind, need: Need, now: float) -> int:
        """For how many requests this one is to hold: 1, or a tab is to be opened with it. Then `opened` or
        `not_opened` follows."""
        with self._lock:
            if kind not in self._open and not self._often(kind, now):
                return 1
            cost = need.prompt * kind.price.prompt + need.completion * kind.price.completion
            several = min(REQUESTS, MOST // max(1, cost))
            if several < BUSY or not self._may_open(kind, now):
                return 1
            self._opening.add(kind)
            return several

    def _often(self, kind: Kind, now: float) -> bool:
        recent = self._recent.get(kind)
        if recent is None:
            if len(self._recent) >= PEERS:
                self._recent.clear()
            recent = self._recent[kind] = deque(maxlen=BUSY)
        recent.append(now)
        return len(recent) == BUSY and now - recent[0] <= WITHIN_S

    def opened(self, kind: Kind, tab: Tab, need: Need, now: float) -> None:
        """With the OPEN of this request."""
        with self._lock:
            self._opening.discard(kind)
            tab.began = tab.used = now
            tab.budget.take(need)
            self._coming[kind] = tab
            self._all[tab] = kind
            self.counters["opened"] += 1
        self._io.call(self._io.loop.call_later, IDLE_S, self._look, tab)

    def not_opened(self, kind: Kind) -> None:
        with self._lock:
            self._opening.discard(kind)

    # -- on the loop --------------------------------------------------------------------------

    def ended(self, tab: Tab, need: Need, prompt: int, completion: int, digest: bytes) -> None:
        """An answer has ended, and so much is owed for it."""
        with self._lock:
            tab.budget.ended(need, prompt, completion)
            tab.used = time.monotonic()
            if digest:
                tab.answers.update(digest)
            due = tab.closed
        if due:
            self._settle_if_over(tab)

    def refused(self, tab: Tab) -> None:
        """The peer will have no tab of ours now."""
        with self._lock:
            if len(self._spoilt) >= PEERS:
                self._spoilt.clear()
            self._spoilt[tab.peer] = time.monotonic() + SPOILT_S
            self._close(tab)

    def gone(self, tab: Tab) -> None:
        """The peer knows nothing of it any more."""
        with self._lock:
            self._close(tab)

    def lost(self, peer: NodeId) -> None:
        """The session is gone: what was on its tabs is settled with the next one."""
        for tab in [one for one in self._all if one.peer == peer]:
            self.gone(tab)
            self._settle_if_over(tab)

    def close(self) -> None:
        """All are settled now, for what has come."""
        with self._lock:
            tabs = list(self._all)
            for tab in tabs:
                self._close(tab)
        for tab in tabs:
            self._settle(tab)

    def _close(self, tab: Tab) -> None:
        tab.closed = True
        kind = self._all.get(tab)
        for tabs in (self._open, self._coming):
            if kind is not None and tabs.get(kind) is tab:
                del tabs[kind]
        if tab.budget.in_flight == 0:
            self._io.call(self._settle_if_over, tab)

    def _look(self, tab: Tab) -> None:
        now = time.monotonic()
        with self._lock:
            idle = tab.budget.in_flight == 0 and now - tab.used >= IDLE_S
            if not tab.closed and (idle or now - tab.began > AGE_S):
                self._close(tab)
        if not tab.settled:
            self._io.loop.call_later(IDLE_S, self._look, tab)

    def _settle_if_over(self, tab: Tab) -> None:
        if tab.budget.in_flight == 0:
            self._settle(tab)

    def _settle(self, tab: Tab) -> None:
        if not tab.settled:
            tab.settled = True
            with self._lock:
                self._all.pop(tab, None)
            self.settle(tab)


def _fades(tab: Tab, now: float) -> bool:
    """It will be over soon: time for the next one."""
    budget, total = tab.budget, tab.budget.total
    return (
        now - tab.began > RENEW_S
        or 4 * budget.prompt < total.prompt
        or 4 * budget.completion < total.completion
        or 2 * budget.requests > MOST_REQUESTS
    )


def new_tab(peer: NodeId, rid: bytes, leaf: bytes, need: Need, several: int) -> Tab:
    return Tab(peer, rid, leaf, Budget(several * need.prompt, several * need.completion))
