"""/node/trace: what became of a request. The Scheduler keeps the newest ones; nothing of their content."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from actors.kernel import Address, answer
from actors.messages import DescribeTrace, DescribeTraces, SchedulerMessage
from opengateway.errors import BadRequest, UnknownRequest

PATIENCE = 5.0
MOST = 500
ID_LIMIT = 64


class TraceRoutes:
    def __init__(self, scheduler: Address[SchedulerMessage]) -> None:
        self._scheduler = scheduler

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/node/trace", self.newest), web.get("/node/trace/{request}", self.one)]

    async def newest(self, request: web.Request) -> web.Response:
        try:
            limit = min(MOST, max(1, int(request.query.get("limit", "20"))))
        except ValueError as error:
            raise BadRequest("limit must be a whole number") from error
        wanted = DescribeTraces(limit, failed=request.query.get("failed", "0") not in ("", "0"))
        return _json({"requests": await answer(self._scheduler.ask(wanted), PATIENCE)})

    async def one(self, request: web.Request) -> web.Response:
        """By the id, an end of it, or `last`."""
        wanted = request.match_info["request"][:ID_LIMIT]
        found = await answer(self._scheduler.ask(DescribeTrace("" if wanted == "last" else wanted)), PATIENCE)
        if found is None:
            raise UnknownRequest(
                f"no request is remembered under {wanted!r}",
                hint="`opengateway trace --list` shows those that are; a node keeps the newest 500",
            )
        return _json(found)


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
