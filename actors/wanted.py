"""Whom the owner wants a session with: the configured entry points, and everyone he says `connect` to."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from actors.kernel import Reply
from opengateway.discovery.addresses import entry_point
from opengateway.discovery.company import COMPANY
from opengateway.discovery.given_up import latest
from opengateway.errors import PeerUnreachable
from opengateway.units import NodeId

RETRY = (1.0, 30.0)
"""First and longest pause in seconds between attempts at an entry point, which is tried for ever."""
LET_GO_REST = (60.0, 600.0)
"""Seconds after which an entry point that let us go is tried again: when there is too little company; and, if
it was the owner who said `connect`, anyway."""
PATIENCE = 10.0
"""Seconds that `connect` waits: two dial attempts."""
HINT = "is the node running there, in the same network, and is its port open?"


@dataclass(slots=True)
class _Plan:
    at: float = 0.0
    pause: float = 0.0
    expect: NodeId | None = None
    """Who must answer there; None: whoever does."""
    entry: bool = False
    """Of the settings: good for meeting others, and no more."""
    let_go: float | None = None
    """When whoever is there had enough company, in monotonic seconds."""

    def rests(self, now: float, company: int) -> bool:
        if self.let_go is None:
            return False
        lonely, anyway = LET_GO_REST
        if company < COMPANY:
            return now < self.let_go + lonely
        return self.entry or now < self.let_go + anyway


@dataclass(frozen=True, slots=True)
class _Waiting:
    target: str
    """As the owner wrote it."""
    name: str
    """The endpoint that was dialled, or the id that is expected."""
    until: float
    reply: Reply[Any]


@dataclass(slots=True)
class Wanted:
    plans: dict[str, _Plan] = field(default_factory=dict)
    waiting: list[_Waiting] = field(default_factory=list)

    @classmethod
    def of(cls, bootstrap: Iterable[str], given_up: Mapping[NodeId, NodeId]) -> Self:
        """The entry points of the settings, by the keys that they have now."""
        wanted = cls()
        for where in bootstrap:
            endpoint, expect = entry_point(where)
            wanted.keep(endpoint, latest(given_up, NodeId(expect)) if expect else None)
            wanted.plans[endpoint].entry = True
        return wanted

    def keep(self, endpoint: str, expect: NodeId | None = None) -> None:
        """Keep a session with whoever is there, for ever."""
        self.plans.setdefault(endpoint, _Plan(expect=expect))

    def follow(self, old: NodeId, new: NodeId) -> None:
        """Who was expected goes on with a new key."""
        for plan in self.plans.values():
            if plan.expect == old:
                plan.expect, plan.at, plan.pause = new, 0.0, 0.0

    def forget(self, endpoint: str) -> None:
        self.plans.pop(endpoint, None)

    def let_go(self, endpoint: str) -> None:
        """Whoever is there has enough company."""
        if plan := self.plans.get(endpoint):
            plan.let_go = time.monotonic()

    def due(self, reached: Collection[str | None], *, company: int = 0) -> list[tuple[str, NodeId | None]]:
        """Endpoints to dial now, and who must answer; each is due again after a longer pause. `company`: how
        many sessions there are."""
        now = time.monotonic()
        found = []
        for endpoint, plan in self.plans.items():
            if endpoint in reached:
                plan.pause, plan.let_go = 0.0, None
            elif now >= plan.at and not plan.rests(now, company):
                plan.pause = min(max(plan.pause * 2, RETRY[0]), RETRY[1])
                plan.at = now + plan.pause
                found.append((endpoint, plan.expect))
        return found

    def wait(self, target: str, name: str, reply: Reply[Any]) -> None:
        """Answer `reply` when `name` is up, or has failed."""
        self.waiting.append(_Waiting(target, name, time.monotonic() + PATIENCE, reply))

    def came_up(self, names: Collection[str | None], answer: dict[str, Any]) -> None:
        for waiting in self._take(w for w in self.waiting if w.name in names):
            waiting.reply.answer(answer)
            if "://" in waiting.name:
                self.keep(waiting.name)

    def failed(self, endpoint: str, reason: str) -> None:
        for waiting in self._take(w for w in self.waiting if w.name == endpoint):
            waiting.reply.refuse(
                PeerUnreachable(reason if endpoint in reason else f"{endpoint}: {reason}", hint=HINT)
            )

    def expire(self) -> None:
        now = time.monotonic()
        for waiting in self._take(w for w in self.waiting if now > w.until):
            message = f"{waiting.target} did not answer within {PATIENCE:.0f} s"
            waiting.reply.refuse(PeerUnreachable(message, hint=HINT))

    def _take(self, chosen: Iterable[_Waiting]) -> list[_Waiting]:
        taken = list(chosen)
        self.waiting = [waiting for waiting in self.waiting if waiting not in taken]
        return taken
