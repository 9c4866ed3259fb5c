"""Starts children in order, stops them in reverse, restarts the fallen.

This is Erlang's supervisor with two knobs instead of five. *What* a failure takes down is
the supervisor's choice (`takes_down`). *How often and how fast* to try again is the
child's (`Backoff`). A child that fails too many times in a row makes its supervisor fail
in its place; that is the whole of escalation.

Mail outlives a restart, and so does the message that nobody can digest, if there are more
like it behind. Therefore a supervisor that fails throws away all unread mail below it
(whoever asked is told): its next life begins with empty mailboxes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from actors.kernel.actor import Actor
from actors.kernel.address import Address, Exited
from actors.kernel.backoff import Escalated
from actors.kernel.mailbox import Refused
from actors.kernel.reply import Request

TakesDown: TypeAlias = Literal["itself", "the rest", "everyone"]

logger = logging.getLogger("actors.kernel")


@dataclass(frozen=True, slots=True)
class Restart:
    """From a supervisor to itself. Void unless it is still the latest `plan` for a child."""

    children: tuple[Address[Any], ...]
    plan: object


@dataclass(frozen=True, slots=True)
class Adopt(Request[None]):
    """Start one more child, after the others. It stays a child when the supervisor restarts."""

    child: Address[Any]


@dataclass(frozen=True, slots=True)
class Release(Request[None]):
    """Stop a child, close its address and forget it."""

    child: Address[Any]


Order: TypeAlias = Exited | Restart | Adopt | Release


class Supervisor(Actor[Order]):
    """`takes_down`: the failed child "itself", "the rest" (it and those started after it) or "everyone"."""

    def __init__(self, takes_down: TakesDown = "itself") -> None:
        super().__init__()
        self.takes_down: TakesDown = takes_down
        self._plans: dict[Address[Any], object] = {}  # of children that wait for their restart

    def on_start(self) -> None:
        for child in self._children():
            child.failures = 0  # a new life holds no grudges
            child.start()

    def on_exit(self) -> None:
        for child in reversed(self.address.children):
            child.stop()
        if self.failure is not None:
            for child in self.address.children:
                child.discard("its supervisor failed, and the mail below it was discarded")

    def on_receive(self, message: Order) -> None:
        match message:
            case Exited(child, life, failure):
                if self._is_news(child, life):
                    self._child_exited(child, failure)
            case Restart(children, plan):
                for child in children:
                    if self._plans.get(child) is plan:
                        del self._plans[child]
                        self._restart(child)
            case Adopt(child):
                self._adopt(child)
            case Release(child):
                self._release(child)

    def _children(self) -> list[Address[Any]]:
        return [child for child in self.address.children if not child.mailbox.closed]

    def _is_news(self, child: Address[Any], life: int) -> bool:
        """Not if we stopped it ourselves, restarted it since, or let it go, or if it has closed."""
        return (
            child in self._children()
            and life == child.life
            and child not in self._plans
            and child.state in ("failed", "stopped", "abandoned")
        )

    def _child_exited(self, child: Address[Any], failure: BaseException | None) -> None:
        if child.restart == "never" or (child.restart == "on_failure" and failure is None):
            child.close()
            return
        policy = child.backoff
        settled = child.clock.now() - child.since > policy.settled
        child.failures = 1 if settled else child.failures + 1
        if policy.tries is not None and child.failures > policy.tries:
            raise Escalated(f"{child.name} failed {child.failures} times in a row") from failure
        self._restart_later(self._taken_down_by(child), policy.delay(child.failures))

    def _restart_later(self, fallen: list[Address[Any]], seconds: float) -> None:
        plan = object()
        for child in reversed(fallen):
            child.stop()
            child.state = "backoff"
            self._plans[child] = plan
        if not self.address.tell_later(seconds, Restart(tuple(fallen), plan)):
            raise Escalated(f"{self.address.name} has more restarts to wait for than timers")
        logger.info("%s: restart in %.2f s", ", ".join(child.name for child in fallen), seconds)

    def _restart(self, child: Address[Any]) -> None:
        # Its owner may have stopped, started or closed it behind our back.
        if child.state == "backoff" and not child.mailbox.closed:
            child.start()
            logger.info("%s restarted, life %d", child.name, child.life)

    def _taken_down_by(self, child: Address[Any]) -> list[Address[Any]]:
        siblings = self._children()
        match self.takes_down:
            case "itself":
                return [child]
            case "the rest":
                return siblings[siblings.index(child) :]
            case "everyone":
                return siblings

    def _adopt(self, child: Address[Any]) -> None:
        if child.parent is not None or child.life > 0:
            raise Refused(f"{child.name} has been started or adopted already; adopt a new address")
        top = self.address
        while top.parent is not None:
            top = top.parent
        if twice := {a.name for _, a in top.walk()} & {a.name for _, a in child.walk()}:
            raise Refused(f"there is a {', '.join(sorted(twice))} already; names of actors must differ")
        child.parent = self.address
        self.address.children.append(child)
        child.start()

    def _release(self, child: Address[Any]) -> None:
        if child not in self.address.children:
            raise Refused(f"{child.name} is no child of {self.address.name}")
        self.address.children.remove(child)
        self._plans.pop(child, None)
        child.close()
        child.parent = None
