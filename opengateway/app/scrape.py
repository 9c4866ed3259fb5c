"""/metrics for Prometheus. It needs no token on loopback: it holds counts, never names or prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web

from actors.kernel import describe
from actors.messages import DescribeBalance, DescribeJobs, DescribeSelf, DescribeWire
from opengateway.app.gateway.exposition import CONTENT_TYPE, exposition
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.picture import Parts, if_it_answers

LIMIT_S = 2.0
"""An actor that is restarting leaves its lines out."""


class Scrape:
    def __init__(self, parts: Parts, meter: Meter, turned_away: Callable[[], Mapping[str, int]]) -> None:
        """`turned_away`: connections of the HTTP port that came to nothing, by why."""
        self._parts = parts
        self._meter = meter
        self._turned_away = turned_away

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/metrics", self.metrics)]

    async def metrics(self, _request: web.Request) -> web.Response:
        parts = self._parts
        jobs, wire, me, credit = await asyncio.gather(
            if_it_answers(parts.scheduler.ask(DescribeJobs()), LIMIT_S),
            if_it_answers(parts.swarm_peer.ask(DescribeWire()), LIMIT_S),
            if_it_answers(parts.registry.ask(DescribeSelf()), LIMIT_S),
            if_it_answers(parts.ledger.ask(DescribeBalance()), LIMIT_S),
        )
        text = exposition(
            self._meter,
            jobs=jobs or {},
            wire=wire or {},
            me=me or {},
            credit=credit or {},
            actors=describe(parts.root),
            turned_away=self._turned_away(),
        )
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})
