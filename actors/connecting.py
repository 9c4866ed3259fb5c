"""What an owner says about peers: `connect` and `disconnect`. The Registry's; no actor of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.kernel import LATER, Refused, Reply
from actors.messages import Connect, Dial, HangUp
from actors.roster import Roster
from actors.wanted import Wanted
from opengateway.discovery.peers import PeerBook
from opengateway.errors import PeerUnknown
from opengateway.identity import base32, from_base32, short
from opengateway.units import NodeId

DIALS = 4
"""Endpoints of one peer that are tried at once: the best few; a record may name 16."""


@dataclass(slots=True)
class Connecting:
    roster: Roster
    book: PeerBook
    wanted: Wanted
    tell_wire: Callable[[Dial | HangUp], object]
    locate: Callable[[NodeId], bool]
    """Have the DHT say where this node is; False where there is no DHT to ask."""
    unwanted: set[NodeId] = field(default_factory=set)
    """Whom the owner sent away: hearsay does not bring them back."""

    def connect(self, ask: Connect, reply: Reply[Any] | None) -> Any:
        target = ask.target.strip()
        peer = self._find(target)
        if peer is not None and (session := self.roster.sessions.get(peer)):
            return session.introduce()
        endpoint = ""
        known = self.book.get(peer) if peer is not None else None
        if peer is not None and known is not None and known.places:
            self.unwanted.discard(peer)
            for endpoint in known.endpoints()[:DIALS]:
                self.tell_wire(Dial(endpoint, peer))
            endpoint = base32(peer)
        elif peer is not None and self.locate(peer):
            self.unwanted.discard(peer)
            endpoint = base32(peer)
        elif ":" in target:
            endpoint = target if "://" in target else f"tcp://{target}"
            self.tell_wire(Dial(endpoint))
        else:
            hint = "give its address: opengateway connect HOST:PORT. `opengateway peers` lists who is known"
            raise Refused(PeerUnknown(f"no peer is known as {target[:60]!r}", hint=hint))
        if reply is not None:
            self.wanted.wait(target, endpoint, reply)
        return LATER

    def disconnect(self, target: str) -> dict[str, Any]:
        peer = self._find(target.strip())
        if peer is None:
            raise Refused(
                PeerUnknown(f"no peer is known as {target[:60]!r}", hint="`opengateway peers` lists them")
            )
        session = self.roster.sessions.get(peer)
        if session is not None:
            self.wanted.forget(session.endpoint or "")
        self.unwanted.add(peer)
        self.book.forget(peer)
        self.tell_wire(HangUp(peer, "disconnected by its owner"))
        return {"id": base32(peer), "short": short(peer)}

    def succeeded(self, old: NodeId, new: NodeId, now_ms: int) -> None:
        """A node goes on with a new key: whatever was wanted of the old one is wanted of that."""
        self.tell_wire(HangUp(old, "the key of this node was given up"))
        self.book.follow(old, new, now_ms=now_ms)
        self.wanted.follow(old, new)
        if old in self.unwanted:
            self.unwanted.add(new)

    def _find(self, target: str) -> NodeId | None:
        with contextlib.suppress(ValueError):
            return from_base32(target)
        known = {*self.roster.sessions, *(peer.node_id for peer in self.book)}
        matches = [peer for peer in known if len(target) >= 4 and base32(peer).startswith(target.lower())]
        if not matches:
            matches = [p for p, session in self.roster.sessions.items() if session.record.name == target]
        return matches[0] if len(matches) == 1 else None
