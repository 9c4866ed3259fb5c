"""Ollama's routes about models: what there is, what runs, and fetching one into this node's engine.

The models are the network's, not only this machine's. What changes a machine's own models beyond fetching one
stays with `opengateway models`, as a node may answer to more people than its owner.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import orjson
from aiohttp import web

from actors.kernel import Address, answer
from actors.messages import DescribeModels, SchedulerMessage
from opengateway import __version__
from opengateway.app.gateway.callers import NOBODY, Caller
from opengateway.app.gateway.chat_body import Aliases, read_json
from opengateway.app.gateway.door import body_of
from opengateway.app.gateway.ollama_body import PULL, SHOW, asked_about
from opengateway.app.gateway.ollama_lines import error_text, not_found, now
from opengateway.engines.protocol import Engine
from opengateway.errors import BadRequest, OpenGatewayError, Unsupported
from opengateway.routing.placement import plain_name
from opengateway.routing.views import WorkerView

SPEAKS = "0.12.11"
"""The version of Ollama whose API this is."""
CAPABILITIES = {
    "completion": "completion", "chat": "completion", "tools": "tools", "vision": "vision",
    "insert": "insert", "embedding": "embedding", "reasoning": "thinking",
}  # fmt: skip
"""Our abilities in Ollama's words."""
UNLOADED_NEVER = timedelta(days=365)
"""When a model expires that its engine never lets go of."""


@runtime_checkable
class Library(Protocol):
    """An engine that fetches, loads and describes models in Ollama's words."""

    def pull(self, name: str) -> AsyncIterator[dict[str, Any]]: ...

    async def show(self, name: str) -> Any: ...

    async def loaded(self) -> list[str]: ...

    async def keep(self, name: str, keep_alive: Any) -> None: ...


class OwnersOnly(OpenGatewayError):
    """This is for the owner of the node."""

    code = "owners_only"
    status = 403


