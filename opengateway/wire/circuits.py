"""Links that lead through a relay: the same carrier as before, with one more kind of link.

`relay://<relay>@host:port/<peer>` is dialled like any endpoint. What the core sends on such a link, the
handshake and every sealed frame, travels in pieces inside the session with the relay, which sees whom it
is for and how large it is. It cannot forge, replay, reorder or leave out a frame unnoticed: the counters of
a session over a relay have no gaps (session.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from opengateway.identity import short
from opengateway.units import NodeId
from opengateway.wire.carrier import Carrier, Link, Receiver
from opengateway.wire.lanes import Intake, Lane, Lanes, Numbers, cost_of
from opengateway.wire.limits import CIRCUITS_IN, FRAGMENT, FRAME_LIMIT, Limits
from opengateway.wire.relay_endpoint import is_relayed, parse_relay_endpoint
from opengateway.wire.relay_messages import Carried, Closed, Credit, Open, Opened, RelayMessage


@dataclass(slots=True, eq=False)
class End:
    """Our end of a circuit: a `Link`."""

    relay: NodeId
    lane: Lane
    intake: Intake = field(default_factory=Intake)
    open: bool = False
    closed: bool = False
    frame: bytearray = field(default_factory=bytearray)
    """What has come of the next frame."""

    target: NodeId | None = None
    """Whom we dialled; None if the other end did."""


class Sessions(Protocol):
    """What circuits need of the sessions that they run in."""

    def send(self, peer: NodeId, message: RelayMessage) -> bool: ...

    def direct(self, peer: NodeId) -> bool:
        """Whether there is a session with this peer that does not itself lead through a relay."""

    def dial(self, endpoint: str, expect: NodeId) -> None: ...


class Circuits:
    """A `Carrier` around another one. It also hears the relay's messages."""

    def __init__(
        self,
        us: NodeId,
        carrier: Carrier,
        sessions: Sessions,
        *,
        lanes: Lanes,
        numbers: Numbers,
        limits: Limits,
        count: dict[str, int],
    ) -> None:
        self._us = us
        self._carrier = carrier
        self._sessions = sessions
        self._lanes = lanes
        self._numbers = numbers
        self._longest = limits.queued_bytes + 2 * FRAME_LIMIT
        self._count = count
        count |= dict.fromkeys(
            ("circuits_dialled", "circuits_accepted", "circuits_refused", "circuit_faults"), 0
        )
        self._ends: dict[tuple[NodeId, int], End] = {}
        self._dialling: list[tuple[End, str]] = []
        """Ends that wait for a session with their relay, and its endpoint."""
        self._failed: list[tuple[End, str]] = []
        self.relays: set[NodeId] = set()
        """Whom we have asked to relay to us: nobody else may open a circuit here."""

    # -- the carrier -------------------------------------------------------------------

    async def start(self, host: str, port: int, receiver: Receiver) -> int:
        self._receiver = receiver
        return await self._carrier.start(host, port, receiver)

    def dial(self, endpoint: str) -> Link:
        if not is_relayed(endpoint):
            return self._carrier.dial(endpoint)
        where = parse_relay_endpoint(endpoint)
        if where.relay == self._us or where.target in (self._us, where.relay):
            raise ValueError("a circuit leads from one node through a second to a third")
        end = End(where.relay, Lane(where.relay, -1), target=where.target)
        self._count["circuits_dialled"] += 1
        if self._sessions.direct(where.relay):
            self._open(end)
        else:
            self._dialling.append((end, where.where))
            self._sessions.dial(where.where, where.relay)
        return end

    def send(self, link: Link, frame: bytes) -> bool:
        if type(link) is not End:
            return self._carrier.send(link, frame)
        if link.closed:
            return False
        if link.lane.queued + len(frame) > self._longest:
            # A frame left out would be taken for the relay's doing: better no circuit than one with a gap.
            self._fail(link, "more was sent than the relay takes")
            return False
        number = link.lane.number
        for at in range(0, len(frame), FRAGMENT):
            piece = Carried(number, at + FRAGMENT >= len(frame), frame[at : at + FRAGMENT])
            if link.open:
                self._lanes.put(link.lane, piece)
            else:
                link.lane.waiting.append(piece)
                link.lane.queued += cost_of(piece)
        return True

    def soon(self, what: Callable[[], object]) -> None:
        self._carrier.soon(what)

    def host_of(self, link: Link) -> str:
        return self._carrier.host_of(link) if type(link) is not End else f"relay {short(link.relay)}"

    def trust(self, link: Link) -> None:
        if type(link) is not End:
            self._carrier.trust(link)

    def shut(self, link: Link) -> None:
        if type(link) is not End:
            self._carrier.shut(link)
        elif not link.closed:
            link.closed = True
            if link.open:
                del self._ends[link.relay, link.lane.number]
                if link.lane.queued > link.lane.credit:
                    self._lanes.drop(link.lane)  # else the Closed behind it would wait for credit for ever
                self._lanes.put(link.lane, Closed(link.lane.number, ""))

    async def close(self) -> None:
        self._ends.clear()
        self._dialling.clear()
        await self._carrier.close()

    # -- what happens to the sessions that carry them ----------------------------------

    def up(self, peer: NodeId) -> None:
        ready = [end for end, _ in self._dialling if end.relay == peer]
        self._dialling = [one for one in self._dialling if one[0].relay != peer]
        for end in ready:
            if not end.closed:
                self._open(end)

    def dial_failed(self, endpoint: str, reason: str) -> None:
        for end, where in list(self._dialling):
            if where == endpoint and not self._sessions.direct(end.relay):
                self._fail(end, f"its relay cannot be reached: {reason}")

    def down(self, peer: NodeId, reason: str) -> None:
        self.relays.discard(peer)
        for key, end in list(self._ends.items()):
            if key[0] == peer:
                del self._ends[key]
                self._over(end, f"the session with its relay {short(peer)} ended: {reason}")

    def tick(self) -> None:
        failed, self._failed = self._failed, []
        for end, reason in failed:
            if not end.closed:
                self._over(end, reason)
        for end in list(self._ends.values()):
            self._grant(end)

    # -- what a relay says -------------------------------------------------------------

    def heard(self, peer: NodeId, message: Opened | Carried | Credit | Closed) -> bool:
        """False: about no circuit that ends here."""
        if isinstance(message, Opened):
            self._opened(peer, message)
            return True
        end = self._ends.get((peer, message.circuit))
        if end is None:
            return False
        if isinstance(message, Carried):
            self._carried(end, message)
        elif isinstance(message, Credit):
            self._lanes.credit(end.lane, message.amount)
        else:
            del self._ends[peer, message.circuit]
            self._over(end, message.reason or "the other end closed the connection")
        return True

    def _opened(self, relay: NodeId, message: Opened) -> None:
        fits = self._numbers.fits(relay, message.circuit)
        mine = sum(1 for peer, _ in self._ends if peer == relay)
        if not fits or relay not in self.relays or mine >= CIRCUITS_IN or not self._sessions.direct(relay):
            self._count["circuits_refused"] += 1
            self._sessions.send(relay, Closed(message.circuit, "no circuit was expected"))
            return
        self._count["circuits_accepted"] += 1
        end = End(relay, Lane(relay, message.circuit), open=True)
        self._ends[relay, message.circuit] = end

    def _carried(self, end: End, piece: Carried) -> None:
        end.frame += piece.data
        if not end.intake.take(cost_of(piece)) or len(end.frame) > 2 * FRAME_LIMIT:
            self._fault(end, "it sent more than was granted")
            return
        end.intake.owed += cost_of(piece)
        self._grant(end)
        if piece.last:
            frame, end.frame = bytes(end.frame), bytearray()
            # As far as budgets go, everybody behind one relay is one address.
            self._receiver.received(end, frame, f"relay {short(end.relay)}")

    def _grant(self, end: End) -> None:
        number = end.lane.number
        end.intake.grant(lambda amount: self._sessions.send(end.relay, Credit(number, amount)))

    # -- ------------------------------------------------------------------------------

    def _open(self, end: End) -> None:
        assert end.target is not None
        end.lane.number = self._numbers.draw(end.relay)
        if not self._sessions.send(end.relay, Open(end.lane.number, end.target)):
            self._fail(end, "its relay is too busy")
            return
        end.open = True
        self._ends[end.relay, end.lane.number] = end
        waiting = list(end.lane.waiting)
        self._lanes.drop(end.lane)
        for piece in waiting:
            assert isinstance(piece, Carried)
            self._lanes.put(end.lane, Carried(end.lane.number, piece.last, piece.data))

    def _fault(self, end: End, why: str) -> None:
        """The relay broke the rules."""
        self._count["circuit_faults"] += 1
        self._sessions.send(end.relay, Closed(end.lane.number, why))
        self._fail(end, f"its relay {short(end.relay)} failed: {why}")

    def _fail(self, end: End, reason: str) -> None:
        """Soon: never from inside a call of the core."""
        self._failed.append((end, reason))

    def _over(self, end: End, reason: str) -> None:
        end.closed = True
        self._lanes.drop(end.lane)
        self._ends.pop((end.relay, end.lane.number), None)
        self._dialling = [one for one in self._dialling if one[0] is not end]
        self._receiver.lost(end, reason)

    def infos(self) -> dict[str, int]:
        return {"circuits": len(self._ends)}


def relay_of(link: Link) -> NodeId | None:
    """Through whom this link leads; None for a direct one."""
    return link.relay if type(link) is End else None
