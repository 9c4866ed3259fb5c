"""A request becomes a Job, and its stream the response, in whichever protocol the caller speaks.

The caller who hangs up cancels: aiohttp cancels the handler, the handler cancels the stream, and
whoever fills the stream stops, here or on another node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

from aiohttp import web

from actors.kernel import Address
from actors.messages import QUEUE_PATIENCE, Job, SchedulerMessage
from actors.parts import submit
from opengateway.app.gateway.callers import NOBODY, Caller
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.patience import headers_after, signs_of_life, waiting_job
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Chunk, Stream
from opengateway.errors import OpenGatewayError
from opengateway.routing.parts import Part, limited
from opengateway.units import show_credits


class Writer(Protocol):
    """An answer in the words of one protocol."""

    streamed_as: str
    """Content type of a stream."""

    def begin(self, model: str) -> bytes:
        """The model that really answers is known now. What goes before its first token."""

    def waiting(self, words: str) -> bytes:
        """A sign of life while nobody answers yet: "2nd in queue, about 8 s", or what else is waited for."""

    def pieces(self, chunks: list[Chunk]) -> bytes: ...

    def closing(self, stream: Stream) -> bytes:
        """What stands at the end; the stream is finished."""

    def failed(self, error: OpenGatewayError) -> bytes:
        """The answer broke off after its beginning was sent."""

    def whole(self, chunks: list[Chunk], stream: Stream) -> bytes:
        """The answer in one piece, as JSON."""


Refusal: TypeAlias = Callable[[OpenGatewayError, dict[str, str]], web.Response]
"""An error, and headers, as an HTTP response."""


class Delivery:
    def __init__(
        self, scheduler: Address[SchedulerMessage], meter: Meter, *, patience_s: float = QUEUE_PATIENCE
    ) -> None:
        self._scheduler = scheduler
        self._meter = meter
        self._patience_s = patience_s

    async def answer(
        self,
        request: web.Request,
        asked: GenerateRequest,
        make: Callable[[Job], Writer],
        refuse: Refusal,
        *,
        scope: str = "anywhere",
        streaming: bool = False,
        parts: list[Part] | None = None,
    ) -> web.StreamResponse:
        """`parts`: what the request consists of, if it is several."""
        caller: Caller = request.get("caller", NOBODY)
        job = waiting_job(asked, scope, request.headers, self._patience_s)
        job.request = caller.admit(asked, len(parts or ()))
        if parts and job.request.body is not asked.body:
            parts = limited(parts, job.request.body["max_tokens"])
        try:
            submit(self._scheduler, job, parts or [])
            if streaming:
                return await _streamed(request, job, make(job))
            return await _whole(job, make(job))
        except OpenGatewayError as error:
            return refuse(error, {"x-opengateway-request-id": job.id})
        finally:
            job.stream.cancel()
            self._meter.answered(job)
            caller.settle(job.stream)

    async def collected(
        self, job: Job, caller: Caller, make: Callable[[Job], Writer], parts: list[Part]
    ) -> bytes:
        """The answer to a job that no HTTP request has brought, in one piece. Raises what it fails with."""
        before = job.request
        job.request = caller.admit(before, len(parts))
        if parts and job.request.body is not before.body:
            parts = limited(parts, job.request.body["max_tokens"])
        try:
            submit(self._scheduler, job, parts)
            body = (await _whole(job, make(job))).body
            assert isinstance(body, bytes)
            return body
        finally:
            job.stream.cancel()
            self._meter.answered(job)
            caller.settle(job.stream)


async def _whole(job: Job, writer: Writer) -> web.Response:
    stream = job.stream
    chunks: list[Chunk] = []
    while more := await stream.read():
        chunks += more
    headers = _headers(job)
    headers["x-opengateway-credits"] = show_credits(stream.cost or 0)
    writer.begin(_model(job))
    body = writer.whole(chunks, stream)
    return web.Response(body=body, headers=headers, content_type="application/json")


async def _streamed(request: web.Request, job: Job, writer: Writer) -> web.StreamResponse:
    stream = job.stream
    reading = asyncio.ensure_future(stream.read())
    try:
        await asyncio.wait((reading,), timeout=headers_after(request.headers.get("x-opengateway-waiting")))
        if reading.done():
            reading.result()  # an error before the first token keeps its status code
        response = web.StreamResponse(headers=_headers(job))
        response.content_type = writer.streamed_as
        response.headers["Cache-Control"] = "no-cache"
        await response.prepare(request)
        async for words in signs_of_life(stream, reading):
            await response.write(writer.waiting(words))
        try:
            chunks = await reading
            before = writer.begin(_model(job))
            while chunks:
                await response.write(before + writer.pieces(chunks))
                before = b""
                chunks = await stream.read()
            await response.write(before + writer.closing(stream))
        except OpenGatewayError as error:
            await response.write(writer.failed(error))
        await response.write_eof()
        return response
    finally:
        reading.cancel()


def _model(job: Job) -> str:
    """The one that answers. A request of several parts that named none learns it from whoever took part."""
    route = job.stream.route
    return job.request.model or (route.model if route else "")


def _headers(job: Job) -> dict[str, str]:
    """Of an answer that two nodes have given both are named, in order; of one that is streamed, who had begun
    when the headers went out (its last event, with `x-opengateway-stats`, names all)."""
    stream = job.stream
    routes = stream.routes or ([stream.route] if stream.route else [])
    return {
        "x-opengateway-request-id": job.id,
        "x-opengateway-route": ", ".join(route.ring for route in routes),
        "x-opengateway-node": ", ".join(route.node for route in routes),
    }
