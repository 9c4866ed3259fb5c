"""/node/*: what the command line and the dashboard use. Every request carries the control token.

Each answer is gathered from the actors that own the facts; nothing is kept here.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import orjson
from aiohttp import web

from actors.kernel import Address, Request, answer, describe, find, stack
from actors.messages import (
    Connect,
    DescribeAccounts,
    DescribeBalance,
    DescribeClusters,
    DescribeDiscovery,
    DescribeHistory,
    DescribeJobs,
    DescribeMachine,
    DescribeModels,
    DescribePeers,
    DescribeSelf,
    DescribeWire,
    Disconnect,
    DiscoveryMessage,
    Export,
    GaugeMessage,
    LedgerMessage,
    Measure,
    RegistryMessage,
    SchedulerMessage,
    SwarmPeerMessage,
)
from opengateway.app.gateway.errors import error_response, plain
from opengateway.app.gateway.status import Facts, engine_state, further_warnings, reachability, warnings
from opengateway.errors import BadRequest, OpenGatewayError
from opengateway.models.catalog import canonical, eligible, tier_of
from opengateway.models.machine import Machine
from opengateway.routing.views import WorkerView

R = TypeVar("R")

PATIENCE = 5.0
"""Seconds for an actor to answer; one that does not is shown as such by `opengateway actors`."""
HISTORY_LIMIT = 10_000


@dataclass(slots=True)
class Parts:
    """The addresses of whom the routes ask, and what does not change while the node runs."""

    root: Address[Any]
    ledger: Address[LedgerMessage]
    registry: Address[RegistryMessage]
    discovery: Address[DiscoveryMessage]
    swarm_peer: Address[SwarmPeerMessage]
    gauge: Address[GaugeMessage]
    scheduler: Address[SchedulerMessage]
    workers: dict[str, WorkerView]
    facts: Facts
    stop: Callable[[], None]
    stamp: Callable[[], dict[str, Any]]


class Control:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        parts = self._parts
        get, post = web.get, web.post
        return [
            get("/node/status", self.status),
            get("/node/peers", self.peers),
            get("/node/clusters", self._list(parts.registry, DescribeClusters, "clusters")),
            post("/node/connect", self._on_target(Connect, 15.0)),
            post("/node/disconnect", self._on_target(Disconnect, PATIENCE)),
            get("/node/discovery", self._plain(parts.discovery, DescribeDiscovery)),
            get("/node/resources", self._machine(DescribeMachine)),
            post("/node/gauge", self._machine(Measure)),
            get("/node/eligible", self.eligible),
            get("/node/models", self.models),
            get("/node/actors", self.actors),
            get("/node/actors/stack", self.stack),
            get("/node/ledger/balance", self._plain(parts.ledger, DescribeBalance)),
            get("/node/ledger/history", self.history),
            get("/node/ledger/peers", self.accounts),
            get("/node/ledger/export", self.export),
            post("/node/stop", self.stop),
        ]

    # -- single routes -------------------------------------------------------------------------

    async def status(self, _request: web.Request) -> web.Response:
        parts = self._parts
        me, wire, jobs, credit, peers, discovery = await asyncio.gather(
            _try(parts.registry.ask(DescribeSelf())),
            _try(parts.swarm_peer.ask(DescribeWire())),
            _try(parts.scheduler.ask(DescribeJobs())),
            _try(parts.ledger.ask(DescribeBalance())),
            _try(parts.registry.ask(DescribePeers())),
            _try(parts.discovery.ask(DescribeDiscovery())),
        )
        facts = parts.facts
        up = [peer for peer in peers or [] if peer["state"] == "up"]
        busy = (jobs or {}).get("busy", 0)
        return _json(
            {
                **facts.fixed(),
                "pid": os.getpid(),
                "uptime_s": time.monotonic() - facts.born,
                "http": facts.http_url(),
                "wire": (me or {}).get("endpoints", []),
                "reachability": reachability(me or {}, facts),
                "relays": (me or {}).get("relay_names", []),
                "clock": (me or {}).get("clock", {}),
                "discovery": discovery or {},
                "clusters": (me or {}).get("clusters", []),
                "models": (me or {}).get("models", []),
                "engine": engine_state(parts.workers, busy, facts),
                "peers": {"total": len(up), "by_ring": (me or {}).get("by_ring", {})},
                "stamp": parts.stamp(),
                "credit": credit or {"balance": 0, "earned": 0, "spent": 0, "held": 0},
                "jobs": jobs or {"running": 0, "queued": 0, "done": 0, "failed": 0},
                "warnings": warnings(parts.root, parts.workers, me, wire, up, facts)
                + further_warnings(credit, discovery),
            }
        )

    async def peers(self, request: web.Request) -> web.Response:
        cluster = request.query.get("cluster", "")
        peers, accounts = await asyncio.gather(
            answer(self._parts.registry.ask(DescribePeers(cluster)), PATIENCE),
            _try(self._parts.ledger.ask(DescribeAccounts())),
        )
        net = {account["id"]: account["net"] for account in accounts or []}
        return _json({"peers": [{**peer, "owes_us": net.get(peer["id"], 0)} for peer in peers]})

    async def eligible(self, _request: web.Request) -> web.Response:
        described = await answer(self._parts.gauge.ask(DescribeMachine()), PATIENCE)
        machine = Machine.from_json(described["machine"])
        served = {canonical(m.name) for view in self._parts.workers.values() for m in view.models}
        rows = []
        for verdict in eligible(machine):
            tier = verdict.tier
            needs = {
                "cores": tier.cores,
                "ram_gb": tier.ram_gb,
                "gpu_gb": tier.gpu_gb,
                "disk_gb": tier.disk_gb,
            }
            rows.append(
                {
                    "name": tier.name,
                    "eligible": verdict.eligible,
                    "why": list(verdict.why_not),
                    "needs": needs,
                    "ollama": list(tier.ollama),
                    "serving": canonical(tier.name) in served,
                }
            )
        return _json({"tiers": rows})

    async def models(self, _request: web.Request) -> web.Response:
        network = await answer(self._parts.scheduler.ask(DescribeModels()), PATIENCE)
        local = [
            {
                "name": model.name,
                "engine": view.engine,
                "state": view.state,
                "parameters": model.parameters_m / 1000,
                "quantisation": model.quantisation,
                "context": model.context,
                "size": model.size,
                "demo": model.demo,
                "tier": tier.name if (tier := tier_of(model.name)) else "",
            }
            for view in self._parts.workers.values()
            for model in view.models
        ]
        return _json({"local": local, "network": network})

    async def actors(self, _request: web.Request) -> web.Response:
        rows = [asdict(row) for row in describe(self._parts.root)]
        failed = any(row["state"] in ("failed", "backoff", "abandoned") for row in rows)
        return _json({"actors": rows, "failed": failed})

    async def stack(self, request: web.Request) -> web.Response:
        name = request.query.get("name", "")
        try:
            address = find(self._parts.root, name)
        except KeyError as error:
            raise BadRequest(str(error.args[0])) from error
        return _json({"name": name, "stack": stack(address)})

    async def history(self, request: web.Request) -> web.Response:
        try:
            limit = min(HISTORY_LIMIT, max(1, int(request.query.get("limit", "50"))))
        except ValueError as error:
            raise BadRequest("limit must be a whole number") from error
        entries = await answer(self._parts.ledger.ask(DescribeHistory(limit)), PATIENCE)
        return _json({"entries": await self._named(entries, "peer")})

    async def accounts(self, _request: web.Request) -> web.Response:
        accounts = await answer(self._parts.ledger.ask(DescribeAccounts()), PATIENCE)
        return _json({"peers": await self._named(accounts, "id")})

    async def _named(self, rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
        """With the names that peers give themselves; who is not known any more keeps its short id."""
        peers = await _try(self._parts.registry.ask(DescribePeers())) or []
        names = {peer["id"]: peer["name"] for peer in peers if peer["name"]}
        return [{**row, "name": names.get(row[key], row["name"])} for row in rows]

    async def export(self, _request: web.Request) -> web.Response:
        data = await answer(self._parts.ledger.ask(Export()), 60.0)
        return web.Response(body=data, content_type="application/octet-stream")

    async def stop(self, _request: web.Request) -> web.Response:
        # After the answer has left: stopping closes this connection, too.
        asyncio.get_running_loop().call_later(0.05, self._parts.stop)
        return _json({"stopping": True})

    # -- routes of one shape -----------------------------------------------------------------------

    def _plain(self, who: Address[Any], what: Callable[[], Request[Any]]) -> Callable[[web.Request], Any]:
        async def handle(_request: web.Request) -> web.Response:
            return _json(await answer(who.ask(what()), PATIENCE))

        return handle

    def _list(
        self, who: Address[Any], what: Callable[[], Request[Any]], name: str
    ) -> Callable[[web.Request], Any]:
        async def handle(_request: web.Request) -> web.Response:
            return _json({name: await answer(who.ask(what()), PATIENCE)})

        return handle

    def _on_target(
        self, what: Callable[[str], Request[Any]], patience: float
    ) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            target = (await _object(request)).get("target")
            if not isinstance(target, str) or not 0 < len(target.strip()) <= 300:
                raise BadRequest("`target` must be an id, a name or HOST:PORT")
            return _json(await answer(self._parts.registry.ask(what(target)), patience))

        return handle

    def _machine(self, what: Callable[[], Request[Any]]) -> Callable[[web.Request], Any]:
        async def handle(_request: web.Request) -> web.Response:
            found: dict[str, Any] = await answer(self._parts.gauge.ask(what()), 30.0)
            speeds = [
                {"model": model.name, "prompt_tps": model.prompt_tps, "generate_tps": model.generate_tps}
                for view in self._parts.workers.values()
                for model in view.models
                if model.generate_tps
            ]
            return _json({**found, "speeds": speeds})

        return handle


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


async def _try(reply: Any) -> Any:
    """An actor that is down leaves a gap in the picture; it must not hide the rest."""
    try:
        return await answer(reply, PATIENCE)
    except Exception:
        return None


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guarded(error: BaseException) -> web.Response:
    shown: OpenGatewayError = plain(error)
    return error_response(shown)
