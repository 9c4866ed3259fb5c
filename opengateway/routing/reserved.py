"""Slots of this node that are held for peers who asked for a quote: few, for a moment, and given back.

A hold is a courtesy, not a debt: the owner's own requests go before it. It keeps peers from sending us on a
race for one slot that all but one lose.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from opengateway.routing.placement import plain_name
from opengateway.units import NodeId

HOLD_S = 2.0
"""Seconds: a round trip around the world, a ledger entry made durable, and a busy machine."""
PER_PEER = 16
"""Slots that one peer may have held here at once."""
HOLDS = 64
"""Holds at once, of everybody."""
LAPSES = 4
"""Holds that a peer may let lapse unused in a minute; then it is quoted without holding. Whoever takes
slots away from others for nothing is not helped to."""
LAPSES_S = 60.0


@dataclass(slots=True)
class _Hold:
    model: str
    slots: int
    until: float


@dataclass(slots=True)
class Reserved:
    _holds: dict[tuple[NodeId, int], _Hold] = field(default_factory=dict)
    """By peer and the number of its question."""
    _lapses: dict[NodeId, list[float]] = field(default_factory=dict)

    def hold(self, peer: NodeId, number: int, model: str, *, wanted: int, free: int, now: float) -> int:
        """Hold up to so many of the free slots; how many are held."""
        self.expire(now)
        if len(self._holds) >= HOLDS or (peer, number) in self._holds or self._unreliable(peer, now):
            return 0
        own = sum(hold.slots for (who, _), hold in self._holds.items() if who == peer)
        slots = max(0, min(wanted, free, PER_PEER - own))
        if slots:
            self._holds[peer, number] = _Hold(plain_name(model), slots, now + HOLD_S)
        return slots

    def take(self, peer: NodeId, model: str, now: float) -> bool:
        """The peer's request has come: whether a slot was held for it."""
        if not self._holds:
            return False
        self.expire(now)
        for key, hold in self._holds.items():
            if key[0] == peer and hold.model == plain_name(model):
                hold.slots -= 1
                if not hold.slots:
                    del self._holds[key]
                return True
        return False

    def release(self, peer: NodeId, number: int) -> bool:
        """The peer gives back what is left of it."""
        return self._holds.pop((peer, number), None) is not None

    def held(self, model: str, now: float, *, but: NodeId | None = None) -> int:
        """Slots of this model that are held for peers other than this one."""
        if not self._holds:
            return 0
        wanted = plain_name(model)
        return sum(
            hold.slots
            for (peer, _), hold in self._holds.items()
            if peer != but and hold.model == wanted and hold.until > now
        )

    def expire(self, now: float) -> bool:
        """Whether any hold has lapsed."""
        late = [key for key, hold in self._holds.items() if hold.until <= now]
        for key in late:
            del self._holds[key]
            self._lapses.setdefault(key[0], []).append(now)
        return bool(late)

    def keep(self, peers: Collection[NodeId]) -> None:
        """Only these are connected still."""
        for key in [key for key in self._holds if key[0] not in peers]:
            del self._holds[key]
        for peer in [peer for peer in self._lapses if peer not in peers]:
            del self._lapses[peer]

    def _unreliable(self, peer: NodeId, now: float) -> bool:
        lapses = [at for at in self._lapses.get(peer, ()) if now - at < LAPSES_S]
        if peer in self._lapses:
            self._lapses[peer] = lapses[-LAPSES:]
        return len(lapses) >= LAPSES

    def __len__(self) -> int:
        return sum(hold.slots for hold in self._holds.values())
