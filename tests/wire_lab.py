"""Nodes of a test internet, and what they hear. Used by tests/wire."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from opengateway.identity import Identity, network_id
from opengateway.transport.memory import Internet
from opengateway.units import NodeId
from opengateway.wire.hub import Wire
from opengateway.wire.limits import Limits
from opengateway.wire.messages import Cancel, Message
from opengateway.wire.relay import RelayLimits
from opengateway.wire.relay_endpoint import RelayEndpoint

NET = network_id("test")


@dataclass
class Heard:
    """A handler that writes everything down."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def peer_up(self, peer: NodeId, record: bytes, endpoint: str | None, dialled: bool) -> None:
        self.events.append(("up", peer, record, endpoint, dialled))

    def peer_down(self, peer: NodeId, reason: str) -> None:
        self.events.append(("down", peer, reason))

    def message(self, peer: NodeId, message: Message) -> None:
        self.messages.append(message)

    def dial_failed(self, endpoint: str, reason: str) -> None:
        self.events.append(("failed", endpoint, reason))

    @property
    def kinds(self) -> list[str]:
        return [event[0] for event in self.events]

    @property
    def last_words(self) -> str:
        return str(self.events[-1][-1])


class Host:
    """A node at an address of the test internet."""

    def __init__(
        self,
        internet: Internet,
        address: str,
        *,
        identity: Identity | None = None,
        net: bytes = NET,
        secret: str = "",
        limits: Limits | None = None,
        relay: RelayLimits | None = None,
        clock_off_by_ms: int = 0,
        start: bool = True,
    ) -> None:
        self.internet = internet
        self.address = address
        self.identity = identity or Identity.generate()
        self.id = self.identity.node_id
        self.heard = Heard()
        self.carrier = internet.carrier(address)
        self.wire = Wire(
            self.identity,
            net,
            secret,
            record=lambda: b"record of " + self.id,
            handler=self.heard,
            carrier=self.carrier,
            limits=limits or Limits(),
            relay=relay or RelayLimits(),
            clock=internet.clock_off_by(clock_off_by_ms),
        )
        if start:
            asyncio.run(self.wire.start("*", 4001))

    @property
    def endpoint(self) -> str:
        return f"tcp://{self.address}:4001"

    def counted(self) -> dict[str, int]:
        """Everything refused so far, by reason."""
        named = {
            name.removeprefix("refused_"): n for name, n in self.wire.counters.items() if "refused_" in name
        }
        return {name: n for name, n in named.items() if n}


def two_hosts(internet: Internet | None = None, **settings: Any) -> tuple[Internet, Host, Host]:
    """Two nodes, not connected yet."""
    internet = internet or Internet()
    return internet, Host(internet, "10.0.0.1", **settings), Host(internet, "10.0.0.2", **settings)


def joined(internet: Internet | None = None, **settings: Any) -> tuple[Internet, Host, Host]:
    """Two nodes; the first has dialled the second."""
    internet, a, b = two_hosts(internet, **settings)
    a.wire.dial(b.endpoint)
    internet.run(0.1)
    assert a.heard.kinds == ["up"] and b.heard.kinds == ["up"]
    return internet, a, b


@dataclass
class Relayed:
    """Two nodes that cannot reach each other, and a relay in the middle that `b` is reached through."""

    internet: Internet
    a: Host
    b: Host
    relay: Host

    @property
    def endpoint(self) -> str:
        return str(RelayEndpoint(self.relay.id, self.relay.endpoint, self.b.id))

    def reserve(self, *hosts: Host) -> None:
        for host in hosts:
            host.wire.dial(self.relay.endpoint)
        self.internet.run(0.1)
        for host in hosts:
            assert host.wire.relaying.reserve(self.relay.id)
        self.internet.run(0.1)

    def join(self) -> None:
        """`a` reaches `b` through the relay."""
        self.a.wire.dial(self.endpoint)
        self.internet.run(0.2)
        assert self.a.wire.send(self.b.id, Cancel(1)) and self.b.wire.send(self.a.id, Cancel(1))
        self.internet.run(0.1)
        for host in (self.a, self.b):
            assert host.heard.messages[-1] == Cancel(1)
            host.heard.messages.clear()


def behind_a_relay(
    internet: Internet | None = None, relay: RelayLimits | None = None, limits: Limits | None = None
) -> Relayed:
    internet = internet or Internet()
    a, b = Host(internet, "10.0.0.1", limits=limits), Host(internet, "10.0.0.2", limits=limits)
    middle = Host(internet, "10.0.0.9", relay=relay, limits=limits)
    middle.wire.relaying.relay.endpoint = middle.endpoint
    internet.part(a.address, b.address)
    found = Relayed(internet, a, b, middle)
    found.reserve(b)
    return found
