"""/node/quote: who would answer, for how much, and whether that node would do it. Nothing is asked for."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from actors.kernel import Address, answer
from actors.lines import Lines
from actors.messages import Appraisal, FindQuote, SchedulerMessage
from opengateway.app.gateway.chat_body import read_body, read_scope
from opengateway.engines.prompt_size import least_prompt_tokens
from opengateway.errors import NotEnoughCredit, OpenGatewayError
from opengateway.identity import short
from opengateway.routing.hold import Hold, hold_for
from opengateway.routing.views import FREE

PATIENCE = 5.0
USUAL_ANSWER = 250
"""Completion tokens that an estimate goes by where the request allows more: most chat answers are shorter."""


class QuoteRoutes:
    def __init__(self, scheduler: Address[SchedulerMessage], lines: Lines) -> None:
        self._scheduler = scheduler
        self._lines = lines

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/node/quote", self.quote)]

    async def quote(self, request: web.Request) -> web.Response:
        """An OpenAI chat body; the scope as `?scope=` or in the header of the real request."""
        asked = read_body(await request.read(), "chat").request
        scope = read_scope(request.query.get("scope") or request.headers.get("x-opengateway-scope"))
        found = await answer(self._scheduler.ask(FindQuote(asked.model, scope)), PATIENCE)
        if isinstance(found, OpenGatewayError):
            raise found
        hold = hold_for("chat", asked.body, found.model.context)
        verdict = {"admitted": True, "unsecured": 0, "missing": 0, "code": "", "message": "", "hint": ""}
        if not isinstance(found.place, str) and found.model.price != FREE:
            verdict |= await self._verdict(found, hold)
        told = _told(found, hold, least_prompt_tokens(asked.body)) | {"verdict": verdict}
        return web.Response(body=orjson.dumps(told), content_type="application/json")

    async def _verdict(self, found: Appraisal, hold: Hold) -> dict[str, Any]:
        assert not isinstance(found.place, str)
        tokens = hold.prompt_tokens, hold.completion_tokens
        try:
            quoted = await self._lines.quote(found.place, "chat", found.model.name, *tokens)
        except OpenGatewayError as error:
            missing = error.missing if isinstance(error, NotEnoughCredit) else 0
            no = {"admitted": False, "missing": missing, "code": error.code}
            return no | {"message": error.message, "hint": error.hint}
        return {"unsecured": quoted.unsecured, "offer": quoted.offer.hex()}


def _told(found: Appraisal, hold: Hold, prompt: int) -> dict[str, Any]:
    """Prices in ucr per token, amounts in ucr. What one's own engine answers costs nothing."""
    here = isinstance(found.place, str)
    price = FREE if here else found.model.price
    usual = min(hold.completion_tokens, USUAL_ANSWER)
    return {
        "local": here,
        "node": "" if isinstance(found.place, str) else short(found.place),
        "name": found.name,
        "ring": found.ring,
        "model": found.model.name,
        "price": {"prompt": price.prompt, "completion": price.completion},
        "tokens": {"prompt_at_most": hold.prompt_tokens, "completion_at_most": hold.completion_tokens},
        "hold": hold.prompt_tokens * price.prompt + hold.completion_tokens * price.completion,
        "estimate": prompt * price.prompt + usual * price.completion,
    }
