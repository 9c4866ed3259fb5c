"""Who is dialled when: peers of the book, endpoints without a name, entry points. The Registry's; no actor of
its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.connecting import DIALS
from actors.introductions import Introductions
from actors.messages import Dial, Locate
from actors.own_record import OwnRecord
from actors.roster import Roster
from actors.upgrades import Upgrades
from actors.wanted import Wanted
from opengateway.discovery.company import COMPANY
from opengateway.discovery.peers import PeerBook
from opengateway.units import NodeId

LOCATE_AFTER = 3
"""Dials in vain after which the DHT is asked where a peer is now, and again after as many; one of our peers,
another one each time, is asked from the second on."""
LOCATE_ASKED = 3


@dataclass(slots=True)
class Dialling:
    own: OwnRecord
    roster: Roster
    book: PeerBook
    wanted: Wanted
    introductions: Introductions
    tell_wire: Callable[[Dial], object]
    ask_dht: Callable[[Locate], bool]
    upgrades: Upgrades = field(default_factory=Upgrades)

    def tick(self) -> None:
        """Twice a second."""
        self.due()
        for endpoint, expect in self.wanted.due(self._reached(), company=len(self.roster.sessions)):
            self.tell_wire(Dial(endpoint, expect))
        for dial in self.upgrades.due(self.roster.sessions.values()):
            self.tell_wire(dial)
        self.wanted.expire()

    def _reached(self) -> set[str | None]:
        return {session.endpoint for session in self.roster.sessions.values()}

    def due(self) -> None:
        now, company = self.own.now_ms(), len(self.roster.sessions)
        for dial in self.book.due(now, company=company):
            self.book.dialled(dial, now_ms=now)
            for endpoint in dial.endpoints[:DIALS]:
                self.tell_wire(Dial(endpoint, dial.node_id))
            peer = self.book.get(dial.node_id)
            if peer is not None and peer.answered_ms and peer.failures > 1:  # it may have moved
                self.introductions.seek(dial.node_id, 1)
                if peer.failures % LOCATE_AFTER == 0:
                    self.locate(dial.node_id)
        for endpoint in self.introductions.dials(company + self.book.under_way.count(now)):
            self.book.under_way.began(endpoint, (endpoint,), now_ms=now)
            self.tell_wire(Dial(endpoint))

    def restless(self) -> bool:
        """Whether there is anybody to be dialled soon."""
        company = len(self.roster.sessions)
        if self.wanted.waiting or (company < COMPANY and self.wanted.plans.keys() - self._reached()):
            return True
        if self.introductions.hopeful(company):
            return True
        return self.book.misses(self.own.now_ms(), company=company)

    def locate(self, peer: NodeId) -> bool:
        """Have peers and the DHT say where this node is; False where there is nobody to ask."""
        asked = self.introductions.seek(peer, LOCATE_ASKED)
        return bool(self.own.dht_port and self.ask_dht(Locate(peer))) or asked

    def failed(self, endpoint: str, reason: str) -> None:
        self.roster.dial_errors[endpoint] = reason
        self.book.under_way.failed(endpoint)
        self.wanted.failed(endpoint, reason)
