"""Whether others can dial this node, and where: decided from what they prove, never from what they say.

Peers tell at which address they see us. Each may be asked to dial that address back from a fresh connection
and to say a nonce there; only a nonce that comes back proves anything. Then:

- an address of one of our own interfaces is believed once two witnesses have dialled it (or the only one
  that there is);
- any other address (a NAT's) needs besides two who told it independently, peers or the router itself:
  a single liar could otherwise have us send the whole network to somebody else's address;
- whoever is on one of our own networks proves nothing about the world. Where nobody from outside is
  connected, a neighbour's word is good for the neighbourhood, and no more is claimed.

Pure: events in, questions and a verdict out, time and nonces from the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Literal

from opengateway.discovery.addresses import Address, Network, address_of, endpoint
from opengateway.units import NodeId

WITNESSES: Final = 2
"""Peers that must have reached an address: one may lie, or stand where nobody else does."""
ASKED_AT_ONCE: Final = 3
"""Per address: one more than needed, since one in a few does not answer."""
PROOF_LIFE_S: Final = 1800.0
RENEW_S: Final = 600.0
"""A mapping that the router forgot is noticed within ten minutes."""
RETRY_S: Final = (30.0, 600.0)
"""After a failure: first and longest wait before the same peer is asked about the same address again."""
ANSWER_S: Final = 8.0
"""For a dial-back: 5 s of dialling and the way there and back."""

Kind = Literal["unknown", "direct", "mapped", "unreachable"]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask `peer` to dial back `port`, with this nonce."""

    peer: NodeId
    port: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: Kind
    """`unknown`: nobody from outside has tried yet."""
    endpoints: tuple[str, ...]
    """Proven, best first; those of this machine's own interfaces too."""
    witnesses: int
    """Peers that have reached the best of them."""
    outside: bool
    """Whether these came from another network."""


@dataclass(slots=True)
class _Witness:
    seen_from: Address | None
    """Where its session comes from, as we see it."""
    told: Address | None = None
    """Where it sees us."""
    port: int = 0
    """Where it dialled us; 0 if it did not."""


@dataclass(slots=True)
class _Trial:
    """One peer and one of our endpoints."""

    next_at: float = 0.0
    wait: float = RETRY_S[0]
    proven_at: float = float("-inf")
    outside: bool = False
    failed: bool = False


@dataclass(slots=True)
class _Asked:
    peer: NodeId
    endpoint: str
    until: float


