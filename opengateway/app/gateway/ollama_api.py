"""Ollama's routes that answer, so that a program made for Ollama works with OLLAMA_HOST set to this node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import orjson
from aiohttp import web

from actors.kernel import Address
from actors.messages import SchedulerMessage
from opengateway.app.gateway import ollama_body
from opengateway.app.gateway.chat_body import Aliases, read_json, read_scope
from opengateway.app.gateway.delivery import Delivery, Refusal
from opengateway.app.gateway.door import body_of
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.ollama_body import OllamaAsked
from opengateway.app.gateway.ollama_lines import Lines, end, error_text, idle_line, not_found, ollama_refusal
from opengateway.app.gateway.ollama_models import OllamaModels
from opengateway.app.gateway.openai_api import Vectors
from opengateway.engines.stream import Chunk, Stream
from opengateway.errors import OpenGatewayError, UnknownModel

Shape: TypeAlias = Callable[[list[Any], dict[str, Any]], dict[str, Any]]
"""Vectors, and the statistics, as the reply of one route."""


class OllamaApi:
    def __init__(
        self,
        scheduler: Address[SchedulerMessage],
        meter: Meter,
        aliases: Aliases,
        models: OllamaModels,
        *,
        patience_s: float,
    ) -> None:
        self._aliases = aliases
        self._models = models
        self._delivery = Delivery(scheduler, meter, patience_s=patience_s)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/chat", self._answering(ollama_body.read_chat, "chat")),
            web.post("/api/generate", self._answering(ollama_body.read_generate, "generate")),
            web.post("/api/embed", self.embed),
            web.post("/api/embeddings", self.embeddings),
        ]

    def _answering(
        self, read: Callable[[dict[str, Any], Aliases], OllamaAsked], route: Literal["chat", "generate"]
    ) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            asked = read(await _body(request), self._aliases)
            if asked.asked is None:
                return await self._idle(request, asked, route)
            return await self._delivery.answer(
                request,
                asked.asked.request,
                lambda _job: Lines(asked.name, route),
                _refusal_about(asked.name),
                scope=read_scope(request.headers.get("x-opengateway-scope")),
                streaming=asked.streaming,
            )

        return handle

    async def _idle(
        self, request: web.Request, asked: OllamaAsked, route: Literal["chat", "generate"]
    ) -> web.Response:
        if "caller" in request:  # whose memory a model stays in is the owner's business, not a key's
            await self._models.find(asked.name)
        else:
            await self._models.keep(asked.name, asked.keep_alive)
        unload = asked.keep_alive in (0, "0", "0s", "0m")
        line = idle_line(asked.name, route, "unload" if unload else "load")
        return web.Response(body=line, content_type="application/json")

    async def embed(self, request: web.Request) -> web.StreamResponse:
        asked = ollama_body.read_embed(await _body(request), self._aliases)
        assert asked.asked is not None
        return await self._embedded(request, asked, lambda vectors, more: {"embeddings": vectors, **more})

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        asked = ollama_body.read_embeddings(await _body(request), self._aliases)
        if asked.asked is None:  # Ollama answers an empty prompt with an empty vector
            await self._models.find(asked.name)
            return web.json_response({"embedding": []})
        return await self._embedded(request, asked, lambda vectors, _: {"embedding": vectors[0]})

    async def _embedded(
        self,
        request: web.Request,
        asked: OllamaAsked,
        shape: Shape,
    ) -> web.StreamResponse:
        assert asked.asked is not None
        return await self._delivery.answer(
            request,
            asked.asked.request,
            lambda _job: _Vectors(asked.name, shape),
            _refusal_about(asked.name),
            parts=asked.asked.parts,
        )


class _Vectors(Vectors):
    """Embeddings in Ollama's words."""

    def __init__(self, model: str, shape: Shape) -> None:
        self._model, self._shape = model, shape

    def failed(self, error: OpenGatewayError) -> bytes:
        return orjson.dumps({"error": error_text(error)})

    def whole(self, chunks: list[Chunk], stream: Stream) -> bytes:
        reply = next((chunk for chunk in chunks if isinstance(chunk, dict)), {})
        data = reply.get("data")
        rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
        ended = end(stream)
        times = {name: ended[name] for name in ("total_duration", "load_duration", "prompt_eval_count")}
        vectors = [row.get("embedding") for row in rows] or [[]]
        return orjson.dumps(self._shape(vectors, {"model": self._model, **times}))


def _refusal_about(name: str) -> Refusal:
    """An unknown model in the words that Ollama's clients know."""

    def refuse(error: OpenGatewayError, headers: dict[str, str]) -> web.Response:
        shown = not_found(name, error.hint) if isinstance(error, UnknownModel) else error
        return ollama_refusal(shown, headers)

    return refuse


async def _body(request: web.Request) -> dict[str, Any]:
    return read_json(await body_of(request))
