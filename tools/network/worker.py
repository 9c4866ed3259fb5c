"""A node that serves: slots, a short queue in which credit goes first, quotes that hold slots."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from opengateway.routing.placement import Demand
from opengateway.routing.priority import Claim, Service, order
from opengateway.routing.queue import displaced, room
from opengateway.units import NodeId
from tools.network.world import MODELS, PRICES, Node, node_id

LINE = 4
"""A requester may owe a quarter of what it served: opengateway/ledger/admission.py."""


class Asked(Protocol):
    """A request, as far as whoever serves it knows it."""

    requester: Node
    demand: Demand
    came: float
    brief: bool


@dataclass(slots=True)
class Worker:
    node: Node
    running: list[Asked] = field(default_factory=list)
    waiting: list[Asked] = field(default_factory=list)

    def price(self, asked: Asked) -> int:
        price = PRICES[self.node.model]
        return price.prompt * asked.demand.prompt + price.completion * asked.demand.completion

    def seconds(self, asked: Asked) -> float:
        return asked.demand.prompt / (8 * self.node.tps) + asked.demand.completion / self.node.tps

    def service(self, asked: Asked) -> Service:
        if asked.requester is self.node:
            return Service.OWNER
        if asked.requester.link == self.node.link:
            return Service.FRIEND
        owed = self.node.owes.get(asked.requester.number, 0)
        theirs = asked.requester.owes.get(self.node.number, 0)
        secured = owed - theirs + owed // LINE >= self.price(asked)
        return Service.SECURED if secured else Service.STRANGER

    def free(self, peer: NodeId | None, now: float) -> int:
        held = self.node.holds.held(MODELS[self.node.model], now, but=peer)
        return max(0, self.node.slots - len(self.running) - held)

    def quote(self, asked: Asked, number: int, slots: int, now: float) -> tuple[int, int, float]:
        """Free slots, those held for the asker, and seconds until one is free."""
        peer = asked.requester.id
        free = self.free(peer, now)
        model = MODELS[self.node.model]
        held = self.node.holds.hold(peer, number, model, wanted=slots, free=free, now=now)
        start = 0.0 if free else self.seconds(asked) * (1 + len(self.waiting)) / self.node.slots
        return free, held, start

    def arrives(self, asked: Asked, now: float) -> bool | None:
        """True: it begins; False: it is refused; None: it waits."""
        own = asked.requester is self.node
        peer = None if own else asked.requester.id
        if len(self.running) < self.node.slots and (own or self.free(peer, now)):
            if peer is not None:
                self.node.holds.take(peer, MODELS[self.node.model], now)
            self.running.append(asked)
            return True
        if own:
            self.waiting.append(asked)
            return None
        if asked.brief:
            return False
        claims = [self._claim(one) for one in self.waiting if one.requester is not self.node]
        leaves = displaced(claims, self._claim(asked), self._by_peer(), room(self.node.slots))
        if leaves is not None:  # whoever is pushed out is refused too; here only the newcomer is
            return False
        self.waiting.append(asked)
        return None

    def ends(self, asked: Asked) -> Asked | None:
        """It has its answer, or left; who begins instead."""
        if asked in self.running:
            self.running.remove(asked)
        if not self.waiting or len(self.running) >= self.node.slots:
            return None
        first = order([self._claim(one) for one in self.waiting], self._by_peer())[0]
        begins = self.waiting.pop(first)
        self.running.append(begins)
        return begins

    def _claim(self, asked: Asked) -> Claim:
        own = asked.requester is self.node
        return Claim(self.service(asked), asked.came, None if own else node_id(asked.requester.number))

    def _by_peer(self) -> Counter[NodeId]:
        return Counter(one.requester.id for one in self.running if one.requester is not self.node)
