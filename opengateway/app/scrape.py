"""/metrics for Prometheus. It needs no token on loopback: it holds counts, never names or prompts."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from actors.kernel import answer
from actors.messages import DescribeJobs, DescribeSelf, DescribeWire
from opengateway.app.gateway.control import Parts
from opengateway.app.gateway.meter import Meter


class Scrape:
    def __init__(self, parts: Parts, meter: Meter) -> None:
        self._parts = parts
        self._meter = meter

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/metrics", self.metrics)]

    async def metrics(self, _request: web.Request) -> web.Response:
        parts = self._parts
        jobs, wire, me = await asyncio.gather(
            _try(parts.scheduler.ask(DescribeJobs())),
            _try(parts.swarm_peer.ask(DescribeWire())),
            _try(parts.registry.ask(DescribeSelf())),
        )
        text = self._meter.text(jobs, wire, me.get("by_ring", {}))
        return web.Response(text=text, content_type="text/plain")


async def _try(reply: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = await answer(reply, 2.0)
    except Exception:  # an actor that is restarting leaves its lines out
        return {}
    return found
