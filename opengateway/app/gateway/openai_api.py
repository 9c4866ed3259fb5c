"""OpenAI's routes: models, chats, completions, embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from actors.kernel import Address, answer
from actors.messages import QUEUE_PATIENCE, DescribeModels, Job, SchedulerMessage
from actors.parts import PartPiece
from opengateway.app.gateway.answers import Answer, stats
from opengateway.app.gateway.callers import NOBODY, Caller
from opengateway.app.gateway.chat_body import NO_ALIASES, Aliases, Asked, read_body, read_scope
from opengateway.app.gateway.delivery import Delivery, Writer
from opengateway.app.gateway.door import body_of
from opengateway.app.gateway.errors import error_body, error_response
from opengateway.app.gateway.meter import Meter
from opengateway.engines.protocol import Kind
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import OpenGatewayError, UnknownModel
from opengateway.routing.placement import plain_name


class OpenAiApi:
    def __init__(
        self,
        scheduler: Address[SchedulerMessage],
        meter: Meter,
        aliases: Aliases = NO_ALIASES,
        *,
        patience_s: float = QUEUE_PATIENCE,
    ) -> None:
        self._scheduler = scheduler
        self._aliases = aliases
        self._delivery = Delivery(scheduler, meter, patience_s=patience_s)
        self.chat = self._handler("chat")
        """The dashboard's chat box is answered as /v1/chat/completions is."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.models),
            web.get("/v1/models/{model:.+}", self.model),
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self._handler("completion")),
            web.post("/v1/embeddings", self._handler("embedding")),
        ]

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": await self._served(request)})

    async def model(self, request: web.Request) -> web.Response:
        wanted = request.match_info["model"]
        for model in await self._served(request):
            if plain_name(model["id"]) == plain_name(wanted):
                return web.json_response(model)
        raise UnknownModel(
            f"nobody in reach serves the model {wanted[:80]!r}", hint="GET /v1/models lists them"
        )

    async def _served(self, request: web.Request) -> list[dict[str, Any]]:
        """What can be asked for now, and the aliases that mean something that can."""
        models = await answer(self._scheduler.ask(DescribeModels()), 5.0)
        caller: Caller = request.get("caller", NOBODY)
        aliased = self._aliases.among(models)
        return [
            _model(model) for model in (*models, *aliased) if caller.allows(model.get("means", model["name"]))
        ]

    def _handler(self, kind: Kind) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            asked = read_body(await body_of(request), kind, self._aliases)
            scope = read_scope(request.headers.get("x-opengateway-scope"))
            with_stats = request.headers.get("x-opengateway-stats", "0") not in ("", "0")

            def make(job: Job) -> Writer:
                if kind == "embedding":
                    return Vectors()
                return Events(job, asked, with_stats=with_stats)

            streaming = asked.streaming and kind != "embedding"
            return await self._delivery.answer(
                request,
                asked.request,
                make,
                error_response,
                scope=scope,
                streaming=streaming,
                parts=asked.parts,
            )

        return handle


class Events:
    """Server-sent events, or one object: see delivery.Writer. Each piece says whose choice it is."""

    streamed_as = "text/event-stream"

    def __init__(self, job: Job, asked: Asked, *, with_stats: bool) -> None:
        several = asked.parts if len(asked.parts) > 1 else [None]
        self._answers = [
            Answer(job.id, job.request.kind, job.request.model, index=index) for index in range(len(several))
        ]
        self._echoes = _echoes(asked)
        self._id = job.id
        self._asked = asked
        self._with_stats = with_stats
        self.pieces = self._answers[0].pieces if len(several) == 1 else self._several

    def begin(self, model: str) -> bytes:
        for written in self._answers:
            written.open(model)
        pairs = zip(self._answers, self._echoes, strict=False)
        return b"".join(written.pieces([echo]) for written, echo in pairs)

    def waiting(self, words: str) -> bytes:
        return f": {words}\n\n".encode()

    def _several(self, chunks: list[Chunk]) -> bytes:
        written = []
        for piece in chunks:
            assert isinstance(piece, PartPiece)
            choice = self._answers[piece.part]
            if piece.finished is not None:
                written.append(choice.ending(piece.finished))
            else:
                written.append(choice.pieces([piece if piece.plain is None else piece.plain]))
        return b"".join(written)

    def closing(self, stream: Stream) -> bytes:
        assert stream.finished is not None
        ending = self._answers[0].ending(stream.finished) if len(self._answers) == 1 else b""
        usage = self._asked.include_usage
        return ending + self._answers[0].closing(stream.finished, usage=usage, stats=self._stats(stream))

    def failed(self, error: OpenGatewayError) -> bytes:
        return b"data: " + orjson.dumps(error_body(error)) + b"\n\n"

    def whole(self, chunks: list[Chunk], stream: Stream) -> bytes:
        assert stream.finished is not None
        parts = [(chunks, stream.finished)] if len(self._answers) == 1 else _by_part(chunks)
        echoes: list[list[Chunk]] = [[echo] for echo in self._echoes] or [[] for _ in parts]
        choices = [
            written.choice(echo + own, finished)
            for written, echo, (own, finished) in zip(self._answers, echoes, parts, strict=True)
        ]
        return self._answers[0].whole(choices, stream.finished, self._stats(stream))

    def _stats(self, stream: Stream) -> dict[str, Any] | None:
        return stats(self._id, stream) if self._with_stats else None


def _echoes(asked: Asked) -> list[str]:
    """What stands before each choice; empty where nothing does."""
    return [part.body["prompt"] for part in asked.parts] if asked.echo else []


def _by_part(chunks: list[Chunk]) -> list[tuple[list[Chunk], Finished]]:
    """Pieces of several answers, sorted out."""
    found: dict[int, list[Chunk]] = {}
    ends: dict[int, Finished] = {}
    for piece in chunks:
        assert isinstance(piece, PartPiece)
        if piece.finished is not None:
            ends[piece.part] = piece.finished
        else:
            found.setdefault(piece.part, []).append(piece if piece.plain is None else piece.plain)
    return [(found.get(part, []), ends[part]) for part in sorted(ends)]


class Vectors:
    """The embeddings response of the engine, which is OpenAI's already. Never streamed."""

    streamed_as = "application/json"

    def begin(self, model: str) -> bytes:
        del model
        return b""

    def waiting(self, words: str) -> bytes:
        del words
        return b""

    def pieces(self, chunks: list[Chunk]) -> bytes:
        return orjson.dumps(next((chunk for chunk in chunks if isinstance(chunk, dict)), {}))

    def closing(self, stream: Stream) -> bytes:
        del stream
        return b""

    def failed(self, error: OpenGatewayError) -> bytes:
        return orjson.dumps(error_body(error))

    def whole(self, chunks: list[Chunk], stream: Stream) -> bytes:
        del stream
        return self.pieces(chunks)


def _model(model: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": model["name"],
        "object": "model",
        "created": 0,
        "owned_by": "this-node" if model["local"] else "opengateway",
        "opengateway": {
            "nodes": model["nodes"],
            "local": model["local"],
            "context": model["context"],
            "abilities": model["abilities"],
        },
    }
