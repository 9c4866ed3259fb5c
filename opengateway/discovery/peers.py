"""Whom we know: where each peer was last seen, whom to dial next, and who said goodbye.

Pure bookkeeping on a clock that the caller brings (milliseconds since 1970): no sockets, no threads,
no time of its own; one thread at a time. `peer_cache` keeps it across restarts.

Each rule answers a way in which real networks of this kind failed:

- addresses are merged, never replaced: a node that saw itself alone for a minute must not forget the world;
- whoever once answered is redialled for ever, with back-off, also a peer that had dialled us;
- a goodbye is believed from the peer itself only, and then hearsay older than the goodbye does not
  bring it back. A goodbye heard on the LAN is unsigned: a rumour, to be checked by a ping;
- strangers can fill the table only up to the limit, and never push out anyone who has answered.
"""

from __future__ import annotations

import random
from collections.abc import Container, Iterable, Iterator

from opengateway.discovery.addresses import is_place
from opengateway.discovery.company import COMPANY, ENOUGH, LEISURE_MS, LET_GO_MS, PLENTY, UnderWay
from opengateway.discovery.known_peer import ADDRESS_LIMIT, RELAYED_BY, Dial, Peer, Place
from opengateway.discovery.redial import FIRST_REDIAL_MS, FRESH_MS, redial_wait_ms
from opengateway.units import NodeId

PEER_LIMIT = 4096
"""Peers remembered: 2 MB in memory; at the slowest redial rate 2 dials a second if all are dead."""

STRANGER_TRIES = 12
"""Dials before an address that nobody ever answered at is forgotten: about 70 minutes."""

DEPARTED_REDIAL_MS = 60 * 60 * 1000
"""A peer that said goodbye comes back by itself. Looked for hourly all the same: if both sides said goodbye
at once, neither would ever look for the other."""

DIALS_AT_ONCE = 8


