"""Dial-back: a fresh connection that says a nonce, and nothing else.

    who was asked                                             who asked
      KNOCK   = 0x04 | nonce (16)                               ->
      <-        KNOCKED = 0x05 | nonce (16)

The nonce came through the sealed session of the two, so whoever says it on a new connection has been able
to open one: what no word of a peer proves, this does. No session comes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opengateway.wire.carrier import Carrier, Link
from opengateway.wire.circuits import relay_of

KNOCK_FRAME: Final = b"\x04"
KNOCKED_FRAME: Final = b"\x05"
NONCE_BYTES: Final = 16
KNOCK_S: Final = 5.0
"""As long as a dial may take."""
KNOCKS_AT_ONCE: Final = 32
"""Under way to others. Each is a socket."""


@dataclass(slots=True)
class _Knock:
    nonce: bytes
    until: float
    done: Callable[[str], None]


class Knocks:
    """Both sides of it. `heard` is called with every nonce of ours that comes back, and the address that it
    came from."""

    def __init__(self, carrier: Carrier, now: Callable[[], float], count: dict[str, int]) -> None:
        self._carrier = carrier
        self._now = now
        self._count = count
        count |= dict.fromkeys(("knocks_sent", "knocks_answered", "knocks_heard", "knocks_strange"), 0)
        self._under_way: dict[Link, _Knock] = {}
        self.heard: Callable[[bytes, str], bool] = lambda _nonce, _address: False

    def knock(self, endpoint: str, nonce: bytes, done: Callable[[str], None]) -> None:
        """Open a connection to `endpoint` and say `nonce` there. `done` hears why it failed, or nothing."""
        if len(self._under_way) >= KNOCKS_AT_ONCE:
            done("too many are under way")
            return
        try:
            link = self._carrier.dial(endpoint)
        except (ValueError, OSError) as error:
            done(str(error))
            return
        self._count["knocks_sent"] += 1
        self._under_way[link] = _Knock(nonce, self._now() + KNOCK_S, done)
        self._carrier.send(link, KNOCK_FRAME + nonce)

    def received(self, link: Link, frame: bytes, address: str) -> bool:
        """False: this frame is no business of a knock."""
        knock = self._under_way.get(link)
        if knock is not None:
            self._end(link, "" if frame == KNOCKED_FRAME + knock.nonce else "somebody else answers there")
            return True
        if frame[:1] != KNOCK_FRAME or len(frame) != 1 + NONCE_BYTES:
            return False
        if relay_of(link) is not None or not address:  # a relayed connection is no proof of anything
            return False
        if self.heard(frame[1:], address):
            self._count["knocks_heard"] += 1
            self._carrier.send(link, KNOCKED_FRAME + frame[1:])
        else:
            self._count["knocks_strange"] += 1
        return True

    def lost(self, link: Link, reason: str) -> None:
        if link in self._under_way:
            self._end(link, reason)

    def tick(self) -> None:
        now = self._now()
        for link in [link for link, knock in self._under_way.items() if now > knock.until]:
            self._end(link, f"nobody answered within {KNOCK_S:.0f} s")

    def clear(self) -> None:
        self._under_way.clear()

    def _end(self, link: Link, reason: str) -> None:
        knock = self._under_way.pop(link)
        self._carrier.shut(link)
        self._count["knocks_answered"] += not reason
        knock.done(reason)
