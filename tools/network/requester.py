"""A node that asks: its own picture of the network (the unchanged Market), those who wait, their searches."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import thread_time

from opengateway.errors import AllBusy
from opengateway.routing.market import Choice, Market
from opengateway.routing.placement import Demand, Place
from opengateway.routing.search import AskSlots, Search
from opengateway.routing.views import Price, Quotation, ServedModel, WorkerView
from tools.network.world import MODELS, PRICES, Node, World

SURE_AFTER = 2
"""As in actors/placing.py."""
PAUSE, LONGEST_PAUSE = 1.0, 8.0
"""As in actors/searching.py."""


@dataclass(eq=False, slots=True)
class Request:
    requester: Node
    model: int
    demand: Demand
    came: float
    worker: Node | None = None
    begun: float = 0.0
    full: int = 0
    tried: set[Place] = field(default_factory=set)
    asks: int = 0
    """Places that it was sent to."""
    quotes: int = 0
    """Quotes that were asked for while it waited, shared among those who waited."""
    cpu: float = 0.0
    """Seconds of deciding."""
    waits: bool = False
    brief: bool = False
    settle: bool = False
    refused: bool = False
    lost: int = 0
    """Workers that left while they answered it."""


class Requester:
    def __init__(self, world: World, node: Node, epoch: int) -> None:
        self.world, self.node = world, node
        self.market = Market()
        self.waiting: dict[int, list[Request]] = {}
        self.searches: dict[int, Search] = {}
        self.paused: dict[int, tuple[float, float]] = {}
        self._epoch = -1
        self._known: list[int] = []
        self._served = (
            (ServedModel(MODELS[node.model], generate_tps=node.tps, price=Price(0, 0)),)
            if node.model >= 0
            else ()
        )
        self.look(epoch, 0.0)

    def look(self, epoch: int, now: float) -> None:
        """Who is connected now."""
        world = self.world
        known = self._known
        if epoch != self._epoch:
            known, self._epoch = world.acquaintances(self.node, epoch), epoch
        there = [number for number in known if world.nodes[number].online]
        if there != self._known:
            self._known = there
            views = tuple(world.view(self.node, world.nodes[number]) for number in there)
            self.market.peers_changed(views, now=now)

    def choose(self, request: Request, lent: int, now: float) -> Place | None:
        """Where it goes now; None: it waits. `lent`: slots of this node that peers have."""
        began = thread_time()
        if self._served:
            own = WorkerView("own", "sim", "running", self._served, max(0, self.node.slots - lent))
            self.market.worker_changed(own)
        owes = self.node.number
        nodes = self.world.nodes
        self.market.owing(nodes[n].id for n in self._known if nodes[n].owes.get(owes, 0) > 0)
        choice = self.market.choose(
            MODELS[request.model],
            "anywhere",
            now=now,
            tried=frozenset(request.tried),
            patient=request.waits or request.full > 0,
            sure=request.full >= SURE_AFTER,
            settle=request.settle,
            demand=request.demand,
        )
        request.cpu += thread_time() - began
        if not isinstance(choice, Choice):
            return None
        request.brief, request.settle = choice.others, False
        self.market.took(choice.place, MODELS[request.model], now)
        request.asks += 1
        return choice.place

    def full(self, request: Request, place: Place, seconds: float, now: float) -> None:
        self.market.gave_back(place)
        self.market.failed(place, AllBusy(retry_after=seconds), now)
        request.full += 1
        request.tried.add(place)

    def wait(self, request: Request) -> None:
        if not request.waits:
            request.waits = True
            self.waiting.setdefault(request.model, []).append(request)
        request.tried.clear()

    def leave(self, request: Request) -> None:
        if request.waits:
            request.waits = False
            self.waiting[request.model].remove(request)

    def begin_search(self, model: int, now: float) -> list[AskSlots]:
        waiting = self.waiting.get(model)
        if not waiting or model in self.searches or self.paused.get(model, (0.0, 0.0))[0] > now:
            return []
        began = thread_time()
        offers = self.market.to_quote(MODELS[model], "anywhere", now)
        asks: list[AskSlots] = []
        if offers:
            search = self.searches[model] = Search(offers, len(waiting), waiting[0].demand)
            asks = search.begin(now)
        waiting[0].cpu += thread_time() - began
        return self._asked(model, asks, now)

    def quoted(self, model: int, quote: Quotation | None, place: Place, now: float) -> list[AskSlots]:
        began = thread_time()
        if quote is not None:
            self.market.quoted(quote, now)
        search, asks = self.searches.get(model), []
        if search is not None:
            asks = search.answered(place, quote.held if quote else 0, now)
        if waiting := self.waiting.get(model):
            waiting[0].cpu += thread_time() - began
        return self._asked(model, asks, now)

    def due(self, model: int, now: float) -> list[AskSlots]:
        search = self.searches.get(model)
        return self._asked(model, search.due(now), now) if search is not None else []

    def _asked(self, model: int, asks: list[AskSlots], now: float) -> list[AskSlots]:
        waiting, search = self.waiting.get(model) or [], self.searches.get(model)
        for request in waiting[:1]:
            request.quotes += len(asks)
        for ask in asks:
            self.market.quotes.asked(ask.place, now)
        if search is not None and search.over:
            del self.searches[model]
            pause = self.paused.pop(model, (0.0, PAUSE / 2))[1]
            if not search.found:
                for request in waiting:
                    request.settle = True
            if search.found < search.want:
                pause = min(LONGEST_PAUSE, 2 * pause)
                self.paused[model] = (now + pause, pause)
        return asks

    def price(self, request: Request) -> int:
        price = PRICES[request.model]
        return price.prompt * request.demand.prompt + price.completion * request.demand.completion
