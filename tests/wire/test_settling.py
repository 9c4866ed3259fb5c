"""Two connections with one peer, one of which is no good."""

from __future__ import annotations

from typing import Any

import pytest
from wire_lab import Host

from opengateway.transport.memory import Internet
from opengateway.wire.messages import Cancel


class Unlucky(Internet):
    """Where single connections can die: nothing arrives on them any more, and nobody is told."""

    def __init__(self) -> None:
        super().__init__()
        self.dead: set[Any] = set()

    def _arrive(self, end: Any, frame: bytes) -> None:
        if end not in self.dead:
            super()._arrive(end, frame)


@pytest.mark.parametrize("direction", ["both", "to who dialled", "to who was dialled"])
@pytest.mark.parametrize("second", ["a", "b"])
def test_a_second_connection_that_never_answers_does_not_touch_the_first(second: str, direction: str) -> None:
    internet = Unlucky()
    a, b = Host(internet, "10.0.0.1"), Host(internet, "10.0.0.2")
    first, again = (b, a) if second == "a" else (a, b)
    first.wire.dial(again.endpoint)
    internet.run(1)
    again.wire._sessions.connected = lambda *_: False  # type: ignore[method-assign]
    again.wire.dial(first.endpoint)
    link = again.carrier.ends[-1]
    while len(again.wire.sessions()) < 2:
        internet.run(0.0005)
    if direction != "to who dialled":
        internet.dead.add(link)
    if direction != "to who was dialled":
        internet.dead.add(link.other)
    for number in range(200):
        assert a.wire.send(b.id, Cancel(number)) and b.wire.send(a.id, Cancel(number))
        internet.run(0.25)
    for host in (a, b):
        assert host.heard.kinds == ["up"]
        assert host.heard.messages == [Cancel(number) for number in range(200)]
        assert len(host.wire.sessions()) == 1
