"""OpenAI's newer route: POST /v1/responses. Nothing is stored, so there is no other."""

from __future__ import annotations

from aiohttp import web

from actors.kernel import Address
from actors.messages import SchedulerMessage
from opengateway.app.gateway.chat_body import Aliases, read_json, read_scope
from opengateway.app.gateway.delivery import Delivery
from opengateway.app.gateway.door import body_of
from opengateway.app.gateway.errors import error_response
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.responses_body import read_response
from opengateway.app.gateway.responses_events import ResponseEvents
from opengateway.errors import UnknownModel


class NotStored(UnknownModel):
    """Responses are not stored here."""

    code = "response_not_found"


class ResponsesApi:
    def __init__(
        self, scheduler: Address[SchedulerMessage], meter: Meter, aliases: Aliases, *, patience_s: float
    ) -> None:
        self._aliases = aliases
        self._delivery = Delivery(scheduler, meter, patience_s=patience_s)

    def routes(self) -> list[web.RouteDef]:
        one = "/v1/responses/{rest:.+}"
        elsewhere = [method(one, self.stored) for method in (web.get, web.post, web.delete)]
        return [web.post("/v1/responses", self.create), *elsewhere]

    async def create(self, request: web.Request) -> web.StreamResponse:
        wanted = read_response(read_json(await body_of(request)), self._aliases)
        return await self._delivery.answer(
            request,
            wanted.asked.request,
            lambda job: ResponseEvents(job.id, wanted),
            error_response,
            scope=read_scope(request.headers.get("x-opengateway-scope")),
            streaming=wanted.asked.streaming,
        )

    async def stored(self, _request: web.Request) -> web.Response:
        raise NotStored("responses are not stored here", hint="keep what POST /v1/responses answered")
