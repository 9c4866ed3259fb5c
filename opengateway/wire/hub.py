"""All sessions of one node. Everything here runs on the I/O loop; nothing here waits, and nothing but
the carrier touches a socket, so a whole network of these runs in one test (transport/memory.py).

A link's life:   dial -> HELLO -> WELCOME checked          -> session        (we dialled)
                 HELLO admitted -> WELCOME -> first sealed  -> session        (they dialled)
                 session -> Bye | lost | silent | restarted -> gone
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId
from opengateway.wire.audience import Audience, Handler
from opengateway.wire.carrier import Carrier, Link
from opengateway.wire.clock import Clock, SystemClock
from opengateway.wire.envelope import EVERYONE, EnvelopeRefused
from opengateway.wire.gate import Budget, Gate
from opengateway.wire.handshake import (
    HELLO_FRAME,
    WELCOME_FRAME,
    HandshakeRefused,
    Initiator,
    Us,
    answer,
)
from opengateway.wire.knock import Knocks
from opengateway.wire.limits import Limits
from opengateway.wire.messages import Message
from opengateway.wire.peer import SessionInfo
from opengateway.wire.pending import Dial, HalfOpen
from opengateway.wire.refusals import REASONS, REFUSAL_FRAME, read_refusal, sign_refusal
from opengateway.wire.relay import RelayLimits
from opengateway.wire.relay_endpoint import is_relayed, parse_relay_endpoint
from opengateway.wire.relaying import Relaying
from opengateway.wire.roll import Roll
from opengateway.wire.sessions import Sessions

__all__ = ["Handler", "Wire"]

_REFUSALS_PER_S: Final = 20
"""Signed refusals, 0.1 ms each, to everybody together."""
_UNREFUSED: Final = frozenset({"oversized", "hello_flood", "bad_signature", "small_order_key"})
"""Reasons that get no answer: floods and forgeries are not worth a signature."""


class Wire:
    """See the module. `record` is called for every handshake: the newest record of this node."""

    def __init__(
        self,
        identity: Identity,
        net: NetworkId,
        secret: str,
        *,
        record: Callable[[], bytes],
        handler: Handler,
        carrier: Carrier,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        relay: RelayLimits = RelayLimits(),  # noqa: B008 - frozen
        clock: Clock | None = None,
    ) -> None:
        self._us = Us(identity, net, secret, os.urandom(16))
        self._record = record
        self._limits = limits
        self._clock: Clock = clock or SystemClock()
        now = self._clock.now()
        self._gate = Gate(self._us, limits, now)
        self._refusal_budget = Budget(_REFUSALS_PER_S, _REFUSALS_PER_S, now)
        self._dials: dict[Link, Dial] = {}
        self._half_open: dict[Link, HalfOpen] = {}
        self._count: dict[str, int] = dict.fromkeys(
            ("hellos", "welcomes", "dials", "dials_by_their_clock", "dials_failed", "refusals_sent"), 0
        ) | {f"refused_{reason}": 0 for reason in REASONS}
        self.relaying = Relaying(
            identity.node_id,
            self,
            handler,
            carrier=carrier,
            limits=limits,
            relay=relay,
            clock=self._clock,
            count=self._count,
        )
        self._carrier: Carrier = self.relaying.circuits
        self.knocks = Knocks(self._carrier, self._clock.now, self._count)
        self._audience = Audience(self.relaying, self._count, self.relaying.room)
        self._sessions = Sessions(
            identity.node_id,
            audience=self._audience,
            carrier=self._carrier,
            limits=limits,
            clock=self._clock,
            count=self._count,
        )
        self.roll: Roll = self._sessions

    # -- what the node calls -----------------------------------------------------------

    async def start(self, host: str = "*", port: int = 0) -> int:
        """Listen; the port that was bound. Raises `PortTaken`."""
        return await self._carrier.start(host, port, self)

    async def close(self, reason: str = "leaving") -> None:
        """Say goodbye to everybody and let go of all sockets. The handler hears nothing more."""
        self._sessions.close(reason)
        self._dials.clear()
        self._half_open.clear()
        self.knocks.clear()
        await self._carrier.close()

    def dial(self, endpoint: str, expect: NodeId | None = None) -> None:
        """Connect to `tcp://host:port`, or through a relay (relay_endpoint.py). Nothing happens if we are
        connecting there, or are connected there or to `expect`, already. Ends in `peer_up` or in
        `dial_failed`, unless another connection with the same peer is up: then this one settles with it
        silently, the direct one before the relayed."""
        if is_relayed(endpoint):
            try:
                expect = parse_relay_endpoint(endpoint).target
            except ValueError as error:
                self._fail(endpoint, str(error))
                return
        if self._sessions.connected(endpoint, expect):
            return
        if any(dial.endpoint == endpoint for dial in self._dials.values()):
            return
        self._count["dials"] += 1
        try:
            link = self._carrier.dial(endpoint)
        except (ValueError, OSError) as error:
            self._fail(endpoint, str(error))
            return
        expected = expect or EVERYONE
        initiator = Initiator(self._us, self._record(), now_ms=self._clock.wall_ms(), expect=expected)
        until = self._clock.now() + self._patience(endpoint)
        self._dials[link] = Dial(endpoint, expected, initiator, until)
        self._carrier.send(link, initiator.hello)

    def hang_up(self, peer: NodeId, reason: str) -> None:
        """Say goodbye to `peer`, who is down at once."""
        self._sessions.hang_up(peer, reason)

    def send(self, peer: NodeId, message: Message) -> bool:
        """False, and counted: no session with this peer, or too much is on the way to it already."""
        return self._sessions.send(peer, message)

    def direct(self, peer: NodeId) -> bool:
        """Whether what we send to this peer takes no relay."""
        return self._sessions.direct(peer)

    def room(self, peer: NodeId) -> bool:
        """Whether circuits may send more to this peer now."""
        return self._sessions.room(peer)

    def tampered(self) -> set[tuple[NodeId, NodeId]]:
        """(relay, peer) of sessions that lost a frame or got a false one since this was asked last."""
        found, self._sessions.tampered = self._sessions.tampered, set()
        return found

    def ahead_ms(self, peer: NodeId) -> int:
        """How far this peer's clock is ahead of ours, as its session has measured it; 0 without one."""
        session = self._sessions.sending.get(peer)
        return session.ahead_ms if session is not None else 0

    def sessions(self) -> list[SessionInfo]:
        return self._sessions.infos()

    @property
    def counters(self) -> Mapping[str, int]:
        """Everything counted since the start, by stable names; `refused_<reason>` as in refusals.py."""
        now = {"half_open": len(self._half_open)} | self.relaying.infos()
        return self._count | self._sessions.totals() | now

    # -- what the carrier calls --------------------------------------------------------

    def received(self, link: Link, frame: bytes, address: str) -> None:
        """One frame: of a session, or towards one."""
        if self._sessions.received(link, frame) or self.knocks.received(link, frame, address):
            return
        half_open = self._half_open.get(link)
        kind = frame[:1]
        try:
            if kind == HELLO_FRAME and link not in self._dials:
                self._hello(link, frame, address)
            elif half_open is not None:
                self._proof(link, half_open, frame)
            elif link in self._dials and kind == WELCOME_FRAME:
                self._welcome(link, frame)
            elif link in self._dials and kind == REFUSAL_FRAME:
                self._turned_down(link, frame)
            else:
                self._refused("unexpected_frame")
        except (HandshakeRefused, EnvelopeRefused) as refused:
            self._refused(refused.reason)
            if kind == HELLO_FRAME:
                self._answer_no(link, frame, refused.reason, str(getattr(refused, "detail", "")))
            elif link in self._dials:
                self._give_up(link, REASONS[refused.reason])

    def lost(self, link: Link, reason: str) -> None:
        """The connection is gone."""
        self._half_open.pop(link, None)
        dial = self._dials.pop(link, None)
        if dial is not None:
            self._fail(dial.endpoint, reason)
        self._sessions.lost(link, reason)
        self.knocks.lost(link, reason)

    def malformed(self, reason: str) -> None:
        """Something came that is not even one frame."""
        self._refused(reason)

    def tick(self) -> None:
        """Time passes."""
        now = self._clock.now()
        for link, dial in list(self._dials.items()):
            if now >= dial.until:
                self._give_up(link, f"nobody answered within {self._patience(dial.endpoint):.0f} s")
        for link, waiting in list(self._half_open.items()):
            if now >= waiting.until:
                del self._half_open[link]
                self._carrier.shut(link)
                self._refused("half_open_timeout")
        self._sessions.tick(now)
        self.knocks.tick()
        self.relaying.tick()

    def _patience(self, endpoint: str) -> float:
        return self._limits.relayed_dial_s if is_relayed(endpoint) else self._limits.dial_s

    # -- handshakes --------------------------------------------------------------------

    def _hello(self, link: Link, frame: bytes, address: str) -> None:
        self._count["hellos"] += 1
        now, now_ms = self._clock.now(), self._clock.wall_ms()
        hello = self._gate.admit(frame, address, now=now, now_ms=now_ms)
        if len(self._sessions) >= self._limits.sessions:
            raise HandshakeRefused("too_many_sessions")
        if link not in self._half_open and len(self._half_open) >= self._limits.half_open:
            raise HandshakeRefused("half_open_full")
        established, welcome = answer(self._us, hello, frame[1:], self._record(), now_ms=now_ms)
        if self._sessions.crowded(established.peer, established.instance):
            raise HandshakeRefused("too_many_sessions", "two connections with this node are enough")
        session = self._sessions.new(link, established, None, address)
        self._half_open[link] = HalfOpen(session, now + self._limits.half_open_s)
        self._carrier.send(link, welcome)
        self._count["welcomes"] += 1

    def _proof(self, link: Link, half_open: HalfOpen, frame: bytes) -> None:
        if self._sessions.prove(half_open.session, frame):
            del self._half_open[link]

    def _welcome(self, link: Link, frame: bytes) -> None:
        if len(frame) > self._limits.hello:
            raise HandshakeRefused("oversized")
        dial = self._dials[link]
        established = dial.initiator.welcomed(frame, self._clock.wall_ms())
        if self._sessions.crowded(established.peer, established.instance):
            raise HandshakeRefused("too_many_sessions")
        del self._dials[link]
        self._sessions.begin(self._sessions.new(link, established, dial.endpoint))

    def _turned_down(self, link: Link, frame: bytes) -> None:
        dial = self._dials[link]
        refusal = read_refusal(self._us, dial.initiator, frame)
        now_ms = self._clock.wall_ms()
        if not refusal.worth_another(dial.initiator, now_ms):
            self._give_up(link, refusal.sentence)
            return
        self._count["dials_by_their_clock"] += 1
        dial.initiator = Initiator(
            self._us, self._record(), now_ms=now_ms, expect=dial.expect, there_ms=refusal.t_ms
        )
        self._carrier.send(link, dial.initiator.hello)

    def _give_up(self, link: Link, reason: str) -> None:
        dial = self._dials.pop(link)
        self._carrier.shut(link)
        self._fail(dial.endpoint, reason)

    def _fail(self, endpoint: str, reason: str) -> None:
        self._count["dials_failed"] += 1
        self._audience.dial_failed(endpoint, reason)

    def _answer_no(self, link: Link, frame: bytes, reason: str, detail: str) -> None:
        if reason in _UNREFUSED or not self._refusal_budget.take(self._clock.now()):
            return
        now_ms = self._clock.wall_ms()
        self._carrier.send(link, sign_refusal(self._us, frame, reason, detail, now_ms=now_ms))
        self._count["refusals_sent"] += 1

    def _refused(self, reason: str) -> None:
        self._count[f"refused_{reason}"] += 1
