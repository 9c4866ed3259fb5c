"""What this node says about itself: gathered from its engines, its machine and its addresses, signed."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from actors.messages import Reached
from opengateway.discovery.addresses import endpoint, local_endpoints
from opengateway.discovery.record import (
    CLOCK_ERROR_MS,
    CLUSTERS,
    ENDPOINTS,
    MODELS,
    NAME_LENGTH,
    ModelOffer,
    NodeRecord,
    RecordRefused,
    offer_of,
    sign_record,
)
from opengateway.discovery.seq_file import SeqFile
from opengateway.discovery.whereabouts import Whereabouts, sign_whereabouts, whereabouts_of
from opengateway.identity import Identity
from opengateway.models.clusters import DERIVED, ClusterRegistry
from opengateway.regions import Region
from opengateway.routing.views import ServedModel, WorkerView
from opengateway.units import NetworkId

LIFE_MS = 3600 * 1000
"""An hour: a node that has vanished without a goodbye is offered by nobody for longer."""
OFFERS = 16
"""A record changes with every measured speed; its prices hardly ever."""
REFRESH_MS = LIFE_MS // 3
SET_BACK_MS = CLOCK_ERROR_MS // 2
"""What is signed further in the future is said anew: peers refuse it, and hang up."""
NOT_REACHED = Reached("unknown", (), (), 0, outside=False)
ANY_HOST = ("*", "0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound


@dataclass(slots=True)
class OwnRecord:
    identity: Identity
    net: NetworkId
    name: str
    version: str
    region: Region
    now_ms: Callable[[], int]
    host: str = "*"
    port: int = 0
    contributes: bool = True
    paused: str = ""
    """Why the owner does not lend the machine now, in his own words: peers hear only that it is paused."""
    lent_slots: int = 0
    """The most that peers get; 0: all."""
    private: bool = False
    """The network has a secret."""
    reached: Reached = NOT_REACHED
    """How peers reach this node, as far as they have tried."""
    registry: ClusterRegistry = DERIVED
    workers: dict[str, WorkerView] = field(default_factory=dict)
    problem: str = ""
    """Why the record does not say everything; empty if it does."""
    record: NodeRecord | None = None
    signed: bytes = b""
    signed_ms: int = 0
    dht_port: int = 0
    """UDP port of our DHT node; 0 where there is none."""
    whereabouts: bytes = b""
    """Signed, for the DHT and for peers to pass on."""
    told: Whereabouts | None = None
    seq_file: SeqFile | None = None
    offer_names: tuple[bytes, ...] = ()
    """What the last `OFFERS` records are called: a requester may not have heard of the newest yet."""

    def endpoints(self) -> tuple[str, ...]:
        """Where peers may dial: what they have proven first, then this machine's own addresses."""
        return tuple(dict.fromkeys((*self.reached.endpoints, *self._local())))[:ENDPOINTS]

    def _local(self) -> tuple[str, ...]:
        if not self.port:
            return ()
        if self.host in ANY_HOST:
            return local_endpoints(self.port)
        try:
            return (endpoint(ipaddress.ip_address(self.host), self.port),)
        except ValueError:
            return local_endpoints(self.port)

    def offers(self) -> list[tuple[WorkerView, ServedModel]]:
        """What engines that run can serve, each model once."""
        found: dict[str, tuple[WorkerView, ServedModel]] = {}
        for view in self.workers.values():
            if view.state == "running":
                for model in view.models:
                    found.setdefault(model.name, (view, model))
        return list(found.values())

    def clusters(self) -> tuple[str, ...]:
        """The clusters that this node is in: one for each model that it serves in its region."""
        names = [self.registry.cluster_for(self.region.code, model.name) for _, model in self.offers()]
        return tuple(dict.fromkeys(names))[:CLUSTERS]

    def closed(self) -> str:
        """Why peers are not served now; empty if they are. May be called from any thread."""
        if not self.contributes:
            return "this node does not serve others"
        return "this node is paused: its owner does not lend it now" if self.paused else ""

    def sign(self) -> bytes:
        """Make it anew, with a higher sequence number."""
        now = self.now_ms()
        offers = [_offer(model) for _, model in self.offers() if self.contributes][:MODELS]
        slots = sum(v.slots for v in self.workers.values() if v.state == "running") if offers else 0
        slots = min(slots, self.lent_slots) if self.lent_slots else slots
        self.problem = ""
        while True:
            record = NodeRecord(
                node_id=self.identity.node_id,
                name=self.name,
                version=self.version,
                region=self.region.code,
                country=self.region.country,
                endpoints=self.endpoints(),
                relays=self.reached.relays,
                clusters=self.clusters() if offers else (),
                models=tuple(offers),
                slots=slots,
                state="client" if not offers else "paused" if self.paused else "ready",
                seq=self._next_seq(now),
                expires_ms=now + LIFE_MS,
            )
            try:
                self.signed = sign_record(self.identity, self.net, record, now_ms=now)
            except RecordRefused as refused:
                if not offers:
                    raise
                # An engine with a hundred models, or one with an unprintable name: offer what fits.
                dropped = offers.pop()
                self.problem = f"the model {dropped.name!r} is not offered to peers: {refused}"
                continue
            self.record, self.signed_ms = record, now
            self._sign_whereabouts(record, now)
            self.offer_names = (offer_of(self.signed), *self.offer_names)[:OFFERS]
            return self.signed

    @property
    def host_is_local(self) -> bool:
        """The node is bound to loopback, so loopback addresses mean something to it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def _next_seq(self, now: int) -> int:
        """Milliseconds of our clock where that rises; a clock that was set back must not silence us."""
        least = self.record.seq + 1 if self.record else self.seq_file.floor() if self.seq_file else 0
        seq = max(now, least)
        if self.seq_file is not None:
            self.seq_file.reserve(seq)
        return seq

    def _sign_whereabouts(self, record: NodeRecord, now: int) -> None:
        """Anew only if something in them has changed or they grow old: a record changes with every speed
        that is measured, and each signature would go out to every peer and into the DHT."""
        here = whereabouts_of(
            record, dht_port=self.dht_port, private=self.private, host_is_local=self.host_is_local
        )
        told = self.told
        same = told is not None and replace(told, seq=here.seq, expires_ms=here.expires_ms) == here
        age_ms = LIFE_MS - (told.expires_ms - now) if told is not None else 0
        if same and -SET_BACK_MS <= age_ms < REFRESH_MS:
            return
        self.told = here
        self.whereabouts = sign_whereabouts(self.identity, self.net, here, now_ms=now)

    def describe(self) -> dict[str, Any]:
        return {
            "endpoints": list(self.endpoints()),
            "reached": asdict(self.reached),
            "clusters": list(self.clusters()),
            "models": [model.name for _, model in self.offers()],
            "record_problem": self.problem,
            "cluster_warning": self.registry.warning,
            "state": self.record.state if self.record else "client",
            "paused": self.paused,
        }

    def stale(self) -> bool:
        """It grows old, or it was signed by a clock that has been set back since."""
        return not -SET_BACK_MS <= self.now_ms() - self.signed_ms <= REFRESH_MS


def _offer(model: ServedModel) -> ModelOffer:
    return ModelOffer(
        name=model.name[:NAME_LENGTH],
        digest=model.digest,
        parameters_m=model.parameters_m,
        quantisation=model.quantisation,
        context=model.context,
        prompt_tps=round(model.prompt_tps),
        generate_tps=round(model.generate_tps),
        price_prompt=model.price.prompt,
        price_completion=model.price.completion,
        demo=model.demo,
        abilities=model.abilities,
    )
