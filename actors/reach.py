"""How this node is reached, on the I/O loop: it has its address dialled back, keeps relays if that fails,
and does both for others."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actors.kernel import Address
from actors.messages import Reached, RegistryMessage
from opengateway.discovery.addresses import address_of, endpoint, interfaces, near_networks, parse_endpoint
from opengateway.discovery.port_mapping import PortMapper
from opengateway.discovery.reachability import Reachability, Verdict
from opengateway.discovery.relay_choice import Candidate, RelayChoice
from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.hub import Wire
from opengateway.wire.knock import NONCE_BYTES
from opengateway.wire.peer import SessionInfo
from opengateway.wire.relay_messages import DialBack, NotReached, NotReserved, ReachMessage, Reserved, Seen

logger = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between looks at our own interfaces, 0.5 ms each, and, while nothing happens, at what follows from
all that peers have said: with 30 of them that is a third of what an idle node does."""
PER_MINUTE = 12
"""Dial-backs for one peer. It needs one every ten minutes, and a few when its address changes."""
ALL_PER_MINUTE = 120
"""For everybody: 2 sockets a second."""


@dataclass(slots=True)
class Where:
    """Where the wire listens, as the node knows it; the port is known once it is bound."""

    port: Callable[[], int]
    relays: bool = True
    """Whether this node relays for others once it is reached."""
    maps: bool = True
    """Whether it asks the router for a port where nobody reaches it."""


