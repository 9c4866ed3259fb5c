"""Who serves what, how busy they are, and whom to ask next. Events in, decisions out: no I/O, no clock
of its own, so that a simulator can run it unchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from opengateway.errors import AllBusy, OpenGatewayError, UnknownModel
from opengateway.routing.abilities import ASSUMED, lacking, unsupported
from opengateway.routing.placement import (
    Offer,
    in_scope,
    nearest_names,
    offered,
    order,
    plain_name,
    same_model,
)
from opengateway.routing.views import FREE, PeerView, Price, ServedModel, WorkerView
from opengateway.units import NodeId

Place: TypeAlias = str | NodeId
"""A worker of this node (its name) or a peer (its id)."""

NOTHING: Mapping[str, str] = {}
PENALTY = 5.0
"""Seconds for which a place that has just failed is asked last. A crashed engine is back within 2 s; a
peer that broke for another reason deserves a pause, not a ban."""
DISTRUST = 60.0
"""Seconds more that a place is reckoned with for every time that it claimed too many tokens, for an hour:
it is asked where nobody else will do. It was not paid for them, so a ban would cost us more than it."""
DISTRUST_FOR = 3600.0
RETURNING = 5.0
"""Seconds for which a model that no peer offers any more is waited for: a peer whose engine is being
restarted takes its models out of its record, and puts them in again 0.5 s later."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Ask this place for this model."""

    place: Place
    model: ServedModel
    ring: str


