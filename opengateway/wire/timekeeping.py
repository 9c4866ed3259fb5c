"""What peers' clocks say, and what they are told when ours is set."""

from __future__ import annotations

from collections.abc import Iterable

from opengateway.wire.clock import Clock
from opengateway.wire.limits import CLOCK_STEP_MS
from opengateway.wire.link_messages import Clock as ClockSays
from opengateway.wire.peer import Session
from opengateway.wire.traffic import Traffic


class Timekeeping:
    """Used by sessions.py only."""

    def __init__(self, traffic: Traffic, clock: Clock) -> None:
        self._traffic = traffic
        self._clock = clock
        self._boot_ms = self._since_boot()

    def heard(self, session: Session, message: ClockSays) -> None:
        """A peer tells its time."""
        session.ahead_ms = message.t_ms - self._clock.wall_ms()
        if message.asks:
            self._traffic.send(session, ClockSays(self._clock.wall_ms(), asks=False))

    def look(self, sessions: Iterable[Session]) -> None:
        """If ours was set, everybody's difference from it is another now, and they should know ours. Asked
        rather than computed: after a sleep the wall clock has moved on, and everybody's with it."""
        boot_ms = self._since_boot()
        if abs(boot_ms - self._boot_ms) > CLOCK_STEP_MS:
            for session in sessions:
                self._traffic.send(session, ClockSays(self._clock.wall_ms(), asks=True))
        self._boot_ms = boot_ms

    def _since_boot(self) -> int:
        """The wall clock at zero of the monotonic one: changes only when the wall clock is set."""
        return self._clock.wall_ms() - int(self._clock.now() * 1000)
