"""/metrics for Prometheus. It needs no token on loopback: it holds counts, never names or prompts."""

from __future__ import annotations

import asyncio

from aiohttp import web

from actors.messages import DescribeJobs, DescribeSelf, DescribeWire
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.picture import Parts, if_it_answers

LIMIT_S = 2.0
"""An actor that is restarting leaves its lines out."""


class Scrape:
    def __init__(self, parts: Parts, meter: Meter) -> None:
        self._parts = parts
        self._meter = meter

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/metrics", self.metrics)]

    async def metrics(self, _request: web.Request) -> web.Response:
        parts = self._parts
        jobs, wire, me = await asyncio.gather(
            if_it_answers(parts.scheduler.ask(DescribeJobs()), LIMIT_S),
            if_it_answers(parts.swarm_peer.ask(DescribeWire()), LIMIT_S),
            if_it_answers(parts.registry.ask(DescribeSelf()), LIMIT_S),
        )
        text = self._meter.text(jobs or {}, wire or {}, me or {})
        return web.Response(text=text, content_type="text/plain")