class Market:
    def __init__(
        self, default_model: str = "", *, search: Callable[[str, float], bool] = lambda _model, _now: False
    ) -> None:
        """`search`: whether somebody who serves a model is being looked for beyond our peers, and may still
        be found; asked with the model and the time whenever nobody is in reach."""
        self.default_model, self._search = default_model, search
        self._workers: dict[str, WorkerView] = {}
        self._peers: dict[NodeId, PeerView] = {}
        self._busy: defaultdict[Place, int] = defaultdict(int)
        self._penalised: dict[Place, float] = {}
        self._full_until: dict[Place, float] = {}
        """Of places that have said themselves that they are busy."""
        self._distrusted: dict[Place, tuple[float, float]] = {}
        """Seconds more, and until when."""
        self._vanished: dict[str, float] = {}
        """When peers ceased to offer a model."""

    # -- what is known -----------------------------------------------------------------

    def worker_changed(self, view: WorkerView) -> None:
        self._workers[view.name] = view

    def peers_changed(self, peers: tuple[PeerView, ...], *, now: float) -> None:
        before, peers_before = self._names_at_peers(), set(self._peers)
        self._peers = {peer.node_id: peer for peer in peers}
        for gone in peers_before - self._peers.keys():  # whoever comes back comes back without blame
            self._penalised.pop(gone, None)
            self._full_until.pop(gone, None)
        after = self._names_at_peers()
        kept = {name: at for name, at in self._vanished.items() if now - at < RETURNING}
        kept |= dict.fromkeys(before, now)
        self._vanished = {name: at for name, at in kept.items() if name not in after}

    def _names_at_peers(self) -> set[str]:
        return {plain_name(model.name) for peer in self._peers.values() for model in peer.models}

    def peer(self, node_id: NodeId) -> PeerView | None:
        return self._peers.get(node_id)

    def on_link(self, node_id: NodeId) -> bool:
        """Whether this peer is on our own link; not while nobody has told us of it."""
        view = self._peers.get(node_id)
        return view is not None and view.ring == "lan"

    def took(self, place: Place) -> None:
        """A request was sent there."""
        self._busy[place] += 1

    def gave_back(self, place: Place) -> None:
        """It has ended, however it did."""
        self._busy[place] -= 1
        if self._busy[place] <= 0:
            del self._busy[place]

    def succeeded(self, place: Place) -> None:
        self._penalised.pop(place, None)
        self._full_until.pop(place, None)

    def failed(self, place: Place, error: OpenGatewayError, now: float) -> None:
        """Ask it last for a while: as long as it said, or `PENALTY`."""
        pause = PENALTY if error.retry_after is None else min(error.retry_after, 60.0)
        self._penalised[place] = now + pause
        if isinstance(error, AllBusy):
            self._full_until[place] = now + pause

    def overcharged(self, place: Place, times: int, now: float) -> None:
        """It claimed more tokens than there were. A new session does not make that undone."""
        kept = {one: (more, until) for one, (more, until) in self._distrusted.items() if until > now}
        self._distrusted = kept | {place: (DISTRUST * times, now + DISTRUST_FOR)}

    def local_price(self, model: str) -> Price:
        """What this node asks for a model that it serves."""
        served = self._served_here(model)
        return served.price if served is not None else FREE

    def _served_here(self, model: str) -> ServedModel | None:
        models = (served for view in self._workers.values() for served in view.models)
        return next((served for served in models if same_model(model, served.name)), None)

    def slots(self) -> int:
        return sum(view.slots for view in self._workers.values() if view.state == "running")

    def busy(self) -> int:
        return sum(self._busy.get(name, 0) for name in self._workers)

    def counts(self) -> dict[str, int]:
        """Slots of this node's engines, and how many of them are busy."""
        return {"slots": self.slots(), "busy": self.busy()}

    # -- decisions ---------------------------------------------------------------------

    def choose(
        self,
        model: str,
        scope: str,
        *,
        now: float,
        tried: frozenset[Place],
        here: bool = False,
        patient: bool = False,
        needs: Mapping[str, str] = NOTHING,
    ) -> Choice | OpenGatewayError:
        """Where to ask now. `AllBusy`: later; another error: not at all. `here`: for a peer's request,
        which only this node's engines may answer. `patient`: for a request that waits already: it does
        not go where it is too early to ask again. `needs`: abilities, with the field that wants each."""
        scope = "local" if here else scope
        wanted = model or self._best(scope, needs)
        found = [
            (offer, served)
            for offer, served in self._offers(now)
            if in_scope(offer, scope) and wanted and same_model(wanted, served.name)
        ]
        if not found:
            if scope != "local" and self._may_return(wanted, now):
                gone = f"{wanted or 'every model'} was served until a moment ago, and may be back"
                return AllBusy(gone, retry_after=2.0)
            if scope == "anywhere" and self._search(wanted, now):
                sought = f"somebody who serves {wanted or 'a model'} is being looked for"
                return AllBusy(sought, retry_after=2.0)
            return self._nobody(wanted, scope)
        lacks = [lacking(needs, served.abilities) for _, served in found] if needs else []
        if all(lacks) and lacks:
            return unsupported(needs, min(lacks, key=len), wanted, _where(scope))
        if lacks:
            found = [one for one, missing in zip(found, lacks, strict=True) if not missing]
        models = {offer.place: served for offer, served in found}
        untried = [offer for offer, _ in found if offer.place not in tried]
        early = {place for place, until in self._full_until.items() if patient and now < until}
        free = [o for o in untried if o.busy < o.slots and o.place not in early]
        if free:
            best = order(free, scope)[0]
            return Choice(best.place, models[best.place], best.ring)
        eta = min((offer.penalty_s for offer, _ in found if offer.penalty_s > 0), default=1.0)
        return AllBusy(f"everyone who serves {wanted} is busy", retry_after=min(60.0, max(1.0, eta)))

    def _may_return(self, wanted: str, now: float) -> bool:
        fresh = {name for name, at in self._vanished.items() if now - at < RETURNING}
        return plain_name(wanted) in fresh if wanted else bool(fresh)

    def choose_here(
        self, model: str, asker: NodeId, *, private: bool, needs: Mapping[str, str] = NOTHING
    ) -> Choice | OpenGatewayError:
        """Whether this node can answer a peer's request, and with which of its engines."""
        choice = self.choose(model, "local", now=0.0, tried=frozenset(), here=True, needs=needs)
        ring = self._peers[asker].ring if asker in self._peers else "world"
        served = self._served_here(model)
        if served is not None and not offered(ring, demo=served.demo, private=private):
            return UnknownModel(f"{served.name} is for demonstrations on its own link only")
        return choice

    def _offers(self, now: float) -> Iterator[tuple[Offer, ServedModel]]:
        for view in self._workers.values():
            # A worker that is starting or down has no free slot: its jobs wait for it.
            slots = view.slots if view.state == "running" else 0
            for model in view.models:
                yield self._offer(view.name, model, ring="local", rtt=0.0, slots=slots, now=now), model
        for peer in self._peers.values():
            for model in peer.models:
                rtt = (peer.rtt_ms or 0.0) / 1000
                offer = self._offer(peer.node_id, model, ring=peer.ring, rtt=rtt, slots=peer.slots, now=now)
                if peer.quiet:
                    offer = replace(offer, penalty_s=offer.penalty_s + PENALTY)
                yield offer, model

    def _offer(
        self, place: Place, model: ServedModel, *, ring: str, rtt: float, slots: int, now: float
    ) -> Offer:
        penalty = max(0.0, self._penalised.get(place, 0.0) - now)
        more, until = self._distrusted.get(place, (0.0, 0.0))
        busy = self._busy.get(place, 0)
        penalty += more if until > now else 0.0
        return Offer(place, ring, rtt, slots, busy, model.generate_tps, penalty)

    def _best(self, scope: str, needs: Mapping[str, str]) -> str:
        """The model for a request that names none: the configured one if it is served, else the largest
        that is, real ones before the pocket model and this node's own before a peer's."""
        served = [(offer, model) for offer, model in self._offers(0.0) if in_scope(offer, scope)]
        names = {model.name for _, model in served}
        if any(same_model(self.default_model, name) for name in names):
            return self.default_model
        best = max(
            served,
            key=lambda pair: (
                not lacking(needs, pair[1].abilities),
                "embedding" not in pair[1].abilities,
                not pair[1].demo,
                pair[0].ring == "local",
                pair[1].parameters_m,
                pair[1].name,
            ),
            default=None,
        )
        return best[1].name if best else self.default_model

    def _nobody(self, wanted: str, scope: str) -> OpenGatewayError:
        names = sorted({model.name for offer, model in self._offers(0.0) if in_scope(offer, scope)})
        where = _where(scope)
        if not names and not self._peers:
            return UnknownModel(
                "this node serves no model, and no peer is connected",
                hint="`opengateway doctor` helps to get an engine, `opengateway connect HOST:PORT` a peer",
            )
        if not names:
            return UnknownModel(
                f"nobody {where} serves any model",
                hint="`opengateway models` shows what there is; without --local or --friends there is more",
            )
        close = nearest_names(wanted, names)
        hint = f"did you mean {' or '.join(close)}?" if close else f"served {where}: {', '.join(names[:10])}"
        return UnknownModel(f"nobody {where} serves the model {wanted[:80]!r}", hint=hint)

    # -- for people --------------------------------------------------------------------

    def describe(self) -> list[dict[str, Any]]:
        """Every model that can be asked for, with who has it."""
        found: dict[str, dict[str, Any]] = {}
        for offer, model in self._offers(0.0):
            entry = found.setdefault(
                model.name.lower(),
                {
                    "name": model.name,
                    "nodes": 0,
                    "rings": {},
                    "generate_tps": None,
                    "context": 0,
                    "local": False,
                    "abilities": [],
                    "parameters_m": model.parameters_m,
                    "quantisation": model.quantisation,
                    "digest": model.digest,
                    "size": model.size,
                },
            )
            entry["abilities"] = sorted({*entry["abilities"], *(model.abilities or ASSUMED)})
            entry["nodes"] += 1
            entry["rings"][offer.ring] = entry["rings"].get(offer.ring, 0) + 1
            entry["context"] = max(entry["context"], model.context)
            entry["local"] = entry["local"] or offer.ring == "local"
            if model.generate_tps:
                entry["generate_tps"] = max(entry["generate_tps"] or 0.0, model.generate_tps)
        return sorted(found.values(), key=lambda entry: str(entry["name"]))

    def workers(self) -> list[WorkerView]:
        return [replace(view) for view in self._workers.values()]


def _where(scope: str) -> str:
    return {"local": "on this node", "friends": "on this link"}.get(scope, "in reach")
