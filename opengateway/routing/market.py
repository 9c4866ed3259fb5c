"""Whom to ask next. Events in, decisions out: no I/O, no clock of its own, so that a simulator can run it
unchanged. What it decides on is known.py's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opengateway.errors import AllBusy, OpenGatewayError, UnknownModel
from opengateway.routing import explain
from opengateway.routing.abilities import lacking, unsupported
from opengateway.routing.known import QUOTE_AGAIN, QUOTE_ANYWAY, Known
from opengateway.routing.placement import (
    USUAL,
    Demand,
    Offer,
    Place,
    best,
    expected_seconds,
    in_scope,
    offered,
    plain_name,
    ring_in_scope,
)
from opengateway.routing.queue import room
from opengateway.routing.spread import seconds_until_free, worth_starting
from opengateway.routing.standing import PENALTY
from opengateway.routing.views import ServedModel, WorkerView
from opengateway.units import NodeId

__all__ = ["PENALTY", "Choice", "Market", "Place"]

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Choice:
    """Ask this place for this model."""

    place: Place
    model: ServedModel
    ring: str
    home: bool = False
    """Because it holds the conversation."""
    others: bool = False
    """Others may have a free slot too: to stand in a queue here would be worse than to ask them."""


class Market(Known):
    def __init__(
        self, default_model: str = "", *, search: Callable[[str, float], bool] = lambda _model, _now: False
    ) -> None:
        """`search`: whether somebody who serves a model is being looked for beyond our peers, and may still
        be found; asked with the model and the time whenever nobody is in reach."""
        super().__init__()
        self.default_model, self._search = default_model, search

    def choose(
        self,
        model: str,
        scope: str,
        *,
        now: float,
        tried: frozenset[Place],
        here: bool = False,
        patient: bool = False,
        sure: bool = False,
        settle: bool = False,
        demand: Demand = USUAL,
        home: Place | None = None,
        parts: int = 0,
        needs: Mapping[str, str] = NOTHING,
        fits: Callable[[ServedModel], bool] | None = None,
        least: int = 0,
    ) -> Choice | OpenGatewayError:
        """Where to ask now. `AllBusy`: later; another error: not at all. `here`: for a peer's request,
        which only this node's engines may answer. `patient`: for a request that waits already: it does
        not go where it is too early to ask again. `sure`: it has been sent to full places often enough, and
        goes only where a slot is known to be free. `settle`: the search found none, so it stands in the queue
        that is over first. `home`: who holds the conversation. `parts`: so many like
        this one wait, and each goes where it ends first. `needs`: abilities, with the field that wants each;
        `fits`: what else the model there must be, and no hope then for those who are not in reach. `least`:
        tokens that the prompt surely has; a context that is no larger is too small for it."""
        scope = "local" if here else scope
        wanted = self.wanted(model, scope, needs)
        found = [
            (offer, served)
            for offer, served in self.offers(wanted, now, home)
            if in_scope(offer, scope) and wanted and (fits is None or fits(served))
        ]
        if not found:
            hope = fits is None
            if hope and scope != "local" and self.may_return(wanted, now):
                gone = f"{wanted or 'every model'} was served until a moment ago, and may be back"
                return AllBusy(gone, retry_after=2.0)
            if hope and scope == "anywhere" and self._search(wanted, now):
                sought = f"somebody who serves {wanted or 'a model'} is being looked for"
                return AllBusy(sought, retry_after=2.0)
            names = sorted({served.name for ring, served in self.all_served() if ring_in_scope(ring, scope)})
            return explain.nobody(wanted, names, scope, alone=not self._peers)
        lacks = [lacking(needs, served.abilities) for _, served in found] if needs else []
        if all(lacks) and lacks:
            return unsupported(needs, min(lacks, key=len), wanted, explain.where(scope))
        if lacks:
            found = [one for one, missing in zip(found, lacks, strict=True) if not missing]
        if least:
            roomy = [(o, served) for o, served in found if not served.context or served.context > least]
            if not roomy:
                return explain.too_long(wanted, least, max(served.context for _, served in found))
            found = roomy
        models = {offer.place: served for offer, served in found}
        free = [
            offer
            for offer, _ in found
            if offer.free
            and offer.place not in tried
            and not (patient and offer.full_s > 0)
            and not (sure and self._doubtful(offer, wanted, now))
        ]
        if parts and free:
            worth = worth_starting((offer for offer, _ in found if offer.place not in tried), parts, demand)
            free = [offer for offer in free if offer.place in worth]
        if free:
            first = free[0] if len(free) == 1 else best(free, demand)
            return Choice(first.place, models[first.place], first.ring, first.home, others=len(free) > 1)
        if settle and not here:
            queues = [offer for offer, _ in found if offer.slots and offer.place not in tried]
            over = min(queues, key=lambda offer: expected_seconds(offer, demand), default=None)
            if over is not None and not isinstance(over.place, str):  # at home it waits already
                return Choice(over.place, models[over.place], over.ring)
        eta = min((offer.penalty_s for offer, _ in found if offer.penalty_s > 0), default=1.0)
        return AllBusy(f"everyone who serves {wanted} is busy", retry_after=min(60.0, max(1.0, eta)))

    def wanted(self, model: str, scope: str, needs: Mapping[str, str] = NOTHING) -> str:
        """The model that a request gets which names this one, or none; empty where none is served."""
        return model or explain.best_model(self.all_served(), self.default_model, scope, needs)

    def _doubtful(self, offer: Offer, model: str, now: float) -> bool:
        if isinstance(offer.place, str):
            return False
        return not self.quotes.sure(offer.place, model, now) and not self.quotes.mute(offer.place, now)

    def to_quote(self, model: str, scope: str, now: float, needs: Mapping[str, str] = NOTHING) -> list[Offer]:
        """The peers that may have a free slot and are worth a question now."""
        return [
            offer
            for offer, served in self.offers(model, now, None)
            if not isinstance(offer.place, str)
            and not lacking(needs, served.abilities)
            and offer.free
            and in_scope(offer, scope)
            and not self.quotes.mute(offer.place, now)
            and (ago := self.quotes.asked_ago(offer.place, now)) >= QUOTE_AGAIN
            and (offer.full_s == 0 or ago >= QUOTE_ANYWAY)
        ]

    def places_in_queues(self, model: str, scope: str) -> int:
        """How many more of our requests may stand in the queues of peers. Each has room for so many of all
        its peers; what is beyond that is refused, after an OPEN and a round trip."""
        serving = [
            peer for peer, _ in self._serving.get(plain_name(model), ()) if ring_in_scope(peer.ring, scope)
        ]
        stand = ((peer, max(0, len(self._begun.get(peer.node_id, ())) - peer.slots)) for peer in serving)
        return sum(max(0, room(peer.slots) - standing) for peer, standing in stand)

    def choose_here(
        self,
        model: str,
        asker: NodeId,
        *,
        private: bool,
        needs: Mapping[str, str] = NOTHING,
        least: int = 0,
    ) -> Choice | OpenGatewayError:
        """Whether this node can answer a peer's request, and with which of its engines."""
        choice = self.choose(model, "local", now=0.0, tried=frozenset(), here=True, needs=needs, least=least)
        ring = self._peers[asker].ring if asker in self._peers else "world"
        served = self.served_here(model)
        if served is not None and not offered(ring, demo=served.demo, private=private):
            return UnknownModel(f"{served.name} is for demonstrations on its own link only")
        return choice

    def start_here(self, model: str, ahead: int, now: float) -> float:
        """Seconds until a slot of this node is free for somebody with so many before him."""
        here = [offer for offer, _ in self.offers(model, now, None) if isinstance(offer.place, str)]
        return seconds_until_free(here, ahead)

    def free_here(self, model: str, asker: NodeId | None, now: float) -> int:
        """Slots of this node that a peer could have now: what is held for others is not free."""
        free = sum(
            max(0, offer.slots - offer.busy)
            for offer, _ in self.offers(model, now, None)
            if isinstance(offer.place, str)
        )
        return max(0, free - self.reserved.held(model, now, but=asker))

    # -- for people --------------------------------------------------------------------

    def describe(self) -> list[dict[str, Any]]:
        """Every model that can be asked for, with who has it."""
        return explain.describe(self.all_served())

    def workers(self) -> list[WorkerView]:
        return [replace(view) for view in self._workers.values()]