class PeerBook:
    """The table. `own_id` is never in it."""

    def __init__(
        self,
        own_id: NodeId,
        *,
        limit: int = PEER_LIMIT,
        chance: random.Random | None = None,
        given_up: Container[NodeId] = (),
    ) -> None:
        """`given_up`: keys that others came after. Nobody answers for them any more."""
        self._own_id = own_id
        self._given_up = given_up
        self._limit = limit
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not a secret
        self._peers: dict[NodeId, Peer] = {}
        self.changed: set[NodeId] = set()
        """For the cache: whose row to write, or to delete when it is no longer here."""
        self.refused = 0
        """Sightings not entered: table full, departed, or not an endpoint."""
        self.under_way = UnderWay()
        self._leisure_ms = 0
        """When the next peer may be dialled of those that are no hurry."""

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._peers.values()))

    def get(self, node_id: NodeId) -> Peer | None:
        return self._peers.get(node_id)

    def seen(self, node_id: NodeId, endpoints: Iterable[str], *, now_ms: int) -> bool:
        """First hand: on the LAN, by the user's word, or by a session. Lifts a tombstone.
        False if it was not entered (this node itself, or the table is full)."""
        peer = self._enter(node_id, now_ms)
        if peer is None:
            return False
        peer.departed_ms = 0
        self._merge(peer, endpoints, now_ms)
        self._hurry(peer, now_ms)  # even if it is where it always was: it may have been restarted
        return True

    def heard(
        self, node_id: NodeId, endpoints: Iterable[str], *, seq: int, now_ms: int, sought: bool = False
    ) -> bool:
        """A signed record, from whomever; `sought`: an answer to our question who serves something. One no
        newer than the peer's goodbye is refused."""
        known = self._peers.get(node_id)
        if known and known.outlived(seq, now_ms):
            self.refused += 1
            return False
        peer = self._enter(node_id, now_ms)
        if peer is None:
            return False
        if seq > peer.seq:
            peer.seq, peer.departed_ms = seq, 0
        peer.sought = peer.sought or sought
        peer.let_go = peer.let_go and not sought
        self._merge(peer, endpoints, now_ms)
        return True

    def connected(self, node_id: NodeId, endpoint: str = "", *, now_ms: int) -> None:
        """A session is open. `endpoint` is where we dialled it; empty if it dialled us. One with a host name
        is not kept: see addresses.py."""
        peer = self._enter(node_id, now_ms, answered=True)
        if peer is None:
            return
        self.under_way.over(node_id)
        self.under_way.over(endpoint)
        peer.connected, peer.answered_ms = True, now_ms
        peer.failures = peer.departed_ms = 0
        peer.let_go = False
        if is_place(endpoint):
            self._merge(peer, (endpoint,), now_ms)
            peer.last_good = endpoint
            if place := peer.places.get(endpoint):
                place.failures = 0

    def lost(self, node_id: NodeId, *, now_ms: int) -> None:
        """The session ended without a goodbye: look for it again soon."""
        if peer := self._peers.get(node_id):
            if peer.connected:
                peer.answered_ms = now_ms
            peer.connected, peer.failures = False, 0
            peer.dial_at_ms = now_ms + redial_wait_ms(0, self._chance.random())
            self.changed.add(node_id)

    def let_go(self, node_id: NodeId, *, now_ms: int) -> None:
        """The session ended because one of us has enough company."""
        if peer := self._peers.get(node_id):
            if peer.connected:
                peer.answered_ms = now_ms
            peer.connected, peer.let_go, peer.failures = False, True, 0
            peer.dial_at_ms = now_ms + int(LET_GO_MS * (1 + self._chance.random()))
            self.changed.add(node_id)

    def departed(self, node_id: NodeId, *, now_ms: int) -> None:
        """It said goodbye itself, in its sealed session."""
        if peer := self._peers.get(node_id):
            peer.connected, peer.departed_ms, peer.departed_seq = False, now_ms, peer.seq
            peer.dial_at_ms = now_ms + DEPARTED_REDIAL_MS
            self.changed.add(node_id)

    def forget(self, node_id: NodeId) -> None:
        """The user does not want it any more."""
        if self._peers.pop(node_id, None):
            self.changed.add(node_id)

    def missed(self, peer: Peer, company: int, now_ms: int) -> bool:
        """Whether a session with this peer is wanted by a node that has `company` sessions. Whoever was lost
        lately always is: it was one of them."""
        if peer.let_go:
            return company < COMPANY
        return _lost_lately(peer, now_ms) or company < (PLENTY if peer.sought else ENOUGH)

    def _only_company(self, peer: Peer, now_ms: int) -> bool:
        return not peer.sought and not _lost_lately(peer, now_ms)

    def follow(self, old: NodeId, new: NodeId, *, now_ms: int) -> None:
        """A node goes on with a new key, perhaps where it was."""
        known = self._peers.get(old)
        self.forget(old)
        if known is not None:
            self.heard(new, known.endpoints(), seq=0, now_ms=now_ms)

    def due(self, now_ms: int, *, room: int = DIALS_AT_ONCE, company: int = 0) -> tuple[Dial, ...]:
        """Whom to dial now, at most `room`, those who answered most recently first; `company` is how many
        sessions there are, to which the dials under way are added. Changes nothing."""
        ready = [
            peer
            for peer in self._peers.values()
            # A clock set back must not silence a peer for years, hence the second condition.
            if (peer.dial_at_ms <= now_ms or peer.dial_at_ms > now_ms + 2 * DEPARTED_REDIAL_MS)
            and peer.places
            and not peer.connected
            and self.missed(peer, company, now_ms)
        ]
        ready.sort(key=lambda peer: (-peer.answered_ms, -peer.last_seen_ms))
        company += self.under_way.count(now_ms)
        leisure = now_ms >= self._leisure_ms or self._leisure_ms > now_ms + 2 * LEISURE_MS
        chosen: list[Peer] = []
        for peer in ready[: len(ready) if room else 0]:
            if not self.missed(peer, company, now_ms):
                continue
            if COMPANY <= company < ENOUGH and self._only_company(peer, now_ms):
                if not leisure:
                    continue
                leisure = False
            chosen.append(peer)
            company += 1
            if len(chosen) == room:
                break
        return tuple(Dial(peer.node_id, peer.endpoints()) for peer in chosen)

    def misses(self, now_ms: int, *, company: int) -> bool:
        """Whether anybody is to be dialled, now or later, by a node that has `company` sessions."""
        return any(
            peer.places and not peer.connected and self.missed(peer, company, now_ms)
            for peer in self._peers.values()
        )

    def next_due_ms(self) -> int | None:
        """When `due` has something next; None if nothing is scheduled."""
        return min((p.dial_at_ms for p in self._peers.values() if p.places and not p.connected), default=None)

    def dialled(self, dial: Dial, *, now_ms: int) -> None:
        """It is being dialled. Counts as failed until `connected`, so an attempt that never reports
        back is simply followed by the next one."""
        peer = self._peers.get(dial.node_id)
        if peer is None:
            return
        peer.dialled_ms = now_ms
        if not peer.failures:  # whoever has not answered the last time is not counted on
            self.under_way.began(dial.node_id, dial.endpoints[:RELAYED_BY], now_ms=now_ms)
        if self._only_company(peer, now_ms):
            self._leisure_ms = now_ms + int(LEISURE_MS * (0.5 + self._chance.random()))
        since_ms = now_ms - peer.answered_ms if peer.answered_ms else None
        peer.dial_at_ms = now_ms + redial_wait_ms(peer.failures, self._chance.random(), since_ms)
        if peer.departed_ms:
            peer.dial_at_ms = max(peer.dial_at_ms, now_ms + DEPARTED_REDIAL_MS)
        peer.failures += 1
        for text in dial.endpoints:
            if place := peer.places.get(text):
                place.failures += 1
        if not peer.answered_ms and peer.failures > STRANGER_TRIES:
            self.forget(peer.node_id)

    def network_changed(self, *, now_ms: int) -> None:
        """This machine has a new address or interface: old failures prove nothing any more."""
        for peer in self._peers.values():
            if not peer.connected and not peer.departed_ms:
                peer.failures = 0
                peer.dial_at_ms = min(peer.dial_at_ms, now_ms + int(FIRST_REDIAL_MS * self._chance.random()))

    def restore(self, peer: Peer) -> None:
        """A row of the cache. What is already known is newer and stays; addresses are merged."""
        if peer.node_id in self._given_up:
            self.changed.add(peer.node_id)  # its row goes
            return
        if peer.node_id == self._own_id or len(self._peers) >= self._limit:
            return
        known = self._peers.setdefault(peer.node_id, peer)
        if known is not peer:  # met again before the cache could be read: what was known of it still counts
            known.answered_ms = max(known.answered_ms, peer.answered_ms)
            known.seq = max(known.seq, peer.seq)
            known.last_good = known.last_good or peer.last_good
        for text, place in peer.places.items():
            if len(known.places) < ADDRESS_LIMIT:
                known.places.setdefault(text, place)

    def _enter(self, node_id: NodeId, now_ms: int, *, answered: bool = False) -> Peer | None:
        if node_id == self._own_id or node_id in self._given_up:
            return None
        peer = self._peers.get(node_id)
        if peer is None:
            if len(self._peers) >= self._limit and not self._make_room(answered):
                self.refused += 1
                return None
            peer = self._peers[node_id] = Peer(node_id, now_ms, dial_at_ms=now_ms)
        peer.last_seen_ms = max(peer.last_seen_ms, now_ms)
        self.changed.add(node_id)
        return peer

    def _make_room(self, answered: bool) -> bool:
        """Strangers leave first, then, for somebody who answered, whoever was silent longest."""
        idle = [peer for peer in self._peers.values() if not peer.connected]
        worst = min(idle, key=lambda peer: (peer.answered_ms, peer.last_seen_ms), default=None)
        if worst is None or (worst.answered_ms and not answered):
            return False
        self.forget(worst.node_id)
        return True

    def _merge(self, peer: Peer, endpoints: Iterable[str], now_ms: int) -> None:
        fresh = False
        for text in list(endpoints)[:ADDRESS_LIMIT]:
            if not is_place(text):
                self.refused += 1
                continue
            fresh |= text not in peer.places
            peer.places.setdefault(text, Place(now_ms)).advertised_ms = now_ms
        while len(peer.places) > ADDRESS_LIMIT:
            old = [text for text in peer.places if text != peer.last_good]
            del peer.places[min(old, key=lambda text: peer.places[text].advertised_ms)]
        if fresh:
            self._hurry(peer, now_ms)

    def _hurry(self, peer: Peer, now_ms: int) -> None:
        """Dial at once, but a peer that invents addresses gets one dial a second, no more."""
        if not peer.connected:
            peer.failures = 0
            peer.dial_at_ms = min(peer.dial_at_ms, max(now_ms, peer.dialled_ms + FIRST_REDIAL_MS))


def _lost_lately(peer: Peer, now_ms: int) -> bool:
    return 0 <= now_ms - peer.answered_ms < FRESH_MS and not peer.let_go
