"""Where the node is put together: read this first.

Every actor is made here, in start order, and told here whom it may talk to; nothing else builds one.

    node
     +- ledger            what was served and owed; nothing leaves before it is durable
     +- network           the two know each other's state, so they fall together
     |   +- registry      peers, clusters, models; our own record
     |   +- swarm_peer    the wire and the discovery on the link
     +- gauge             the machine and its load
     +- inference         one worker per engine; a crash of one is no concern of the others
     |   +- engine-...
     |   +- scout         looks for engines that appear later
     +- scheduler         every request in flight
     +- gateway           the HTTP port, opened last and closed first

All sockets live on one I/O thread (actors/io_loop.py), which starts before the tree and stops after it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from actors.gateway import Gateway
from actors.gauge import Gauge
from actors.inference_worker import InferenceWorker
from actors.io_loop import IoLoop
from actors.kernel import Address, Backoff, Supervisor
from actors.ledger import Ledger
from actors.messages import (
    ClustersRead,
    GaugeMessage,
    LedgerMessage,
    Measured,
    RegistryMessage,
    SchedulerMessage,
    SwarmPeerMessage,
    WorkerChanged,
    WorkerMessage,
)
from actors.own_record import OwnRecord
from actors.registry import Registry
from actors.runner import Runner
from actors.scheduler import Scheduler
from actors.scout import Scout
from actors.swarm_peer import Port, SwarmPeer
from actors.switchboard import Switchboard
from opengateway import __version__
from opengateway.app.gateway.control import Control, Parts
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.openai_api import OpenAiApi
from opengateway.app.gateway.server import HttpServer
from opengateway.app.gateway.status import Facts
from opengateway.app.logs import configure_logs
from opengateway.app.prices import price_of
from opengateway.app.scrape import Scrape
from opengateway.config import Config
from opengateway.discovery.lan import Lan
from opengateway.discovery.peer_cache import PeerCache
from opengateway.engines.choose import EngineSetting, choose
from opengateway.engines.protocol import Engine
from opengateway.errors import EngineUnavailable, SetupError
from opengateway.home import Home, write_atomically
from opengateway.identity import Identity, base32, network_id, short
from opengateway.models.clusters import fetch
from opengateway.models.machine import Machine
from opengateway.routing.views import WorkerView
from opengateway.transport.zmq_wire import zmq_wire
from opengateway.units import Seconds

logger = logging.getLogger(__name__)

WORLD = Backoff(first=0.2, limit=15.0, tries=None, settled=30.0)
"""For what breaks because the world does: engines, ports, disks. Tried for ever."""
OURS = Backoff(first=0.1, limit=2.0, tries=5, settled=30.0)
"""For what breaks because we made a mistake: five times in a row, and the failure goes up."""
MAILBOX = 8192
"""Messages that may wait for a busy actor: 8 s of the highest request rate measured."""
CHOOSE_LIMIT = Seconds(10.0)


class Node:
    """One node: `start`, then wait for `stopped`, then `stop`."""

    def __init__(self, home: Home, config: Config) -> None:
        self.home, self.config = home, config
        self.stopped = threading.Event()
        self.identity = Identity.load_or_create(home.identity_key)
        self.net = network_id(config.network.name, config.network.secret)
        self.token = home.new_control_token()
        self.region = config.place
        self.io = IoLoop()
        self.worker_of: dict[str, Address[WorkerMessage]] = {}
        self.runners: dict[str, Runner] = {}
        self.views: dict[str, WorkerView] = {}
        self.facts = Facts(
            node_id=base32(self.identity.node_id),
            short=short(self.identity.node_id),
            name=config.name,
            version=__version__,
            home=str(home.path),
            region=self.region.code,
            country=self.region.country,
            network={
                "name": config.network.name,
                "private": bool(config.network.secret),
                "id": self.net.hex(),
            },
            born=time.monotonic(),
            http_url=lambda: self.http.url,
            engine_kind=config.engine.kind,
            lan=config.lan.enabled,
        )
        self._assemble()

    # -- the picture of the system ---------------------------------------------------------------

    def _assemble(self) -> None:
        self.ledger: Address[LedgerMessage] = Address(
            "ledger", self._ledger, backoff=WORLD, mailbox=MAILBOX, patience=30.0
        )
        self.registry: Address[RegistryMessage] = Address(
            "registry", self._registry, backoff=OURS, mailbox=MAILBOX
        )
        self.swarm_peer: Address[SwarmPeerMessage] = Address(
            "swarm_peer", self._swarm_peer, backoff=WORLD, mailbox=MAILBOX, patience=20.0
        )
        self.gauge: Address[GaugeMessage] = Address("gauge", self._gauge, backoff=WORLD)
        self.scout: Address[Any] = Address("scout", self._scout, backoff=WORLD)
        self.inference: Address[Any] = Address(
            "inference", Supervisor, self.scout, backoff=OURS, patience=20.0
        )
        self.scheduler: Address[SchedulerMessage] = Address(
            "scheduler", self._scheduler, backoff=OURS, mailbox=MAILBOX
        )
        self.gateway: Address[Any] = Address("gateway", self._gateway, backoff=WORLD, patience=15.0)
        self.root: Address[Any] = Address(
            "node",
            Supervisor,
            self.ledger,
            Address("network", Supervisor, self.registry, self.swarm_peer, backoff=OURS, patience=30.0),
            self.gauge,
            self.inference,
            self.scheduler,
            self.gateway,
            patience=60.0,
        )
        self._port = Port(self.config.wire.host, self.config.wire.port)
        self.own = OwnRecord(
            self.identity,
            self.net,
            self.config.name,
            __version__,
            self.region,
            _now_ms,
            host=self.config.wire.host,
            contributes=self.config.contribute.when != "never",
        )
        self.meter = Meter()
        http = self.config.http
        self.http = HttpServer(
            http.host, http.port, self.token, routes=self._routes, not_ready=self._not_ready
        )

    def _ledger(self) -> Ledger:
        return Ledger(self.home.ledger_db, self.identity, self.net, now_ms=_now_ms)

    def _registry(self) -> Registry:
        return Registry(
            self.own,
            self.net,
            cache=PeerCache(self.home.peers_db),
            bootstrap=self.config.wire.bootstrap,
            swarm_peer=self.swarm_peer,
            scheduler=self.scheduler,
            now_ms=_now_ms,
        )

    def _swarm_peer(self) -> SwarmPeer:
        net, identity = self.net, self.identity
        return SwarmPeer(
            self.io,
            self._port,
            make_switchboard=lambda: Switchboard(
                self.io,
                identity,
                net,
                registry=self.registry,
                scheduler=self.scheduler,
                ledger=self.ledger,
                now_ms=_now_ms,
            ),
            make_wire=lambda handler, record: zmq_wire(
                identity, net, self.config.network.secret, record=record, handler=handler
            ),
            make_lan=(lambda port, found, lost: Lan(identity.node_id, net, port, found=found, lost=lost))
            if self.config.lan.enabled
            else None,
            first_record=lambda: self.own.signed or self.own.sign(),
            registry=self.registry,
        )

    def _gauge(self) -> Gauge:
        return Gauge(self.home.path, measured=self._measured)

    def _scout(self) -> Scout:
        return Scout(
            self.io,
            choose=lambda: choose(
                self._engine_setting(), models_dir=self.home.models, log_dir=self.home.logs
            ),
            add=self._add_worker,
            inference=self.inference,
        )

    def _scheduler(self) -> Scheduler:
        return Scheduler(
            self.io,
            runners=self.runners,
            swarm_peer=self.swarm_peer,
            registry=self.registry,
            ledger=self.ledger,
            views=self.views,
            default_model=self.config.default_model,
            contributes=self.own.contributes,
        )

    def _gateway(self) -> Gateway:
        return Gateway(self.io, self.http)

    def _worker(self, engine: Engine) -> InferenceWorker:
        percent = self.config.price.multiplier_percent
        return InferenceWorker(
            self.io,
            engine,
            node=self.facts.short,
            node_name=self.facts.name,
            price_of=lambda info: price_of(info, percent),
            scheduler=self.scheduler,
            runners=self.runners,
            changed=self._worker_changed,
        )

    def _routes(self) -> list[Any]:
        parts = Parts(
            root=self.root,
            ledger=self.ledger,
            registry=self.registry,
            swarm_peer=self.swarm_peer,
            gauge=self.gauge,
            scheduler=self.scheduler,
            workers=self.views,
            facts=self.facts,
            stop=self.stopped.set,
        )
        api = OpenAiApi(self.scheduler, self.meter)
        return [*api.routes(), *Control(parts).routes(), *Scrape(parts, self.meter).routes()]

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Raises `SetupError` if the node cannot run; then nothing of it is left running."""
        self.io.start()
        try:
            for engine in self._first_engines():
                self.inference.children.append(self._child(engine))
            self.root.start()
            for _, address in self.root.walk():
                if isinstance(address.error, SetupError):
                    raise address.error
            if self.config.cluster_registry_url:
                self.io.spawn(self._read_clusters())
            self._announce()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.root.close()
        self.io.stop()

    def _first_engines(self) -> list[Engine]:
        """Raises `SetupError` if the configured engine cannot be used as configured. One that is only
        not running yet is no reason not to start: the scout looks for it."""
        work = choose(self._engine_setting(), models_dir=self.home.models, log_dir=self.home.logs)
        try:
            engines = self.io.run(work, CHOOSE_LIMIT)
        except EngineUnavailable as error:
            self.facts.engine_hint = f"{error.message} {error.hint}".strip()
            if error.retry_after is None:
                raise SetupError(error.message, hint=error.hint) from error
            return []
        if not engines and self.config.engine.kind == "auto":
            from opengateway.engines.choose import NOTHING_FOUND

            self.facts.engine_hint = NOTHING_FOUND
        return engines

    def _add_worker(self, engine: Engine) -> Address[WorkerMessage] | None:
        """For an engine that was found later. None if it is known."""
        return None if _label(engine) in self.worker_of else self._child(engine)

    def _child(self, engine: Engine) -> Address[WorkerMessage]:
        address: Address[WorkerMessage] = Address(
            _label(engine), lambda: self._worker(engine), backoff=WORLD, mailbox=MAILBOX, patience=10.0
        )
        self.worker_of[address.name] = address
        return address

    def _engine_setting(self) -> EngineSetting:
        engine = self.config.engine
        return EngineSetting(
            engine.kind,  # type: ignore[arg-type]  # the schema allows these words only
            engine.url,
            engine.api_key,
            engine.model,
            engine.slots or None,
            engine.threads or None,
            engine.context or None,
        )

    def _measured(self, machine: Machine) -> None:
        self.facts.machine = machine
        self.registry.tell(Measured(machine))

    def _worker_changed(self, view: WorkerView) -> None:
        self.views[view.name] = view
        self.registry.tell(WorkerChanged(view))
        self.scheduler.tell(WorkerChanged(view))

    async def _read_clusters(self) -> None:
        registry = await fetch(self.config.cluster_registry_url, self.home.path / "clusters.json")
        self.registry.tell(ClustersRead(registry))

    def _not_ready(self) -> list[str]:
        return [f"{view.name} is starting" for view in list(self.views.values()) if view.state == "starting"]

    def _announce(self) -> None:
        described = {
            "pid": os.getpid(),
            "http": self.http.url,
            "wire_port": self._port.number,
            "node_id": self.facts.node_id,
            "version": __version__,
        }
        write_atomically(self.home.node_json, json.dumps(described).encode() + b"\n")


SWITCH_INTERVAL = Seconds(0.0005)
"""How long a busy thread keeps the others from running. With Python's 5 ms a request that crosses six
actors waited 30 ms for nothing while the I/O thread was busy."""


def run_node(home: Home, config: Config) -> int:
    """Run until SIGTERM, SIGINT or `POST /node/stop`; 1 if the node gave up by itself.

    Raises `SetupError` if it cannot start.
    """
    with home.hold():
        configure_logs(config.log.level)
        sys.setswitchinterval(float(os.environ.get("SW", SWITCH_INTERVAL)))
        node = Node(home, config)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: node.stopped.set())
        node.start()
        logger.info("node %s is running at %s", node.facts.short, node.http.url)
        while not node.stopped.wait(0.5):
            if node.root.state in ("failed", "stopped"):
                logger.critical("the node gives up: %s", node.root.error)
                node.stop()
                return 1
        logger.info("stopping")
        home.node_json.unlink(missing_ok=True)
        node.stop()
    return 0


def _label(engine: Engine) -> str:
    """An actor's name for an engine: llama.cpp serves one file a process, the others are one server."""
    model = getattr(engine, "model", "") if engine.name == "llama_server" else ""
    return f"engine-{model or engine.name}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