class OllamaModels:
    def __init__(
        self,
        scheduler: Address[SchedulerMessage],
        aliases: Aliases,
        *,
        engines: Mapping[str, Engine],
        workers: Mapping[str, WorkerView],
        look: Callable[[], object],
    ) -> None:
        """`look`: have the node look for models now."""
        self._scheduler = scheduler
        self._aliases = aliases
        self._engines, self._workers = engines, workers
        self._look = look
        self._since = now()

    def routes(self) -> list[web.RouteDef]:
        get, post = web.get, web.post
        return [
            get("/api/version", self.version),
            get("/api/tags", self.tags),
            get("/api/ps", self.ps),
            post("/api/show", self.show),
            post("/api/pull", self.pull),
            web.delete("/api/delete", self._owners("model")),
            post("/api/copy", self._owners("source")),
            post("/api/create", self._owners("model")),
            post("/api/push", self._owners("model")),
        ]

    # -- models --------------------------------------------------------------------------------

    async def version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": SPEAKS, "opengateway": __version__})

    async def tags(self, request: web.Request) -> web.Response:
        caller: Caller = request.get("caller", NOBODY)
        served = [m for m in await self._served() if caller.allows(m.get("means", m["name"]))]
        return web.json_response({"models": [self._tag(model) for model in served]})

    async def ps(self, _request: web.Request) -> web.Response:
        """What this machine's engines have in memory; what others have loaded is theirs to know."""
        never = (datetime.now(UTC) + UNLOADED_NEVER).strftime("%Y-%m-%dT%H:%M:%SZ")
        served = {plain_name(model["name"]): model for model in await self._served()}
        found = []
        for view in list(self._workers.values()):
            engine = self._engines.get(view.name)
            if view.state != "running" or engine is None:
                continue
            names = [model.name for model in view.models]
            if isinstance(engine, Library):
                names = await engine.loaded()
            found += [
                self._tag(served[plain_name(name)])
                | {"expires_at": never, "size_vram": 0, "context_length": served[plain_name(name)]["context"]}
                for name in names
                if plain_name(name) in served
            ]
        return web.json_response({"models": found})

    async def show(self, request: web.Request) -> web.Response:
        body = read_json(await body_of(request))
        name = asked_about(body, SHOW)
        model = await self.find(name)
        for view in list(self._workers.values()):
            engine = self._engines.get(view.name)
            here = view.state == "running" and any(one.name == model["name"] for one in view.models)
            if here and engine is not None and isinstance(engine, Library):
                shown = await engine.show(model["name"])
                return web.json_response(shown.model_dump(mode="json", by_alias=True, exclude_none=True))
        tag = self._tag(model)
        info = {
            "general.architecture": "unknown",
            "general.parameter_count": model["parameters_m"] * 1_000_000,
        }
        if model["context"]:
            info["unknown.context_length"] = model["context"]
        return web.json_response(
            {
                "modelfile": f"# {model['name']}, served by {model['nodes']} node(s) of this network\n",
                "parameters": "",
                "template": "",
                "details": tag["details"],
                "model_info": info,
                "capabilities": tag["capabilities"],
                "modified_at": self._since,
            }
        )

    async def pull(self, request: web.Request) -> web.StreamResponse:
        """Fetch a model into this node's engine. No API key may do that: it is the owner's disk."""
        body = read_json(await body_of(request))
        name = asked_about(body, PULL)
        if "caller" in request:
            raise OwnersOnly(
                "an API key cannot fetch models", hint="the owner uses `opengateway models pull`"
            )
        library = next((one for one in self._engines.values() if isinstance(one, Library)), None)
        if library is None:
            raise Unsupported(
                "no engine of this node can fetch models",
                hint="install Ollama and start it, or: opengateway models import FILE.gguf",
            )
        steps = library.pull(name)
        if body.get("stream") is False:
            last: dict[str, Any] = {}
            async for step in steps:
                last = step
            self._look()
            return web.json_response({"status": last.get("status", "success")})
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            async for step in steps:
                await response.write(orjson.dumps(_progress(step)) + b"\n")
        except OpenGatewayError as error:
            await response.write(orjson.dumps({"error": error_text(error)}) + b"\n")
        self._look()
        await response.write_eof()
        return response

    def _owners(self, field: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            body = read_json(await body_of(request))
            name = body.get(field) or body.get("name")
            if not isinstance(name, str) or not name:
                raise BadRequest(f"{field} is required", param=field)
            if request.path != "/api/create":
                await self.find(name)
            raise Unsupported(
                f"{request.path} is not offered here", hint="the owner uses `opengateway models`", param=field
            )

        return handle

    # -- for the answers -----------------------------------------------------------------------

    async def keep(self, name: str, keep_alive: Any) -> None:
        """Have an engine of this node load or unload a model, if that is up to us."""
        model = await self.find(name)
        for view in list(self._workers.values()):
            engine = self._engines.get(view.name)
            here = any(one.name == model["name"] for one in view.models)
            if here and engine is not None and isinstance(engine, Library):
                await engine.keep(model["name"], keep_alive)

    # -- below ---------------------------------------------------------------------------------

    async def _served(self) -> list[dict[str, Any]]:
        models = await answer(self._scheduler.ask(DescribeModels()), 5.0)
        return [*models, *self._aliases.among(models)]

    async def find(self, name: str) -> dict[str, Any]:
        """Raises `UnknownModel` in Ollama's words."""
        wanted = plain_name(self._aliases.resolve(name))
        for model in await self._served():
            if plain_name(model["name"]) == wanted:
                return model
        raise not_found(name)

    def _tag(self, model: dict[str, Any]) -> dict[str, Any]:
        name = model["name"] if ":" in model["name"] else model["name"] + ":latest"
        millions = model["parameters_m"]
        size = f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions}M" if millions else ""
        details: dict[str, Any] = {
            "parent_model": "",
            "format": "gguf",
            "family": "",
            "families": None,
            "parameter_size": size,
            "quantization_level": model["quantisation"],
        }
        if model["context"]:
            details["context_length"] = model["context"]
        return {
            "name": name,
            "model": name,
            "modified_at": self._since,
            "size": model["size"],
            # `ollama ls` shows its first 12 characters, and breaks off where there are none.
            "digest": model["digest"] or "0" * 64,
            "details": details,
            "capabilities": sorted({CAPABILITIES[one] for one in model["abilities"] if one in CAPABILITIES}),
        }


def _progress(step: dict[str, Any]) -> dict[str, Any]:
    """Ollama leaves out what there is no number for."""
    return {name: value for name, value in step.items() if name == "status" or value}
