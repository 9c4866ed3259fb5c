"""Who may knock: every HELLO passes here before it costs a signature.

In this order: size, the address's and everybody's budget, form, version, network, signature, recipient,
time, replay. What is remembered of strangers is bounded by count and by time.
"""

from __future__ import annotations

import ipaddress

from opengateway.units import NodeId
from opengateway.wire.envelope import HELLO, Envelope, open_envelope
from opengateway.wire.handshake import HandshakeRefused, Us, check_hello
from opengateway.wire.limits import CLOCK_WINDOW_MS, NONCES_KEPT, Limits

_ADDRESSES_KEPT = 4096
"""Budgets remembered, 0.5 MB; the one unused for longest is forgotten first."""


class Budget:
    """A token bucket: `rate` a second, `burst` at once."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, now

    def take(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Gate:
    """Admits HELLOs to one node."""

    def __init__(self, us: Us, limits: Limits, now: float) -> None:
        self._us = us
        self._limits = limits
        self._budgets: dict[str, Budget] = {}
        self._everybody = Budget(limits.hellos_per_s, limits.hellos_per_s, now)
        self._nonces: dict[tuple[NodeId, bytes], int] = {}
        """(sender, nonce) -> wall time in ms at which its time stamp is too old anyway, oldest first."""

    def admit(self, frame: bytes, address: str, *, now: float, now_ms: int) -> Envelope:
        """The HELLO's envelope. Raises `HandshakeRefused` or `EnvelopeRefused`."""
        if len(frame) > self._limits.hello:
            raise HandshakeRefused("oversized", f"{len(frame)} bytes, more than {self._limits.hello}")
        if not self._budget(address, now).take(now) or not self._everybody.take(now):
            raise HandshakeRefused("hello_flood")
        envelope = open_envelope(frame[1:], self._us.net, HELLO, limit=self._limits.hello)
        check_hello(envelope, self._us.identity.node_id, now_ms)
        self._remember(envelope, now_ms)
        return envelope

    def _budget(self, address: str, now: float) -> Budget:
        address = _neighbourhood(address)
        budget = self._budgets.pop(address, None)
        if budget is None:
            budget = Budget(self._limits.hellos_per_address_per_s, self._limits.hellos_burst, now)
            if len(self._budgets) >= _ADDRESSES_KEPT:
                del self._budgets[next(iter(self._budgets))]
        self._budgets[address] = budget  # popped and put back: the order is that of last use
        return budget

    def _remember(self, envelope: Envelope, now_ms: int) -> None:
        key = (envelope.sender, envelope.nonce)
        if key in self._nonces:
            raise HandshakeRefused("replayed_hello")
        while self._nonces:
            oldest = next(iter(self._nonces))
            if self._nonces[oldest] >= now_ms and len(self._nonces) < NONCES_KEPT:
                break
            del self._nonces[oldest]
        # Valid until its stamp leaves the window; seen from now that is at most two windows away.
        self._nonces[key] = now_ms + 2 * CLOCK_WINDOW_MS


def _neighbourhood(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address: whoever has one has all of it (RFC 6177)."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(address.partition("%")[0])) >> 64 << 64))
    except ValueError:
        return address
