"""What happens on the I/O loop when a peer speaks: each message goes to whom it concerns.

Token chunks never leave the loop. Everything that changes who is connected, or the books, is told to
the actor that owns it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from actors.company import Company
from actors.earning import Earning
from actors.exchange import Exchange
from actors.gossip import Gossip
from actors.heirs import Heirs
from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.messages import (
    DialFailed,
    Dispatch,
    LedgerMessage,
    PeerDown,
    PeerUp,
    RecordSeen,
    RegistryMessage,
    SchedulerMessage,
    StampShown,
)
from actors.outgoing import Outgoing
from actors.pathfinder import Pathfinder
from actors.quotes import Quotes
from actors.reach import Reach, Where
from actors.recount import FindEngine
from actors.refusing import Refusing
from actors.rumours import Rumours
from actors.serving import Serving
from actors.tabs import Tabs
from actors.testimony import Testimony
from opengateway.discovery.record import offer_of
from opengateway.engines.quotation import open_quote, sign_quote
from opengateway.engines.refusal import open_refusal
from opengateway.errors import NotEnoughCredit, OpenGatewayError
from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId
from opengateway.wire.continue_messages import Continue
from opengateway.wire.hub import Wire
from opengateway.wire.messages import (
    Ask,
    Bye,
    Cancel,
    Earned,
    Grant,
    Message,
    NotTransferred,
    Proof,
    RecordChanged,
    Refused,
    Settle,
    Stamp,
    Sweep,
    Transfer,
    Transferred,
    Voucher,
)
from opengateway.wire.peer_messages import Here, Peers, SeekNode, SeekPeers
from opengateway.wire.quote_messages import Quote, Quoted, Released
from opengateway.wire.relay_messages import DialBack, NotReached, NotReserved, Reserved, Seen
from opengateway.wire.route_messages import AskOwed, FindRoute, Owed, RouteFound
from opengateway.wire.succession_messages import Account, NotFollowed, Rotated
from opengateway.wire.witness_messages import WitnessMessage


class Switchboard:
    """The wire's handler."""

    def __init__(
        self,
        io: IoLoop,
        identity: Identity,
        net: NetworkId,
        *,
        registry: Address[RegistryMessage],
        scheduler: Address[SchedulerMessage],
        ledger: Address[LedgerMessage],
        now_ms: Callable[[], int],
        sweep_to: Callable[[], NodeId | None],
        given_up: Mapping[NodeId, NodeId],
        same_model: FindEngine = lambda _: None,
        where: Where,
        tabs: Tabs,
    ) -> None:
        self._io = io
        self._registry = registry
        self._scheduler = scheduler
        self._ledger = ledger
        self.wire: Wire
        """Set right after the wire was made: each of the two needs the other."""
        self.own_record: Callable[[], bytes]
        """This node's signed record as it is now. Set with `wire`."""
        self.stamp: Callable[[], bytes] = bytes
        """Our identity stamp, empty while there is none. Set with `wire`."""

        self.reach = Reach(where, registry)
        self.rumours = Rumours(io, ledger, send=self.send, peers=self._peers)
        self.paths = Pathfinder(io, ledger, identity.node_id, send=self.send, connected=self._peers)
        self.exchange = Exchange(
            io, ledger, send=self.send, paths=self.paths, connected=self._peers, sweep_to=sweep_to
        )
        self.heirs = Heirs(
            io, ledger, registry, given_up=given_up, send=self.send, hang_up=self.hang_up, peers=self._peers
        )
        self.gossip = Gossip(registry, send=self.send)
        self.testimony = Testimony(io, ledger, send=self.send, peers=self._peers, expect=self.gossip.expect)
        self.company = Company(lambda: self.wire)
        self._refusal = Refusing(
            identity,
            net,
            now_ms,
            send=self.send,
            own_record=lambda: self.own_record(),  # noqa: PLW0108 - set later
            registry=registry,
        )
        self.outgoing = Outgoing(
            io,
            net,
            ledger,
            scheduler,
            same_model=same_model,
            send=self.send,
            hang_up=self.hang_up,
            roll=lambda: self.wire.roll,
            round_trip=self._round_trip,
            tabs=tabs,
        )
        self.asker, self.paying = self.outgoing.asker, self.outgoing.paying
        self.earning = Earning(io, ledger, send=self.send)
        self.quotes = Quotes(
            io,
            scheduler,
            ledger,
            send=self.send,
            number=self.asker.number,
            refuse=self._refusal,
            sign=lambda peer, stream, terms: sign_quote(identity, net, peer, stream, terms, now_ms=now_ms()),
            offer=lambda: offer_of(self.own_record()),
            read=lambda quote, peer, stream: open_quote(quote, net, peer, identity.node_id, stream),
            read_refusal=lambda refusal, peer, stream: open_refusal(refusal, net, peer, stream),
        )
        self.serving = Serving(
            io,
            scheduler=scheduler,
            ledger=ledger,
            send=self.send,
            hang_up=self.hang_up,
            refusal=self._refused,
            round_trip=self._round_trip,
        )

    def send(self, peer: NodeId, message: Message) -> bool:
        return self.wire.send(peer, message)

    def _peers(self) -> list[NodeId]:
        return list(self.wire.roll.sending)

    def show_stamp(self, stamp: bytes) -> None:
        for peer in self._peers():
            self.send(peer, Stamp(stamp))

    def close(self) -> None:
        """What waits a moment for company waits no longer."""
        self.serving.close()
        self.paying.close()
        self.earning.settles.flush()

    def hang_up(self, peer: NodeId, reason: str) -> None:
        self.wire.hang_up(peer, reason)

    # -- the wire's handler ------------------------------------------------------------------

    def peer_up(self, peer: NodeId, record: bytes, endpoint: str | None, dialled: bool) -> None:
        if not self.heirs.met(peer):
            return
        now = [session for session in self.wire.sessions() if session.peer == peer][-1:]
        host, relay, ahead_ms = (now[0].host, now[0].relay, now[0].ahead_ms) if now else ("", None, 0)
        self._registry.tell(PeerUp(peer, record, endpoint, dialled, host, relay, ahead_ms))
        # The handshake carried our record as it was then. One that changed before the session was up
        # (an engine that was just ready) would otherwise never reach this peer.
        self.send(peer, RecordChanged(self.own_record()))
        if stamp := self.stamp():
            self.send(peer, Stamp(stamp))
        self.reach.meet()
        for part in (self.testimony, self.exchange, self.rumours, self.paying):
            part.met(peer)

    def peer_down(self, peer: NodeId, reason: str) -> None:
        self.asker.lost(peer, reason)
        self.paying.lost(peer)
        self.serving.lost(peer)
        told = self.reach, self.exchange, self.paths, self.rumours, self.testimony, self.gossip, self.heirs
        for one in (*told, self.company):
            one.lost(peer)
        self._registry.tell(PeerDown(peer, reason))

    def dial_failed(self, endpoint: str, reason: str) -> None:
        self._registry.tell(DialFailed(endpoint, reason))

    def message(self, peer: NodeId, message: Message) -> None:
        if self.heirs.turned_away(peer):
            return
        self.company.heard(peer, message)
        match message:
            case Ask() | Continue() | Cancel() | Grant() | Voucher():
                self.serving.answerer.heard(peer, message)
            case Quote():
                self.quotes.asked(peer, message)
            case Released():
                self.quotes.released(peer, message)
            case Quoted() | Refused() if self.quotes.heard(peer, message):
                pass
            case RecordChanged(record=record):
                self._registry.tell(RecordSeen(peer, record, self.wire.ahead_ms(peer)))
            case Settle() as settle:
                self.serving.tabs.settled(peer, settle.stream)
                self.earning.heard(peer, settle)
            case Earned(entry=entry):
                self.paying.countersigned(peer, entry)
            case Proof(proof=proof):
                self.rumours.heard(peer, proof)
            case Stamp(stamp=stamp):  # express, as the request that it is for is
                self._ledger.tell(StampShown(peer, stamp), express=True)
            case Here() | SeekPeers() | SeekNode() | Peers():
                self.gossip.heard(peer, message)
            case Reserved() | NotReserved() | Seen() | DialBack() | NotReached():
                self.reach.heard(peer, message)
            case Transfer() | Transferred() | NotTransferred() | Sweep():
                self.exchange.heard(peer, message)
            case FindRoute() | RouteFound() | AskOwed() | Owed():
                self.paths.heard(peer, message)
            case Rotated() | Account() | NotFollowed():
                self.heirs.heard(peer, message)
            case _ if isinstance(message, WitnessMessage):
                self.testimony.heard(peer, message)
            case Bye():
                pass  # the wire follows it with peer_down
            case _:
                self.asker.heard(peer, message)

    # -- our requests at peers ---------------------------------------------------------------

    def dispatch(self, order: Dispatch) -> None:
        self.testimony.showing.before(order, self.outgoing.dispatch)

    def _refused(self, peer: NodeId, stream: int, error: OpenGatewayError) -> bytes:
        if isinstance(error, NotEnoughCredit):
            self.paths.refused(peer)
        return self._refusal(peer, stream, error)

    def _round_trip(self, peer: NodeId) -> float:
        session = self.wire.roll.sending.get(peer)
        return (session.rtt_ms or 0.0) / 1000 if session is not None else 0.0
