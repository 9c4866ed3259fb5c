"""A node in a bottle: a manual clock, a probe, and a way to wait for quiet."""

from __future__ import annotations

import time
from typing import Any

from actors.kernel import Actor, Address


class Probe(Address[Any]):
    """An address nobody lives at: it collects mail for the test to read."""

    def __init__(self, name: str = "probe") -> None:
        super().__init__(name, Actor)

    def received(self) -> list[Any]:
        return [envelope.message for envelope in self.mailbox._normal]

    def expect(self, kind: type[Any], within: float = 1.0) -> Any:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for message in self.received():
                if isinstance(message, kind):
                    return message
            time.sleep(0.001)
        msg = f"no {kind.__name__} within {within}s; got {self.received()}"
        raise AssertionError(msg)


def settle(root: Address[Any], within: float = 2.0) -> None:
    """Wait until nobody under `root` is working or has anything left to read."""
    deadline = time.monotonic() + within
    quiet = 0
    while quiet < 3:
        busy = [
            a
            for _, a in root.walk()
            if a.state in ("running", "starting")
            and (a.busy is not None or len(a.mailbox) or a.mailbox._express)
        ]
        quiet = 0 if busy else quiet + 1
        if time.monotonic() > deadline:
            msg = f"still busy: {busy}"
            raise AssertionError(msg)
        time.sleep(0.001)
