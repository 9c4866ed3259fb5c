"""All that one node has to do with relays, between its sessions and their handler: the circuits that it
uses itself, and the relay that it is for others. Ordinary messages pass through untouched."""

from __future__ import annotations

from typing import Final, Protocol, get_args

from opengateway.units import NodeId
from opengateway.wire.audience import Handler
from opengateway.wire.carrier import Carrier
from opengateway.wire.circuits import Circuits
from opengateway.wire.clock import Clock
from opengateway.wire.lanes import Lanes, Numbers
from opengateway.wire.limits import Limits
from opengateway.wire.messages import Message
from opengateway.wire.relay import Relay, RelayLimits
from opengateway.wire.relay_messages import (
    Carried,
    CircuitMessage,
    Closed,
    Credit,
    Open,
    Opened,
    Reserve,
)

_OURS: Final = frozenset(get_args(CircuitMessage))


class Ports(Protocol):
    """The wire, as its relays see it."""

    def send(self, peer: NodeId, message: Message) -> bool: ...

    def dial(self, endpoint: str, expect: NodeId | None = None) -> None: ...

    def direct(self, peer: NodeId) -> bool: ...

    def room(self, peer: NodeId) -> bool: ...


class Relaying:
    """A `Handler` around another one."""

    def __init__(
        self,
        us: NodeId,
        wire: Ports,
        handler: Handler,
        *,
        carrier: Carrier,
        limits: Limits,
        relay: RelayLimits,
        clock: Clock,
        count: dict[str, int],
    ) -> None:
        self._wire = wire
        self._handler = handler
        self._count = count
        count["circuit_strays"] = 0
        self._numbers = Numbers(us)
        self._lanes = Lanes(wire.send, wire.room)
        self.circuits = Circuits(
            us, carrier, wire, lanes=self._lanes, numbers=self._numbers, limits=limits, count=count
        )
        self.relay = Relay(wire, self._numbers, clock.now, count, relay)

    # -- the wire's handler ------------------------------------------------------------

    def peer_up(self, peer: NodeId, record: bytes, endpoint: str | None, dialled: bool) -> None:
        self.circuits.up(peer)
        self._handler.peer_up(peer, record, endpoint, dialled)

    def peer_down(self, peer: NodeId, reason: str) -> None:
        self._lanes.lost(peer)
        self.relay.lanes.lost(peer)
        self.relay.down(peer)
        self.circuits.down(peer, reason)
        self._numbers.forget(peer)
        self._handler.peer_down(peer, reason)

    def dial_failed(self, endpoint: str, reason: str) -> None:
        self.circuits.dial_failed(endpoint, reason)
        self._handler.dial_failed(endpoint, reason)

    def message(self, peer: NodeId, message: Message) -> None:
        if type(message) not in _OURS:
            self._handler.message(peer, message)
            return
        match message:
            case Reserve() | Open():
                known = self.relay.heard(peer, message)
            case Opened():
                known = self.circuits.heard(peer, message)
            case Carried() | Credit() | Closed():
                known = self.circuits.heard(peer, message) or self.relay.heard(peer, message)
            case _:
                known = False
        if not known:
            self._count["circuit_strays"] += 1  # what was under way when the circuit was closed

    # -- what the wire calls -----------------------------------------------------------

    def room(self, peer: NodeId) -> None:
        """The session with `peer` has room again."""
        self._lanes.pump(peer)
        self.relay.lanes.pump(peer)

    def reserve(self, relay: NodeId) -> bool:
        """Ask it to relay to us. The answer, Reserved or NotReserved, goes to the handler."""
        self.circuits.relays.add(relay)
        return self._wire.send(relay, Reserve())

    def tick(self) -> None:
        self.relay.tick()
        self.circuits.tick()
        self._lanes.tick()

    def infos(self) -> dict[str, int]:
        return self.circuits.infos() | self.relay.infos()
