"""Owns the wire and the discovery on the link: their sockets live and die with this actor."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.io_loop import IoLoop
from actors.kernel import Actor, Address, Refused
from actors.lines import Lines
from actors.messages import (
    Advertise,
    DescribeWire,
    Dial,
    HangUp,
    LeftLink,
    RegistryMessage,
    RoundTrips,
    Say,
    Sighted,
    SwarmPeerMessage,
    Tick,
    Trip,
    WireUp,
)
from actors.switchboard import Switchboard
from opengateway.discovery.lan import Lan
from opengateway.identity import base32
from opengateway.units import NodeId
from opengateway.wire.hub import Wire
from opengateway.wire.messages import RecordChanged

logger = logging.getLogger(__name__)

START_LIMIT = 15.0
CLOSE_LIMIT = 5.0
"""Seconds for goodbyes to leave; a peer that does not get one notices the silence in 6 s."""
ROUND_TRIPS_PERIOD = 1.0


@dataclass(slots=True)
class Port:
    """The port that peers know. Kept over a restart of the actor, so that they find it again."""

    host: str
    number: int


class SwarmPeer(Actor[SwarmPeerMessage]):
    def __init__(
        self,
        io: IoLoop,
        port: Port,
        lines: Lines,
        *,
        make_switchboard: Callable[[], Switchboard],
        make_wire: Callable[[Switchboard, Callable[[], bytes]], Wire],
        make_lan: Callable[[int, Callable[[Any], None], Callable[[NodeId], None]], Lan] | None,
        first_record: Callable[[], bytes],
        registry: Address[RegistryMessage],
    ) -> None:
        super().__init__()
        self._io = io
        self._port = port
        self._lines = lines
        self._registry = registry
        self._make_lan = make_lan
        self._record = first_record()
        self._switchboard = make_switchboard()
        self._wire = make_wire(self._switchboard, lambda: self._record)
        self._switchboard.wire = self._switchboard.reach.wire = self._wire
        self._switchboard.own_record = lambda: self._record
        self._switchboard.stamp = lambda: lines.stamping.stamp
        self._lan: Lan | None = None

    def on_start(self) -> None:
        self._port.number = self._io.run(self._wire.start(self._port.host, self._port.number), START_LIMIT)
        self._io.call(setattr, self._lines, "switchboard", self._switchboard)
        self._registry.tell(WireUp(self._port.number))
        if self._make_lan is not None:
            self._io.run(self._start_lan(self._make_lan), START_LIMIT)
        self.address.tell_later(ROUND_TRIPS_PERIOD, Tick(), replace=True)

    async def _start_lan(self, make: Callable[..., Lan]) -> None:
        self._lan = make(self._port.number, self._sighted, self._left)
        await self._lan.start()

    def on_exit(self) -> None:
        if self._lan is not None:
            with contextlib.suppress(Exception):
                self._io.run(self._lan.close(), CLOSE_LIMIT)
        self._io.run(self._close(), CLOSE_LIMIT)

    async def _close(self) -> None:
        self._lines.switchboard = None
        self._switchboard.close()
        peers = [session.peer for session in self._wire.sessions()]
        await self._switchboard.reach.close()
        await self._wire.close("restarting" if self.failure is not None else "leaving")
        # A closed wire says nothing more; without this whoever waits for a peer would wait for ever, and
        # the Registry would never dial it again.
        for peer in peers:
            self._switchboard.peer_down(peer, "this node's connections were closed")

    def on_receive(self, message: SwarmPeerMessage) -> Any:
        match message:
            case Dial(endpoint, expect):
                self._io.call(self._wire.dial, endpoint, expect)
            case HangUp(peer, reason):
                self._io.call(self._wire.hang_up, peer, reason)
            case Advertise(record):
                self._io.call(self._advertise, record)
            case Say(peer, said):
                self._io.call(self._switchboard.gossip.say, peer, said)
            case Tick():
                self._io.call(self._tell_round_trips)
                self.address.tell_later(ROUND_TRIPS_PERIOD, Tick(), replace=True)
            case DescribeWire():
                try:
                    return self._io.run(self._describe(), 2.0)
                except TimeoutError as error:
                    raise Refused("the I/O loop is too busy to answer") from error
        return None

    # -- on the loop ---------------------------------------------------------------------------

    def _sighted(self, sighting: Any) -> None:
        self._registry.tell(Sighted(sighting))

    def _left(self, peer: NodeId) -> None:
        self._registry.tell(LeftLink(peer))

    def _advertise(self, record: bytes) -> None:
        self._record = record
        for session in self._wire.sessions():
            self._wire.send(session.peer, RecordChanged(record))

    def _tell_round_trips(self) -> None:
        found = self._wire.sessions()
        self._switchboard.reach.tick(found)
        relays = {s.peer: s.relay for s in found if s.relay is not None and not self._wire.direct(s.peer)}
        trips = (Trip(s.peer, s.rtt_ms, s.last_heard, s.ahead_ms, s.best_ms) for s in found)
        self._registry.tell(RoundTrips(tuple(trips), relays))
        self._switchboard.exchange.sweep()
        self._switchboard.testimony.tick()
        self._switchboard.company.tick()

    async def _describe(self) -> dict[str, Any]:
        board = self._switchboard
        counters = dict(self._wire.counters) | board.testimony.counters()
        for name, counted in {
            "asking": board.asker.counters,
            "vigil": board.outgoing.vigil.counters,
            "keys": board.heirs.counters,
            "gossip": board.gossip.counters,
            "dial_back": board.reach.counters,
            "answering": board.serving.answerer.counters,
            "answering_tabs": board.serving.tabs.counters,
            "asking_tabs": board.paying.tabs.counters,
            "recount": board.paying.recount.counters,
            "company": board.company.counters,
            "paths": board.paths.counters,
        }.items():
            counters |= {f"{name}_{key}": value for key, value in counted.items()}
        return {
            "port": self._port.number,
            "lan_problem": self._lan.problem if self._lan is not None else "switched off",
            "counters": counters,
            "sessions": [
                {
                    **dataclasses.asdict(session),
                    "peer": base32(session.peer),
                    "relay": base32(session.relay) if session.relay is not None else None,
                }
                for session in self._wire.sessions()
            ],
            "asking": self._switchboard.asker.in_flight(),
            "answering": self._switchboard.serving.answerer.in_flight(),
        }
