"""What is known of the places that can answer: who serves what, how busy each is, what was said and seen.
Events in; no I/O, no clock of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from opengateway.errors import OpenGatewayError
from opengateway.routing.affinity import Affinity
from opengateway.routing.observed import Observed
from opengateway.routing.placement import Offer, Place, plain_name, same_model
from opengateway.routing.quotebook import QuoteBook
from opengateway.routing.reserved import Reserved
from opengateway.routing.standing import PENALTY, Standing
from opengateway.routing.views import FREE, PeerView, Price, Quotation, ServedModel, WorkerView
from opengateway.units import NodeId

RETURNING = 5.0
"""Seconds for which a model that no peer offers any more is waited for: a peer whose engine is being
restarted takes its models out of its record, and puts them in again 0.5 s later."""
QUOTE_AGAIN = 1.0
"""Seconds after which a peer may be asked for another quote; the word of one that said when it will be free
is taken for up to `QUOTE_ANYWAY`."""
QUOTE_ANYWAY = 5.0


class Known:
    def __init__(self) -> None:
        self._workers: dict[str, WorkerView] = {}
        self._peers: dict[NodeId, PeerView] = {}
        self._serving: dict[str, list[tuple[PeerView, ServedModel]]] = {}
        """Peers by model."""
        self._begun: defaultdict[Place, list[float]] = defaultdict(list)
        """When each of our requests was sent there."""
        self._owing: frozenset[NodeId] = frozenset()
        self._vanished: dict[str, float] = {}
        """When peers ceased to offer a model."""
        self.standing = Standing()
        self.quotes = QuoteBook()
        self.reserved = Reserved()
        self.observed = Observed()
        self.affinity = Affinity()

    def worker_changed(self, view: WorkerView) -> None:
        self._workers[view.name] = view

    def peers_changed(self, peers: tuple[PeerView, ...], *, now: float) -> None:
        before, peers_before = set(self._serving), set(self._peers)
        self._peers = {peer.node_id: peer for peer in peers}
        self._serving = {}
        for peer in peers:
            for model in peer.models:
                self._serving.setdefault(plain_name(model.name), []).append((peer, model))
        gone = peers_before - self._peers.keys()
        if gone:
            self.standing.forget(gone)
            self.quotes.forget(gone)
            self.reserved.keep(self._peers)
        kept = {name: at for name, at in self._vanished.items() if now - at < RETURNING}
        kept |= dict.fromkeys(before, now)
        self._vanished = {name: at for name, at in kept.items() if name not in self._serving}

    def peer(self, node_id: NodeId) -> PeerView | None:
        return self._peers.get(node_id)

    def context(self, node_id: NodeId, model: str) -> int:
        """Tokens, as this peer says of its model; 0 where it does not."""
        served = self._serving.get(plain_name(model), ())
        return next((one.context for peer, one in served if peer.node_id == node_id), 0)

    def on_link(self, node_id: NodeId) -> bool:
        """Whether this peer is on our own link; not while nobody has told us of it."""
        view = self._peers.get(node_id)
        return view is not None and view.ring == "lan"

    def owing(self, debtors: Iterable[NodeId]) -> None:
        """These owe us."""
        self._owing = frozenset(debtors)

    def took(self, place: Place, model: str = "", now: float = 0.0) -> None:
        """A request was sent there."""
        self._begun[place].append(now)
        self.quotes.use(place, model)

    def gave_back(self, place: Place) -> None:
        """It has ended, however it did."""
        begun = self._begun.get(place)
        if begun:
            begun.pop(0)
        if not begun:
            self._begun.pop(place, None)

    def succeeded(self, place: Place) -> None:
        self.standing.succeeded(place)

    def failed(self, place: Place, error: OpenGatewayError, now: float) -> None:
        self.standing.failed(place, error, now)

    def overcharged(self, place: Place, times: int, now: float) -> None:
        self.standing.overcharged(place, times, now)

    def quoted(self, quote: Quotation, now: float) -> None:
        """A peer says how it stands."""
        self.quotes.quoted(quote, now)
        if quote.free:
            self.standing.free(quote.place)
        else:
            self.standing.full(quote.place, max(quote.start_s, QUOTE_AGAIN), now)

    def answered(self, node_id: NodeId, model: str, tokens: int, seconds: float) -> None:
        """A peer's answer has come: so many completion tokens, in so many seconds from the first."""
        served = self._serving.get(plain_name(model), ())
        claimed = next((one.generate_tps for peer, one in served if peer.node_id == node_id), 0.0)
        self.observed.answered(node_id, model, claimed, tokens, seconds)

    def local_price(self, model: str) -> Price:
        """What this node asks for a model that it serves."""
        served = self.served_here(model)
        return served.price if served is not None else FREE

    def served_here(self, model: str) -> ServedModel | None:
        models = (served for view in self._workers.values() for served in view.models)
        return next((served for served in models if same_model(model, served.name)), None)

    def slots(self) -> int:
        return sum(view.slots for view in self._workers.values() if view.state == "running")

    def busy(self) -> int:
        return sum(len(self._begun.get(name, ())) for name in self._workers)

    def counts(self) -> dict[str, int]:
        """Slots of this node's engines, how many of them are busy, and all slots in reach."""
        peers = sum(peer.slots for peer in self._peers.values() if peer.models)
        return {"slots": self.slots(), "busy": self.busy(), "capacity": self.slots() + peers}

    def may_return(self, wanted: str, now: float) -> bool:
        fresh = {name for name, at in self._vanished.items() if now - at < RETURNING}
        return plain_name(wanted) in fresh if wanted else bool(fresh)

    # -- the picture ------------------------------------------------------------------

    def offers(self, model: str, now: float, home: Place | None) -> Iterator[tuple[Offer, ServedModel]]:
        wanted = plain_name(model)
        for view in self._workers.values():
            # A worker that is starting or down has no free slot: its jobs wait for it.
            slots = view.slots if view.state == "running" else 0
            for served in view.models:
                if plain_name(served.name) == wanted:
                    yield (
                        self._offer(
                            view.name, served, ring="local", rtt=0.0, slots=slots, now=now, home=home
                        ),
                        served,
                    )
        for peer, served in self._serving.get(wanted, ()):
            rtt = (peer.rtt_ms or 0.0) / 1000
            offer = self._offer(
                peer.node_id, served, ring=peer.ring, rtt=rtt, slots=peer.slots, now=now, home=home
            )
            if peer.quiet:
                offer = replace(offer, penalty_s=offer.penalty_s + PENALTY)
            yield offer, served

    def _offer(
        self,
        place: Place,
        model: ServedModel,
        *,
        ring: str,
        rtt: float,
        slots: int,
        now: float,
        home: Place | None,
    ) -> Offer:
        begun = self._begun.get(place, ())
        claimed = model.loaded_tps or model.generate_tps if begun else model.generate_tps
        speed = self.observed.speed(place, model.name, claimed)
        if not isinstance(place, str):
            slots = max(slots, len(begun) + self.quotes.held(place, model.name, now))
        return Offer(
            place,
            ring,
            rtt,
            slots,
            len(begun),
            speed,
            self.standing.penalty(place, now),
            model.prompt_tps,
            self.standing.full_for(place, now),
            place in self._owing,
            place == home,
            tuple(now - at for at in begun) if begun else (),
        )

    def all_served(self) -> Iterator[tuple[str, ServedModel]]:
        """Every model that is served, with the ring."""
        for view in self._workers.values():
            for model in view.models:
                yield "local", model
        for peer in self._peers.values():
            for model in peer.models:
                yield peer.ring, model
