"""A day of the network in time-lapse: requests, quotes, answers, nodes that come and go."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any

from opengateway.routing.placement import Demand, Place
from opengateway.routing.search import RING_S, AskSlots
from opengateway.routing.views import Quotation
from tools.network.figures import Figures
from tools.network.requester import Request, Requester
from tools.network.worker import Worker
from tools.network.world import MODELS, PRICES, SHARE, Node, World

HOURS = 24
REMEMBERED = 20_000
"""Nodes whose picture of the network is kept: most ask rarely, and build theirs anew."""
PATIENCE = 60.0
"""Seconds that a request waits before its caller is refused."""
LOOK_EVERY = 1.0
"""Seconds between looks of those who wait, beside those that a quote or a free slot is worth."""


@dataclass(frozen=True, slots=True)
class Setting:
    nodes: int = 10_000
    seconds: float = 240.0
    """Of time-lapse for the whole day: load and churn of an hour pass in a 24th of it."""
    load: float = 0.5
    """Of the slots that are there on the average."""
    seed: int = 1


class Run:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.world = World(setting.nodes, setting.seed)
        self.chance = self.world.chance
        self.now = 0.0
        self.figures = Figures()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()
        self._requesters: OrderedDict[int, Requester] = OrderedDict()
        self._workers: dict[int, Worker] = {}
        self._epoch = 0

    def at(self, when: float, what: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what, args))

    def run(self) -> Figures:
        hour = self.setting.seconds / HOURS
        for node in self.world.nodes:
            node.online = self.chance.random() < self._presence(node, 0)
        for epoch in range(HOURS):
            self._epoch = epoch
            self._come_and_go(epoch)
            for when, node in self._demand(epoch, hour):
                self.at(epoch * hour + when, self._ask, node)
            self._until((epoch + 1) * hour)
            self.figures.hour(self.world, self._workers.values())
        self._until(math.inf)
        self.figures.closing(self.world)
        return self.figures

    def _until(self, end: float) -> None:
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, what, args = heapq.heappop(events)
            what(*args)

    # -- people ------------------------------------------------------------------------------------

    def _hour_of(self, node: Node, epoch: int) -> float:
        return (epoch + node.longitude / 15.0) % HOURS

    def _presence(self, node: Node, epoch: int) -> float:
        """Machines are lent at night more than by day."""
        return 0.5 + 0.15 * math.cos(2 * math.pi * (self._hour_of(node, epoch) - 3) / HOURS)

    def _come_and_go(self, epoch: int) -> None:
        for node in self.world.nodes:
            if self.chance.random() < 0.2:
                online = self.chance.random() < self._presence(node, epoch)
                if node.online and not online and (worker := self._workers.pop(node.number, None)):
                    self._lost(worker)
                node.online = online

    def _demand(self, epoch: int, seconds: float) -> Iterator[tuple[float, Node]]:
        """People ask by day four times as much as at night."""
        nodes = self.world.nodes
        weights = [
            node.activity * (1.0 + 0.6 * math.cos(2 * math.pi * (self._hour_of(node, epoch) - 15) / HOURS))
            if node.online
            else 0.0
            for node in nodes
        ]
        slots = sum(node.slots for node in nodes) * 0.5
        mean_s = 18.0  # 179 tokens on the average, and the mean of 1 / speed is 0.1
        amount = round(self.setting.load * slots * seconds / mean_s)
        for node in self.chance.choices(nodes, cum_weights=list(accumulate(weights)), k=amount):
            yield self.chance.random() * seconds, node

    # -- a request ---------------------------------------------------------------------------------

    def _requester(self, node: Node) -> Requester:
        found = self._requesters.get(node.number)
        if found is None:
            found = self._requesters[node.number] = Requester(self.world, node, self._epoch)
            if len(self._requesters) > REMEMBERED:
                oldest, idle = next(iter(self._requesters.items()))
                if not any(idle.waiting.values()) and not idle.searches:
                    del self._requesters[oldest]
        else:
            found.look(self._epoch, self.now)
        self._requesters.move_to_end(node.number)
        return found

    def _ask(self, node: Node) -> None:
        if not node.online:
            return
        chance = self.chance
        prompt = int(min(4000, max(5, chance.lognormvariate(math.log(120), 1.0))))
        completion = int(min(2000, max(5, chance.lognormvariate(math.log(130), 0.8))))
        [model] = chance.choices(range(len(MODELS)), SHARE)
        self._place(Request(node, model, Demand(prompt, completion), self.now))

    def _place(self, request: Request) -> None:
        asks = self._requester(request.requester)
        place = asks.choose(request, self._lent(request.requester), self.now)
        if place is not None:
            asks.leave(request)
            self._send(asks, request, place)
            return
        if not request.waits:
            asks.wait(request)
            self.at(self.now + LOOK_EVERY, self._look, request)
        self._search(asks, request.model, asks.begin_search(request.model, self.now))

    def _lent(self, node: Node) -> int:
        worker = self._workers.get(node.number)
        return 0 if worker is None else sum(1 for one in worker.running if one.requester is not node)

    def _look(self, request: Request) -> None:
        """Of one who waits: the Scheduler's tick."""
        if not request.waits:
            return
        if self.now - request.came > PATIENCE:
            self._requester(request.requester).leave(request)
            request.refused = True
            self.figures.request(request, self.world)
            return
        self.at(self.now + LOOK_EVERY, self._look, request)
        self._place(request)

    def _send(self, asks: Requester, request: Request, place: Place) -> None:
        worker, delay = self._reach(request.requester, place)
        self.at(self.now + delay, self._arrive, asks, request, place, worker, delay)

    def _reach(self, node: Node, place: Place) -> tuple[Node, float]:
        if isinstance(place, str):
            return node, 0.0
        other = self.world.nodes[int.from_bytes(place)]
        return other, self.world.far(node, other).rtt_ms / 2000

    def _arrive(self, asks: Requester, request: Request, place: Place, node: Node, delay: float) -> None:
        if not node.online:
            self.at(self.now + delay, self._refused, asks, request, place, 5.0)
            return
        worker = self._workers.setdefault(node.number, Worker(node))
        begins = worker.arrives(request, self.now)
        if begins:
            self._begin(worker, request)
        elif begins is False:
            seconds = worker.seconds(request) / max(1, node.slots)
            self.at(self.now + delay, self._refused, asks, request, place, max(1.0, seconds))

    def _refused(self, asks: Requester, request: Request, place: Place, seconds: float) -> None:
        asks.full(request, place, seconds, self.now)
        self._place(request)

    def _begin(self, worker: Worker, request: Request) -> None:
        request.worker, request.begun = worker.node, self.now
        self.at(self.now + worker.seconds(request), self._end, worker, request)

    def _end(self, worker: Worker, request: Request) -> None:
        if request.worker is not worker.node or request not in worker.running:
            return  # the worker left meanwhile
        node, asks = worker.node, self._requester(request.requester)
        place: Place = "own" if node is request.requester else node.id
        asks.market.gave_back(place)
        asks.market.succeeded(place)
        if node is not request.requester:
            price = worker.price(request)
            node.earned += price
            request.requester.spent += price
            request.requester.owes[node.number] = request.requester.owes.get(node.number, 0) + price
            tokens = request.demand.completion
            asks.market.answered(node.id, MODELS[request.model], tokens, tokens / node.tps)
        node.served += 1
        request.requester.received += 1
        self.figures.request(request, self.world)
        following = worker.ends(request)
        if isinstance(following, Request):
            self._begin(worker, following)

    def _lost(self, worker: Worker) -> None:
        """Its node left: who was there goes elsewhere."""
        for request in (*worker.running, *worker.waiting):
            assert isinstance(request, Request)
            place: Place = "own" if worker.node is request.requester else worker.node.id
            asks = self._requester(request.requester)
            asks.market.gave_back(place)
            request.worker, request.lost = None, request.lost + 1
            if request.requester.online and request.requester is not worker.node:
                self.at(self.now + 0.1, self._place, request)

    # -- the search --------------------------------------------------------------------------------

    def _search(self, asks: Requester, model: int, orders: list[AskSlots]) -> None:
        for order in orders:
            node, delay = self._reach(asks.node, order.place)
            self.at(self.now + delay, self._quote, asks, model, order, node, delay)
        if orders:
            self.at(self.now + RING_S.get(orders[0].ring, 1.0) + 0.001, self._due, asks, model)

    def _quote(self, asks: Requester, model: int, order: AskSlots, node: Node, delay: float) -> None:
        quote = None
        waiting = asks.waiting.get(model)
        if node.online and waiting:
            worker, number = self._workers.setdefault(node.number, Worker(node)), next(self._numbers)
            free, held, start = worker.quote(waiting[0], number, order.slots, self.now)
            until = self.now + 2.0
            quote = Quotation(
                node.id, number, MODELS[model], PRICES[model], 0, free, held, until, 0, start, 0.0, node.tps
            )
        self.at(self.now + delay, self._quoted, asks, model, order, quote)

    def _quoted(self, asks: Requester, model: int, order: AskSlots, quote: Quotation | None) -> None:
        self._search(asks, model, asks.quoted(model, quote, order.place, self.now))
        for request in list(asks.waiting.get(model, ())):
            self._place(request)
        if not asks.waiting.get(model):
            for unused in asks.market.quotes.give_back(MODELS[model]):
                self.world.nodes[int.from_bytes(unused.place)].holds.release(asks.node.id, unused.number)

    def _due(self, asks: Requester, model: int) -> None:
        self._search(asks, model, asks.due(model, self.now))