@dataclass(slots=True)
class Reachability:
    nonce: Callable[[], bytes]
    port: int = 0
    own: frozenset[Address] = frozenset()
    near: tuple[Network, ...] = ()
    mapped_address: Address | None = None
    """The router's outer address, by its own word."""
    mapped_port: int = 0
    """Its port that it forwards to us; 0 is none."""
    _witnesses: dict[NodeId, _Witness] = field(default_factory=dict)
    _trials: dict[tuple[NodeId, str], _Trial] = field(default_factory=dict)
    _asked: dict[bytes, _Asked] = field(default_factory=dict)

    # -- events ------------------------------------------------------------------------

    def local(self, port: int, own: Iterable[Address], near: tuple[Network, ...]) -> None:
        """Where this machine is now. A change makes everything proven so far worthless."""
        known = frozenset(own)
        if (port, known) != (self.port, self.own):
            self._trials.clear()
            self._asked.clear()
        self.port, self.own, self.near = port, known, near

    def mapped(self, address: str, port: int) -> None:
        """The router forwards this outer port to us; `port` 0: no more."""
        self.mapped_address, self.mapped_port = address_of(address), port

    def met(self, peer: NodeId, seen_from: str) -> None:
        """A direct session with `peer` is up."""
        self._witnesses[peer] = _Witness(address_of(seen_from))

    def lost(self, peer: NodeId) -> None:
        """What it has proven stays true for a while."""
        self._witnesses.pop(peer, None)

    def told(self, peer: NodeId, address: str, port: int) -> None:
        """`peer` says that it sees us there."""
        witness = self._witnesses.get(peer)
        if witness is not None:
            witness.told, witness.port = address_of(address), port

    def knocked(self, nonce: bytes, address: str, now: float) -> bool:
        """A fresh connection from `address` said this. False: we have not given it to anybody."""
        asked = self._asked.pop(nonce, None)
        source = address_of(address)
        if asked is None or source is None:
            return False
        trial = self._trials[asked.peer, asked.endpoint]
        trial.proven_at, trial.failed, trial.wait = now, False, RETRY_S[0]
        trial.next_at = now + RENEW_S
        # Of the connection that came, not of the session: an accomplice next door must not pass for a
        # witness from far away.
        trial.outside = self._outside(source)
        return True

    def failed(self, nonce: bytes, now: float) -> None:
        """The peer says that it could not, or has said nothing."""
        asked = self._asked.pop(nonce, None)
        if asked is None:
            return
        trial = self._trials[asked.peer, asked.endpoint]
        trial.failed, trial.proven_at = True, float("-inf")
        trial.next_at, trial.wait = now + trial.wait, min(2 * trial.wait, RETRY_S[1])

    @property
    def waiting(self) -> bool:
        """Whether somebody was asked who has not answered yet."""
        return bool(self._asked)

    # -- what to do --------------------------------------------------------------------

    def asks(self, now: float) -> list[Ask]:
        """Whom to ask now. Each counts as asked."""
        for nonce in [nonce for nonce, asked in self._asked.items() if now > asked.until]:
            self.failed(nonce, now)
        self._forget(now)
        found = []
        for where, peers in self._candidates().items():
            waiting = {asked.peer for asked in self._asked.values() if asked.endpoint == where}
            fresh = [
                peer
                for peer in self._judges(peers)
                if now - self._trial(peer, where).proven_at < RENEW_S or peer in waiting
            ]
            for peer in sorted(peers, key=lambda peer: not self._outside(self._witnesses[peer].seen_from)):
                trial = self._trial(peer, where)
                if len(fresh) >= ASKED_AT_ONCE:
                    break
                if peer in fresh or peer in waiting or now < trial.next_at:
                    continue
                port = int(where.rpartition(":")[2])
                ask = Ask(peer, port, self.nonce())
                self._asked[ask.nonce] = _Asked(peer, where, now + ANSWER_S)
                fresh.append(peer)
                found.append(ask)
        return found

    def verdict(self, now: float) -> Verdict:
        believed: list[tuple[bool, int, str]] = []
        for where in {where for _, where in self._trials}:
            outside, count = self._believed(where, now)
            if count:
                believed.append((outside, count, where))
        believed.sort(key=lambda one: (not one[0], -one[1], one[2]))
        if believed and (believed[0][0] or not self._strangers()):
            outside, count, where = believed[0]
            address = address_of(where.removeprefix("tcp://").rpartition(":")[0].strip("[]"))
            forwarded = address not in self.own and self.mapped_port == int(where.rpartition(":")[2])
            kind: Kind = "mapped" if forwarded else "direct"
            endpoints = tuple(where for good, _, where in believed if good == outside)
            return Verdict(kind, endpoints, count, outside)
        strangers = self._strangers()
        done = {
            peer
            for (peer, _), trial in self._trials.items()
            if peer in strangers and (trial.failed or trial.proven_at > float("-inf"))
        }
        waiting = any(asked.peer in strangers for asked in self._asked.values())
        enough = len(done) >= WITNESSES or (bool(done) and not waiting)
        return Verdict("unreachable" if enough else "unknown", (), 0, outside=False)

    # -- ------------------------------------------------------------------------------

    def outside(self, address: str) -> bool:
        """Whether who is there can bear witness for the world."""
        return self._outside(address_of(address))

    def _outside(self, address: Address | None) -> bool:
        if address is None or address.is_loopback or address.is_link_local:
            return False
        return address not in self.own and not any(
            address.version == net.version and address in net for net in self.near
        )

    def _strangers(self) -> set[NodeId]:
        """Peers from other networks."""
        return {peer for peer, witness in self._witnesses.items() if self._outside(witness.seen_from)}

    def _judges(self, peers: Iterable[NodeId]) -> list[NodeId]:
        """Of these, those whose word counts: from outside, if there is anybody outside."""
        strangers = self._strangers()
        return [peer for peer in peers if peer in strangers] if strangers else list(peers)

    def _candidates(self) -> dict[str, list[NodeId]]:
        """Endpoint -> peers that see us at its address, so that they can be asked to dial it."""
        found: dict[str, list[NodeId]] = {}
        if not self.port:
            return found
        for peer, witness in self._witnesses.items():
            if witness.told is None:
                continue
            # The owner may have forwarded our own port by hand.
            forwarded = self.mapped_port if witness.told not in self.own else 0
            for port in {self.port, forwarded or self.port}:
                found.setdefault(endpoint(witness.told, port), []).append(peer)
        return found

    def _agreed(self, address: Address) -> bool:
        """Whether this is our address, by our own interfaces or by two who say so and not fewer than say
        anything else."""
        if address in self.own:
            return True
        said = Counter(
            witness.told
            for witness in self._witnesses.values()
            if witness.told is not None and self._outside(witness.seen_from)
            and witness.told.version == address.version
        )  # fmt: skip
        sources = said[address] + (address == self.mapped_address)
        return sources >= WITNESSES and said[address] >= max(said.values(), default=0)

    def _believed(self, where: str, now: float) -> tuple[bool, int]:
        """Whether witnesses from outside have reached it, and how many; 0 if it is not to be believed."""
        address = ip_address(where.removeprefix("tcp://").rpartition(":")[0].strip("[]"))
        proofs = [
            (peer, trial)
            for (peer, place), trial in self._trials.items()
            if place == where and now - trial.proven_at < PROOF_LIFE_S
        ]
        from_outside = sum(trial.outside for _, trial in proofs)
        could = len(self._judges(self._candidates().get(where, ())))
        ours = address in self.own or address == self.mapped_address  # the router is a witness, too
        needed = max(1, min(WITNESSES, could)) if ours else WITNESSES
        if from_outside >= needed and self._agreed(address):
            return True, from_outside
        near = len(proofs) - from_outside
        if address in self.own and not self._strangers() and near >= needed:
            return False, near
        return False, 0

    def _trial(self, peer: NodeId, where: str) -> _Trial:
        return self._trials.setdefault((peer, where), _Trial())

    def _forget(self, now: float) -> None:
        gone = [
            key
            for key, trial in self._trials.items()
            if key[0] not in self._witnesses and now - trial.proven_at > PROOF_LIFE_S and now > trial.next_at
        ]
        asked = {(one.peer, one.endpoint) for one in self._asked.values()}
        for key in gone:
            if key not in asked:
                del self._trials[key]
