"""Starts children in order, stops them in reverse, restarts the fallen.

This is Erlang's supervisor with two knobs instead of five. *What* a failure takes down is
the supervisor's choice (`takes_down`). *How often and how fast* to try again is the
child's (`Backoff`). A child that fails too many times in a row makes its supervisor fail
in its place; that is the whole of escalation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from actors.kernel.actor import Actor
from actors.kernel.address import Address, Exited

TakesDown = Literal["itself", "the rest", "everyone"]


class Escalated(Exception):
    """A supervisor ran out of tries with a child, and fails in its place."""


@dataclass(frozen=True, slots=True)
class Restart:
    child: Address[Any]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Start one more child, after the others."""

    child: Address[Any]


Message: TypeAlias = Exited | Restart | Adopt


class Supervisor(Actor[Message]):
    def __init__(self, takes_down: TakesDown = "itself") -> None:
        super().__init__()
        self.takes_down: TakesDown = takes_down

    def on_start(self) -> None:
        for child in self.address.children:
            child.failures = 0  # a new life holds no grudges
            child.start()

    def on_exit(self) -> None:
        for child in reversed(self.address.children):
            child.stop()

    def on_receive(self, message: Message) -> None:
        match message:
            case Exited(child, life, failure):
                if life == child.life and child.state in ("failed", "stopped"):
                    self._child_exited(child, failure)
            case Restart(child):
                if child.state == "backoff":
                    child.start()
            case Adopt(child):
                child.watchers.append(self.address)
                self.address.children.append(child)
                child.start()

    def _child_exited(self, child: Address[Any], failure: BaseException | None) -> None:
        if child.restart == "never" or (child.restart == "on_failure" and failure is None):
            child.close()
            return
        policy = child.backoff
        settled = child.clock.now() - child.since > policy.settled
        child.failures = 1 if settled else child.failures + 1
        if policy.tries is not None and child.failures > policy.tries:
            msg = f"{child.name} failed {child.failures} times in a row"
            raise Escalated(msg) from failure
        fallen = self._taken_down_by(child)
        for sibling in reversed(fallen):
            sibling.stop()
            sibling.state = "backoff"
        for sibling in fallen:
            self.address.tell_later(policy.delay(child.failures), Restart(sibling))

    def _taken_down_by(self, child: Address[Any]) -> list[Address[Any]]:
        siblings = self.address.children
        match self.takes_down:
            case "itself":
                return [child]
            case "the rest":
                return siblings[siblings.index(child) :]
            case "everyone":
                return list(siblings)
