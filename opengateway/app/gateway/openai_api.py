"""OpenAI's routes: a request becomes a Job, its stream becomes the response.

The caller who hangs up cancels: aiohttp cancels the handler, the handler cancels the stream, and
whoever fills the stream stops, here or on another node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from actors.kernel import Address, answer
from actors.messages import DescribeModels, Job, SchedulerMessage, Submit
from opengateway.app.gateway.answers import Answer, stats
from opengateway.app.gateway.chat_body import Asked, read_body, read_scope
from opengateway.app.gateway.errors import error_body, error_response
from opengateway.app.gateway.meter import Meter
from opengateway.engines.protocol import Kind
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import AllBusy, OpenGatewayError
from opengateway.units import show_credits

HEADERS_AFTER = 5.0
"""Seconds without a first token after which a streaming caller gets the headers and a sign of life: some
clients give up on a silent connection after ten. Until then an error still gets its status code."""
ALIVE_EVERY = 5.0


class OpenAiApi:
    def __init__(self, scheduler: Address[SchedulerMessage], meter: Meter) -> None:
        self._scheduler = scheduler
        self._meter = meter

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.models),
            web.get("/v1/models/{model:.+}", self.model),
            web.post("/v1/chat/completions", self._handler("chat")),
            web.post("/v1/completions", self._handler("completion")),
            web.post("/v1/embeddings", self._handler("embedding")),
        ]

    async def models(self, _request: web.Request) -> web.Response:
        models = await answer(self._scheduler.ask(DescribeModels()), 5.0)
        data = [_model(model) for model in models]
        return web.json_response({"object": "list", "data": data})

    async def model(self, request: web.Request) -> web.Response:
        wanted = request.match_info["model"]
        for model in await answer(self._scheduler.ask(DescribeModels()), 5.0):
            if model["name"].lower() == wanted.lower():
                return web.json_response(_model(model))
        from opengateway.errors import UnknownModel

        raise UnknownModel(
            f"nobody in reach serves the model {wanted[:80]!r}", hint="GET /v1/models lists them"
        )

    def _handler(self, kind: Kind) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            asked = read_body(await request.read(), kind)
            scope = read_scope(request.headers.get("x-opengateway-scope"))
            job = Job(asked.request, Stream(), scope=scope)
            wants_stats = request.headers.get("x-opengateway-stats", "0") not in ("", "0")
            if not self._scheduler.tell(Submit(job)):
                raise AllBusy("this node is overloaded", retry_after=2.0)
            try:
                if kind == "embedding":
                    return await self._embedding(job)
                if asked.streaming:
                    return await self._streamed(request, job, asked, wants_stats=wants_stats)
                return await self._whole(job, wants_stats=wants_stats)
            except OpenGatewayError as error:
                return error_response(error, {"x-opengateway-request-id": job.id})
            finally:
                job.stream.cancel()
                self._meter.answered(job.stream)

        return handle

    async def _embedding(self, job: Job) -> web.Response:
        chunks, _ = await _collect(job.stream)
        body: dict[str, Any] = next((chunk for chunk in chunks if isinstance(chunk, dict)), {})
        return web.Response(body=orjson.dumps(body), headers=_headers(job), content_type="application/json")

    async def _whole(self, job: Job, *, wants_stats: bool) -> web.Response:
        chunks, finished = await _collect(job.stream)
        headers = _headers(job)
        headers["x-opengateway-credits"] = show_credits(job.stream.cost or 0)
        written = Answer(job.id, job.request.kind, job.request.model)
        extra = stats(job.id, job.stream) if wants_stats else None
        body = written.whole(chunks, finished, extra)
        return web.Response(body=body, headers=headers, content_type="application/json")

    async def _streamed(
        self, request: web.Request, job: Job, asked: Asked, *, wants_stats: bool
    ) -> web.StreamResponse:
        stream = job.stream
        reading = asyncio.ensure_future(stream.read())
        try:
            await asyncio.wait((reading,), timeout=HEADERS_AFTER)
            if reading.done():
                reading.result()  # an error before the first token keeps its status code
            response = web.StreamResponse(headers=_headers(job))
            response.content_type = "text/event-stream"
            response.headers["Cache-Control"] = "no-cache"
            await response.prepare(request)
            while not reading.done():
                waited = time.monotonic() - stream.created
                await response.write(f": waiting for a free slot, {waited:.0f} s so far\n\n".encode())
                await asyncio.wait((reading,), timeout=ALIVE_EVERY)
            try:
                await self._write(response, job, await reading, asked, wants_stats=wants_stats)
            except OpenGatewayError as error:
                await response.write(b"data: " + orjson.dumps(error_body(error)) + b"\n\n")
            await response.write_eof()
            return response
        finally:
            reading.cancel()

    async def _write(
        self, response: web.StreamResponse, job: Job, chunks: list[Chunk], asked: Asked, *, wants_stats: bool
    ) -> None:
        stream = job.stream
        written = Answer(job.id, job.request.kind, job.request.model)
        written.open(job.request.model)
        while chunks:
            await response.write(written.pieces(chunks))
            chunks = await stream.read()
        assert stream.finished is not None
        extra = stats(job.id, stream) if wants_stats else None
        closing = written.closing(stream.finished, usage=asked.include_usage, stats=extra)
        await response.write(closing)


async def _collect(stream: Stream) -> tuple[list[Chunk], Finished]:
    chunks: list[Chunk] = []
    while more := await stream.read():
        chunks += more
    assert stream.finished is not None
    return chunks, stream.finished


def _headers(job: Job) -> dict[str, str]:
    route = job.stream.route
    return {
        "x-opengateway-request-id": job.id,
        "x-opengateway-route": route.ring if route else "",
        "x-opengateway-node": route.node if route else "",
    }


def _model(model: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": model["name"],
        "object": "model",
        "created": 0,
        "owned_by": "this-node" if model["local"] else "opengateway",
        "opengateway": {"nodes": model["nodes"], "local": model["local"], "context": model["context"]},
    }
