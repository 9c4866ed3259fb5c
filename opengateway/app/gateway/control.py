"""/node/*: what the command line and the dashboard use. Every request carries the control token.

What is read of the node is gathered in picture.py; nothing is kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

import orjson
from aiohttp import web

from actors.kernel import Address, Request, answer, describe, find, stack
from actors.messages import (
    Connect,
    DescribeBalance,
    DescribeClusters,
    DescribeDiscovery,
    DescribeMachine,
    Disconnect,
    Export,
    ListJobs,
    Measure,
)
from opengateway.app.gateway.errors import error_response, plain
from opengateway.app.gateway.picture import (
    PATIENCE,
    Parts,
    account_rows,
    history_rows,
    model_rows,
    overview,
    peer_rows,
)
from opengateway.errors import BadRequest, OpenGatewayError
from opengateway.models.catalog import canonical, eligible
from opengateway.models.machine import Machine

R = TypeVar("R")

HISTORY_LIMIT = 10_000


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
            get("/node/jobs", self._list(parts.scheduler, ListJobs, "jobs")),
            get("/node/actors/stack", self.stack),
            get("/node/ledger/balance", self._plain(parts.ledger, DescribeBalance)),
            get("/node/ledger/history", self.history),
            get("/node/ledger/peers", self.accounts),
            get("/node/ledger/export", self.export),
            post("/node/stop", self.stop),
        ]

    # -- single routes -------------------------------------------------------------------------

    async def status(self, _request: web.Request) -> web.Response:
        return _json(await overview(self._parts))

    async def peers(self, request: web.Request) -> web.Response:
        return _json({"peers": await peer_rows(self._parts, request.query.get("cluster", ""))})

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
        return _json(await model_rows(self._parts))

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
        return _json({"entries": await history_rows(self._parts, limit)})

    async def accounts(self, _request: web.Request) -> web.Response:
        return _json({"peers": await account_rows(self._parts)})

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
                {
                    "model": model.name,
                    "prompt_tps": model.prompt_tps,
                    "generate_tps": model.generate_tps,
                    "loaded_tps": model.loaded_tps,
                }
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


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guarded(error: BaseException) -> web.Response:
    shown: OpenGatewayError = plain(error)
    return error_response(shown)
