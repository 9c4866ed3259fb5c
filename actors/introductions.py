"""Peers that other peers, the DHT or a bootstrap document name, and what this node says of its own peers.

The Registry's; no actor of its own. All of it is hearsay until a handshake: what is signed is checked again
here, what is not is only an address to try, and addresses inside somebody's own network are not tried.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice

from actors.messages import Found, Introduce, Located, PeerSaid
from actors.own_record import OwnRecord
from actors.roster import Roster, Session
from opengateway import regions
from opengateway.discovery.addresses import (
    Network,
    near_networks,
    parse_endpoint,
    parse_relay,
    reachable_from,
    through,
)
from opengateway.discovery.company import ENOUGH, PLENTY
from opengateway.discovery.hints import Hints
from opengateway.discovery.peers import PeerBook
from opengateway.discovery.record import RecordRefused
from opengateway.discovery.topics import RINGS, place_of
from opengateway.discovery.whereabouts import Whereabouts, open_whereabouts
from opengateway.errors import UnknownRegion
from opengateway.models.catalog import canonical
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.peer_messages import PEERS_PER_ANSWER, Here, PeerMessage, Peers, SeekNode, SeekPeers

HINTS_AT_ONCE = 4
"""Unnamed endpoints dialled per tick of half a second; a dial that nobody answers takes five seconds."""


NEAR_S = 2.0
"""For so long this machine's own networks are taken to be what they were: a look takes 0.5 ms, and whoever
starts in a large network is told of a hundred nodes within a second."""


@dataclass(slots=True)
class Introductions:
    own: OwnRecord
    roster: Roster
    book: PeerBook
    say: Callable[[NodeId, Message], object]
    dht_entry: Callable[[str, int], object]
    """Here may be a DHT node."""
    unwanted: set[NodeId]
    hints: Hints = field(default_factory=Hints)
    """For company."""
    sought: Hints = field(default_factory=Hints)
    """Who may serve a model that is wanted here."""
    refused: Counter[str] = field(default_factory=Counter)
    """What was heard and not believed, by reason."""
    _near: tuple[Network, ...] = ()
    _near_at: float = float("-inf")

    # -- what this node says ---------------------------------------------------------------------

    def met(self, peer: NodeId) -> None:
        """A session is up: say where we are."""
        if self.own.whereabouts:
            self.say(peer, Here(self.own.whereabouts))

    def moved(self) -> None:
        """Our whereabouts are new: tell everybody."""
        for peer in self.roster.sessions:
            self.met(peer)

    # -- what peers say --------------------------------------------------------------------------

    def take(self, news: Found | Located | PeerSaid | Introduce) -> None:
        match news:
            case Found(endpoints, sought):
                self.found(endpoints, sought=sought)
            case Located(here):
                self.learn(here, sought=True)
            case PeerSaid(peer, said, sought):
                self.heard(peer, said, sought=sought)
            case Introduce(peer, others):
                self._introduce(peer, others)

    def heard(self, peer: NodeId, said: PeerMessage, *, sought: bool = False) -> None:
        session = self.roster.sessions.get(peer)
        if session is None:
            return
        match said:
            case Here():
                self._here(session, said.whereabouts)
            case SeekPeers():
                self._answer(session, said)
            case SeekNode():
                self._point(session, NodeId(said.node))
            case Peers(whereabouts=items):
                for data in items:
                    self._introduced(data, sought=sought)

    def _here(self, session: Session, data: bytes) -> None:
        here = self._read(data, of=session)
        if here is None:
            return
        session.whereabouts = data
        if here.dht_port and (host := self._host_of(session, here)):
            self.dht_entry(host, here.dht_port)

    def _answer(self, asker: Session, ask: SeekPeers) -> None:
        """Only whom we have a living session with: the departed and the dead are nobody's peers."""
        if ask.ring not in RINGS or not ask.most:
            self.refused["question"] += 1
            return
        fitting = [one for one in self.roster.sessions.values() if one is not asker and _fits(one, ask)]
        random.shuffle(fitting)
        # No more signatures are checked than are told: whom everybody asks has a session with everybody.
        tellable = (session.whereabouts for session in fitting if self._tellable(session))
        if told := [*islice(tellable, ask.most)]:
            self.say(asker.peer, Peers([*told]))

    def _introduce(self, peer: NodeId, others: Collection[NodeId]) -> None:
        """It needs them: as `_answer`, unasked, right after what said so."""
        there = [self.roster.sessions.get(other) for other in others if other != peer]
        told = [session.whereabouts for session in there if session is not None and self._tellable(session)]
        if told:
            self.say(peer, Peers(list(told[:PEERS_PER_ANSWER])))

    def _point(self, asker: Session, node: NodeId) -> None:
        """Where a node is that we have a session with."""
        session = self.roster.sessions.get(node)
        if session is not None and session is not asker and self._tellable(session):
            self.say(asker.peer, Peers([session.whereabouts]))

    def seek(self, node: NodeId, asked: int) -> bool:
        """Ask so many peers where it is. It may have moved, or its relays are gone, so that neither of us can
        call the other; whoever has a session with both can say. False if there is nobody to ask."""
        others = [peer for peer in self.roster.sessions if peer != node]
        for peer in random.sample(others, min(asked, len(others))):
            self.say(peer, SeekNode(node))
        return bool(others)

    def _tellable(self, session: Session) -> bool:
        """Still valid, and private addresses only inside a private network."""
        if not session.whereabouts:
            return False
        here = self._read(session.whereabouts, of=session)
        return here is not None and (here.public or self.own.private)

    def _introduced(self, data: str | bytes, *, sought: bool) -> None:
        here = self._read(data) if isinstance(data, bytes) else None
        if here is not None:
            self.learn(here, sought=sought)

    def _read(self, data: bytes, of: Session | None = None) -> Whereabouts | None:
        """`of`: whoever must have signed it, whose clock is known."""
        by, ahead_ms = (of.peer, of.ahead_ms) if of is not None else (None, None)
        try:
            return open_whereabouts(data, self.own.net, now_ms=self.own.now_ms(), by=by, ahead_ms=ahead_ms)
        except RecordRefused as refused:
            self.refused[refused.reason] += 1
            return None

    # -- what is done about it -------------------------------------------------------------------

    def learn(self, here: Whereabouts, *, sought: bool = False) -> None:
        """A node's own signed word of where it is, whoever brought it; `sought`: for more than
        company. Who has said goodbye since is not
        brought back by it (the book's tombstone), nor whom the owner sent away."""
        if here.node_id == self.own.identity.node_id or here.node_id in self.unwanted:
            return
        known = self.book.get(here.node_id)
        if known is not None and known.connected:
            return
        relays = [text for text in here.relays if self.worth_a_dial((parse_relay(text)[1],))]
        places = [*self.worth_a_dial(here.endpoints), *through(relays, here.node_id)]
        now = self.own.now_ms()
        if places and not self.book.heard(here.node_id, places, seq=here.seq, now_ms=now, sought=sought):
            self.refused["not_entered"] += 1

    def found(self, endpoints: Iterable[str], *, sought: bool = False) -> None:
        """Endpoints without a name. `sought`: under the topic of a model that is wanted here."""
        hints = self.sought if sought else self.hints
        hints.add(self.worth_a_dial(endpoints), now=time.monotonic())

    def hopeful(self, company: int) -> bool:
        """Whether there are endpoints without a name that `dials` will name."""
        return (len(self.sought) > 0 and company < PLENTY) or (len(self.hints) > 0 and company < ENOUGH)

    def dials(self, company: int) -> list[str]:
        """Which of them to dial now. `company`: sessions, and dials under way."""
        if not len(self.sought) and not len(self.hints):
            return []
        known = {text for peer in self.book if peer.connected for text in peer.places}
        known.update(self.own.endpoints())
        now = time.monotonic()
        taken: list[str] = []
        for hints, limit in ((self.sought, PLENTY), (self.hints, ENOUGH)):
            room = min(HINTS_AT_ONCE, limit - company) - len(taken)
            taken += hints.take(max(room, 0), now=now, known=known)
        return taken

    def worth_a_dial(self, endpoints: Iterable[str]) -> list[str]:
        local, now = self.own.host_is_local, time.monotonic()
        if now - self._near_at > NEAR_S:
            self._near, self._near_at = near_networks(), now
        near = self._near
        kept = []
        for text in endpoints:
            try:
                address, _ = parse_endpoint(text)
            except ValueError:
                self.refused["endpoint"] += 1
                continue
            if reachable_from(address, near=near, private_network=self.own.private, loopback=local):
                kept.append(text)
            else:
                self.refused["private_address"] += 1
        return kept

    def _host_of(self, session: Session, here: Whereabouts) -> str:
        """Where its DHT node is: the address that it dialled from or we dialled, else one that it names."""
        if session.host:
            return session.host
        for text in (session.endpoint, *self.worth_a_dial(here.endpoints)):
            with contextlib.suppress(ValueError):
                return str(parse_endpoint(text or "")[0])
        return ""


def _fits(session: Session, ask: SeekPeers) -> bool:
    record = session.record
    if ask.model and not (
        record.state == "ready" and any(canonical(offer.name) == ask.model for offer in record.models)
    ):
        return False
    if ask.ring == "region":
        return record.region == ask.place
    try:
        return place_of(ask.ring, regions.region(record.region)) == ask.place
    except UnknownRegion:
        return ask.ring == "world"