class Reach:
    def __init__(self, where: Where, registry: Address[RegistryMessage]) -> None:
        self._where = where
        self._registry = registry
        self.wire: Wire
        """Set right after the wire was made."""
        self.state = Reachability(lambda: secrets.token_bytes(NONCE_BYTES))
        self.relays = RelayChoice()
        self._met: dict[NodeId, str] = {}
        """Direct peer -> where we see it."""
        self._asked_us: dict[NodeId, list[float]] = {}
        self._looked = float("-inf")
        self._news = True
        """Something was said or tried since the verdict was made."""
        self._told: Reached | None = None
        self._verdict: Verdict | None = None
        self.mapper = PortMapper(self._mapped)
        self.counters = {"asked": 0, "dialled_back": 0, "refused": 0}

    # -- what peers say ----------------------------------------------------------------------

    def heard(self, peer: NodeId, message: ReachMessage) -> None:
        now = time.monotonic()
        self._news = True
        match message:
            case Seen(address, port):
                self.state.told(peer, address, port)
            case DialBack(port, nonce):
                self._dial_back(peer, port, nonce, now)
            case NotReached(nonce):
                self.state.failed(nonce, now)
            case Reserved(life_s=life_s):
                self.relays.reserved(peer, life_s, now)
                self._tell(now)
            case NotReserved(reason):
                self.relays.refused(peer, reason, now)

    def _dial_back(self, peer: NodeId, port: int, nonce: bytes, now: float) -> None:
        """Only to where the peer itself is seen: else anybody could have us knock at a third party's door."""
        recent = [at for at in self._asked_us.get(peer, []) if at > now - 60.0]
        everybody = sum(at > now - 60.0 for times in self._asked_us.values() for at in times)
        seen = address_of(self._met.get(peer, ""))
        refused = (
            "this session does not show where you are" if seen is None
            else "a port is 1 to 65535" if not port or len(nonce) != NONCE_BYTES
            else "too many requests" if len(recent) >= PER_MINUTE or everybody >= ALL_PER_MINUTE
            else ""
        )  # fmt: skip
        if refused or seen is None:
            self.counters["refused"] += 1
            self.wire.send(peer, NotReached(nonce[:NONCE_BYTES], refused))
            return
        self._asked_us[peer] = [*recent, now]
        self.counters["dialled_back"] += 1

        def done(reason: str) -> None:
            if reason:
                self.wire.send(peer, NotReached(nonce, reason[:256]))

        self.wire.knocks.knock(endpoint(seen, port), nonce, done)

    # -- once a second -------------------------------------------------------------------------

    def tick(self, found: Iterable[SessionInfo]) -> None:
        now = time.monotonic()
        sessions = self._meet(found)
        if now - self._looked > LOOK_EVERY:
            self._looked, self._news = now, True
            own = {address for found in interfaces().values() for address in found}
            self.state.local(self._where.port(), own, near_networks())
        if self._news or self.state.waiting:
            self._judge(now)
        self._keep_relays(sessions, now)
        self._tell(now)

    def _judge(self, now: float) -> None:
        self._news = False
        for ask in self.state.asks(now):
            self.counters["asked"] += 1
            if not self.wire.send(ask.peer, DialBack(ask.port, ask.nonce)):
                self.state.failed(ask.nonce, now)
        verdict = self.state.verdict(now)
        if verdict.kind != "unknown" or self._verdict is None:  # while nobody can tell, it is as it was
            if self._verdict is not None and self._verdict.kind == "mapped" != verdict.kind:
                self.mapper.hurry()
            self._verdict = verdict
        if self._where.maps and self._verdict.kind == "unreachable":
            # Only then: a node that is reached, or that meets nobody from outside, leaves the router alone.
            self.mapper.want(self._where.port())

    async def close(self) -> None:
        """Give back what the router forwards."""
        await self.mapper.close()

    def _mapped(self, address: str, port: int) -> None:
        self._news = True
        self.state.mapped(address, port)

    def lost(self, peer: NodeId) -> None:
        self._news = True
        self._met.pop(peer, None)
        self._asked_us.pop(peer, None)
        self.state.lost(peer)
        self.relays.lost(peer)

    def meet(self) -> None:
        """Whoever is new is told where we see it."""
        self._meet(self.wire.sessions())

    def _meet(self, found: Iterable[SessionInfo]) -> dict[NodeId, SessionInfo]:
        """All direct sessions."""
        self.wire.knocks.heard = self._knocked
        sessions = {one.peer: one for one in found if one.relay is None}
        for peer in [peer for peer in self._met if peer not in sessions]:
            self.lost(peer)
        for peer, session in sessions.items():
            if peer in self._met:
                continue
            self._met[peer] = session.host
            self._news = True
            self.state.met(peer, session.host)
            if session.host:
                port = int(session.endpoint.rpartition(":")[2]) if session.endpoint else 0
                self.wire.send(peer, Seen(session.host.partition("%")[0], port))
        return sessions

    def _knocked(self, nonce: bytes, address: str) -> bool:
        self._news = True
        return self.state.knocked(nonce, address, time.monotonic())

    def _keep_relays(self, sessions: dict[NodeId, SessionInfo], now: float) -> None:
        verdict = self._verdict
        assert verdict is not None
        reached = verdict.kind in ("direct", "mapped")
        relay = self.wire.relaying.relay
        relay.endpoint = verdict.endpoints[0] if reached and self._where.relays else ""
        for over, peer in self.wire.tampered():
            self.relays.tampered(over, peer, now)
        candidates = [
            Candidate(peer, where, session.rtt_ms)
            for peer, session in sessions.items()
            if session.dialled and self.state.outside(session.host) and (where := _where(session))
        ]
        for peer in self.relays.plan(candidates, now, wanted=verdict.kind == "unreachable"):
            logger.info("asking %s to relay to this node", short(peer))
            if not self.wire.relaying.reserve(peer):
                self.relays.refused(peer, "busy", now)

    def _tell(self, now: float) -> None:
        verdict = self._verdict or self.state.verdict(now)
        outside = verdict.outside and verdict.kind in ("direct", "mapped")
        told = Reached(
            kind=verdict.kind,
            endpoints=verdict.endpoints if outside else (),
            relays=self.relays.named() if verdict.kind == "unreachable" else (),
            witnesses=verdict.witnesses,
            outside=verdict.outside,
            mapping=self.mapper.how,
            mapping_problem=self.mapper.problem,
        )
        if told != self._told:
            self._told = told
            self._registry.tell(told)


def _where(session: SessionInfo) -> str:
    """Where we reach this peer, by address; empty for what nobody else could dial."""
    address = address_of(session.host)
    port = (session.endpoint or "").rpartition(":")[2]
    if address is None or not port.isdigit():
        return ""
    where = endpoint(address, int(port))
    try:
        parse_endpoint(where)
    except ValueError:
        return ""
    return where
