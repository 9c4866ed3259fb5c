"""Where the node is put together: read this first.

Every actor is made here, in start order, and told here whom it may talk to; nothing else builds one.

    node
     +- ledger            what was served and owed; nothing leaves before it is durable
     +- network           the first two know each other's state, so they fall together
     |   +- registry      peers, clusters, models; our own record
     |   +- swarm_peer    the wire and the discovery on the link
     |   +- discovery     beyond the link: the DHT, bootstrap documents, questions to peers
     +- gauge             the machine and its load
     +- inference         one worker per engine; a crash of one is no concern of the others
     |   +- engine-...
     |   +- scout         looks for engines that appear later
     +- scheduler         every request in flight
     +- gateway           the HTTP port, opened last and closed first

All sockets live on one I/O thread (actors/io_loop.py), which starts before the tree and stops after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.gateway import Gateway
from actors.inference_worker import InferenceWorker
from actors.io_loop import IoLoop
from actors.kernel import Address, Backoff, Supervisor
from actors.ledger import Ledger
from actors.lines import Lines
from actors.lookout import Lookout
from actors.messages import (
    DiscoveryMessage,
    GaugeMessage,
    LedgerMessage,
    Measured,
    RegistryMessage,
    SchedulerMessage,
    SwarmPeerMessage,
    WorkerChanged,
)
from actors.own_record import OwnRecord
from actors.scheduler import Scheduler
from actors.scout import Dismiss, Scout
from actors.swarm_peer import Port, SwarmPeer
from actors.switchboard import Switchboard
from opengateway import __version__
from opengateway.app import lending, network
from opengateway.app.engines import Engines
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.status import facts_of
from opengateway.app.http_port import http_port
from opengateway.app.prices import capacity, price_of
from opengateway.config import Config
from opengateway.discovery.lan import Lan
from opengateway.discovery.seq_file import SeqFile
from opengateway.engines.protocol import Engine
from opengateway.errors import SetupError
from opengateway.home import Home
from opengateway.identity import Identity, from_base32, network_id
from opengateway.ledger.steady_clock import SteadyClock
from opengateway.models.machine import Machine
from opengateway.routing.views import WorkerView
from opengateway.transport.zmq_wire import zmq_wire
from opengateway.units import NodeId
from opengateway.wire.hub import Wire
from opengateway.wire.relay import RelayLimits

WORLD = Backoff(first=0.2, limit=15.0, tries=None, settled=30.0)
"""For what breaks because the world does: engines, ports, disks. Tried for ever."""
OURS = Backoff(first=0.1, limit=2.0, tries=5, settled=30.0)
"""For what breaks because we made a mistake: five times in a row, and the failure goes up."""
MAILBOX = 8192
"""Messages that may wait for a busy actor: 8 s of the highest request rate measured."""


class Node:
    """One node: `start`, then wait for `stopped`, then `stop`."""

    def __init__(self, home: Home, config: Config, *, io: IoLoop | None = None) -> None:
        self.home, self.config = home, config
        self.stopped = threading.Event()
        self.identity = Identity.load_or_create(home.identity_key)
        self.net = network_id(config.network.name, config.network.secret)
        self.token = home.new_control_token()
        self.region = config.place
        self.io, self.meter = io or IoLoop(), Meter()
        self.engines = Engines(
            home, config.engine, WORLD, self._worker, cpu_percent=config.contribute.cpu_percent
        )
        self.clock = SteadyClock()
        """The ledger's; it outlives the Ledger's lives."""
        self.given_up: dict[NodeId, NodeId] = {}
        """Keys that others came after. The Ledger says, everybody reads."""
        self.facts = facts_of(home, config, self.identity, self.net, http_url=lambda: self.http.url)
        self._assemble()

    # -- the picture of the system ---------------------------------------------------------------

    def _assemble(self) -> None:
        self.ledger: Address[LedgerMessage] = Address(
            "ledger", self._ledger, backoff=WORLD, mailbox=MAILBOX, patience=30.0
        )
        self.registry: Address[RegistryMessage] = Address(
            "registry", lambda: network.registry(self), backoff=OURS, mailbox=MAILBOX
        )
        self.swarm_peer: Address[SwarmPeerMessage] = Address(
            "swarm_peer", self._swarm_peer, backoff=WORLD, mailbox=MAILBOX, patience=20.0
        )
        self.discovery: Address[DiscoveryMessage] = Address(
            "discovery", lambda: network.discovery(self), backoff=WORLD
        )
        self.gauge: Address[GaugeMessage] = Address("gauge", lambda: lending.gauge(self), backoff=WORLD)
        self.scout: Address[Any] = Address("scout", self._scout, backoff=WORLD)
        self.inference: Address[Any] = Address("inference", Supervisor, self.scout, backoff=OURS)
        self.scheduler: Address[SchedulerMessage] = Address(
            "scheduler", self._scheduler, backoff=OURS, mailbox=MAILBOX
        )
        self.gateway: Address[Any] = Address(
            "gateway", lambda: Gateway(self.io, self.http), backoff=WORLD, patience=15.0
        )
        found = (self.registry, self.swarm_peer, self.discovery)
        self.root: Address[Any] = Address(
            "node",
            Supervisor,
            self.ledger,
            Address("network", lambda: Supervisor("the rest"), *found, backoff=OURS),
            self.gauge,
            self.inference,
            self.scheduler,
            self.gateway,
        )
        self.lookout = Lookout(self.discovery)
        self.lines = Lines(self.io, self.ledger, self.scheduler)
        self.port = Port(self.config.wire.host, self.config.wire.port)
        self.own = OwnRecord(
            self.identity,
            self.net,
            self.config.name,
            __version__,
            self.region,
            _now_ms,
            host=self.config.wire.host,
            contributes=self.config.contribute.when != "never",
            lent_slots=self.config.contribute.slots,
            private=bool(self.config.network.secret),
            seq_file=SeqFile(self.home.record_seq),
        )
        self.http = http_port(self)

    def _ledger(self) -> Ledger:
        ledger = self.config.ledger
        own = frozenset(from_base32(one) for one in (ledger.sweep_to, *ledger.own_nodes) if one)
        return Ledger(
            self.home.ledger_db,
            self.identity,
            self.net,
            now_ms=self.clock.now_ms,
            own=own,
            convicted=self.lines.flood,
            offers=lambda: self.own.offer_names,
            capacity=self._capacity,
            given_up=self.given_up,
        )

    def _capacity(self) -> int:
        """What this node could earn in an hour, by the speeds that its engines have shown (ucr)."""
        return sum(capacity(view) for view in list(self.engines.views.values()))

    def _swarm_peer(self) -> SwarmPeer:
        return SwarmPeer(
            self.io,
            self.port,
            self.lines,
            make_switchboard=lambda: network.switchboard(self),
            make_wire=self._wire,
            make_lan=self._lan if self.config.lan.enabled else None,
            first_record=lambda: self.own.signed or self.own.sign(),
            registry=self.registry,
        )

    def _wire(self, handler: Switchboard, record: Callable[[], bytes]) -> Wire:
        secret = self.config.network.secret
        relay = RelayLimits(bytes_per_s=1000 * self.config.relay.kbytes_per_s)
        return zmq_wire(self.identity, self.net, secret, record=record, handler=handler, relay=relay)

    def _lan(self, port: int, found: Callable[[Any], None], lost: Callable[[NodeId], None]) -> Lan:
        return Lan(self.identity.node_id, self.net, port, found=found, lost=lost)

    def _scout(self) -> Scout:
        engines = self.engines
        return Scout(self.io, choose=engines.look, add=engines.add, inference=self.inference)

    def _scheduler(self) -> Scheduler:
        return Scheduler(
            self.io,
            runners=self.engines.runners,
            dispatch=self.lines.dispatch,
            cover=self.lines.cover,
            registry=self.registry,
            ledger=self.ledger,
            views=self.engines.views,
            market=network.market(self),
            closed=self.own.closed,
            lend=self.config.contribute.slots,
            friends=frozenset(from_base32(one) for one in self.config.contribute.friends),
            private=self.own.private,
            stranger_met=self.lines.stamping.wanted,
            quoting=self.lines,
            tabs=self.lines.tabs,
        )

    def _worker(self, engine: Engine) -> InferenceWorker:
        percent = self.config.price.multiplier_percent
        return InferenceWorker(
            self.io,
            engine,
            node=self.facts.short,
            node_name=self.facts.name,
            price_of=lambda info: price_of(info, percent),
            scheduler=self.scheduler,
            runners=self.engines.runners,
            changed=self._worker_changed,
            served=self.meter.served,
            speeds=self.home.speeds,
        )

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Raises `SetupError` if the node cannot run; then nothing of it is left running."""
        self.io.start()
        try:
            for worker in self.engines.first(self.io):
                worker.parent = self.inference
                self.inference.children.append(worker)
            self.facts.engine_hint = self.engines.hint
            self.root.start()
            for _, address in self.root.walk():
                if isinstance(address.error, SetupError):
                    raise address.error
            if self.config.cluster_registry_url:
                self.io.spawn(network.read_clusters(self))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.root.close()
        self.io.stop()

    def release(self, file: Path) -> None:
        """The model in this file is going: its engine is ended, and nobody is sent there any more."""
        worker = self.engines.drop(file)
        if worker is not None:
            self._tell_worker(WorkerView(worker.name, "llama_server", "down"))
            self.scout.tell(Dismiss(worker))

    def measured(self, machine: Machine) -> None:
        self.facts.machine = machine
        self.registry.tell(Measured(machine))

    def _worker_changed(self, view: WorkerView) -> None:
        if view.name in self.engines.workers:  # else it is the last word of one that was dismissed
            before = self.engines.views.get(view.name)
            if view.state == "starting" and before is not None:  # again: its models will be back
                view = replace(view, models=before.models)
            self.engines.views[view.name] = view
            self._tell_worker(view)

    def _tell_worker(self, view: WorkerView) -> None:
        self.registry.tell(WorkerChanged(view))
        self.scheduler.tell(WorkerChanged(view))

    def not_ready(self) -> list[str]:
        views = list(self.engines.views.values())
        return [f"{view.name} is starting" for view in views if view.state == "starting"]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
