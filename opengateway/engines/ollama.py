"""Ollama as an engine.

Control calls go through the `ollama` package, imported only when one is made (it brings httpx and
pydantic: 15 MB). Tokens do not: that package costs 128 us a chunk, reading the lines ourselves 29.

Ollama queues without limit and sends no header before the first token, so the node owns the queue and
no time limit stands here. 503 means that a model is being loaded, never that there is too much load.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from opengateway.engines import ollama_format as fmt
from opengateway.engines.connection import Response
from opengateway.engines.http import EngineHttp
from opengateway.engines.openai_format import error_of, prompt_bytes
from opengateway.engines.pool import Pool
from opengateway.engines.protocol import GenerateRequest, ModelInfo
from opengateway.engines.resuming import CONTINUE
from opengateway.engines.stream import Finished, Stream
from opengateway.errors import ConfigInvalid, EngineUnavailable, RequestError

if TYPE_CHECKING:
    import ollama

SLOTS: Final = 1
"""OLLAMA_NUM_PARALLEL's default."""
CONTEXT: Final = 4096
"""Tokens that Ollama gives a model unless it is told otherwise, whatever the model could take."""
DETECT_S: Final = 0.5
"""Seconds in which a server on this machine says what it is; measured 2 ms."""
LOADING_S: Final = 600.0
"""Seconds to wait while Ollama answers 503: a 40 GB model from a slow disk takes minutes."""
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 2.0
CONTROL_S: Final = 30.0
MAX_MODELS: Final = 1000
"""Models believed of one server."""


def default_url() -> str:
    """Where Ollama is by its own rules: OLLAMA_HOST, else http://127.0.0.1:11434. The variable also
    tells the server where to listen, so it may be `0.0.0.0`, which is here."""
    given = os.environ.get("OLLAMA_HOST", "").strip().rstrip("/")
    scheme, slashes, rest = given.rpartition("://")
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:  # no port, or the colon belongs to an IPv6 address
        host, port = rest, ""
    if host in ("", "0.0.0.0", "[::]"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"{scheme if slashes else 'http'}://{host}:{port or 11434}"


async def detect(url: str) -> bool:
    """Whether Ollama answers there. `/` tells it from a gateway that only speaks its API: this very
    node may stand on the address that OLLAMA_HOST names."""
    try:
        pool = Pool(url, {})
    except ConfigInvalid:
        return False
    try:
        async with asyncio.timeout(DETECT_S):
            reply = await pool.request("GET", "/", b"")
            return b"Ollama is running" in await reply.some()
    except (TimeoutError, OSError):
        return False
    finally:
        await pool.close()


class Ollama:
    """`context`: tokens to load a model with; None leaves it to Ollama, so that a model which the owner
    uses is not loaded anew for us."""

    name = "ollama"

    def __init__(
        self, url: str = "", *, model: str = "", slots: int = SLOTS, context: int | None = None
    ) -> None:
        self.slots = slots
        self.url = url or default_url()
        self._model = model
        self._context = context
        self._http = EngineHttp(self.url)
        self._targets = {kind: self._http.target(path) for kind, path in fmt.PATHS.items()}
        self._control: ollama.AsyncClient | None = None
        self._known: dict[str, ModelInfo] = {}
        """By name and digest, so that a model is asked about once."""
        self._logprobs: bool | None = None
        """Whether this version gives them; older ones leave the field aside without a word."""

    async def start(self) -> None:
        if not await detect(self.url):
            raise self._away()
        await self._http.open()

    async def close(self) -> None:
        await self._http.close()
        if self._control is not None:
            control, self._control = self._control, None
            await _let_go(control)

    async def health(self) -> None:
        await self._http.get_json("api/version")

    async def ended(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def count_prompt(self, request: GenerateRequest) -> int | None:
        """Ollama has no such call."""
        del request
        return None

    # -- answers ---------------------------------------------------------------------

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        if request.kind == "embedding":
            reply = await self.embed(request)
            stream.put([reply])
            stream.finish(Finished("stop", reply["usage"]["prompt_tokens"], 0))
            return
        model = request.model or self._model
        response = await self._post(request, fmt.body_for(request, model, self._context))
        lines = fmt.LineStream(prompt_bytes(request.body))
        try:
            if request.stream:
                await self._http.copy(response, lines, stream)
            else:
                stream.put(lines.read(await self._http.read(response)))
                stream.finish(lines.finished())
        finally:
            response.close()  # after the end of the body this leaves a pooled connection alone

    async def embed(self, request: GenerateRequest) -> dict[str, Any]:
        model = request.model or self._model
        response = await self._post(request, fmt.body_for(request, model, None))
        try:
            reply = await self._http.whole(response)
        finally:
            response.close()
        return fmt.embeddings(reply, model, str(request.body.get("encoding_format")))

    async def _post(self, request: GenerateRequest, body: bytes) -> Response:
        """The response, once it is a good one. Waits while Ollama is loading a model."""
        waited, pause = 0.0, FIRST_WAIT_S
        while True:
            response = await self._http.post(self._targets[request.kind], body)
            if response.status == 200:
                return response
            try:
                error = await self._http.refusal(response)
            finally:
                response.close()
            if response.status != 503 or waited > LOADING_S:
                raise error
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_WAIT_S)

    # -- control ---------------------------------------------------------------------

    async def models(self) -> list[ModelInfo]:
        listed = (await self._call(self._client().list())).models[:MAX_MODELS]
        if self._logprobs is None and listed:
            self._logprobs = fmt.gives_logprobs(await self._http.get_json("api/version"))
        found = []
        for item in listed:
            name = (item.model or "").removesuffix(":latest")
            if self._model and self._model.removesuffix(":latest") != name:
                continue
            key = f"{item.model} {item.digest}"
            if key not in self._known:
                self._known[key] = self._describe(name, item, await self.show(item.model or ""))
            found.append(self._known[key])
        return found

    async def show(self, name: str) -> ollama.ShowResponse:
        shown: ollama.ShowResponse = await self._call(self._client().show(name))
        return shown

    async def loaded(self) -> list[str]:
        """Names of the models in memory now."""
        return [item.model or "" for item in (await self._call(self._client().ps())).models]

    async def keep(self, name: str, keep_alive: Any) -> None:
        """Load a model, or unload it with a `keep_alive` of 0."""
        client = self._client(timeout=LOADING_S)
        try:
            await self._call(client.generate(name, "", keep_alive=keep_alive))
        finally:
            await _let_go(client)

    async def remove(self, name: str) -> None:
        await self._call(self._client().delete(name))

    async def pull(self, name: str) -> AsyncIterator[dict[str, Any]]:
        """Fetches a model: yields {"status", "completed", "total"}, bytes of the part at hand."""
        client = self._client(timeout=None)
        try:
            async for step in await self._call(client.pull(name, stream=True)):
                yield {"status": step.status, "completed": step.completed or 0, "total": step.total or 0}
        except RequestError:
            raise
        except Exception as error:
            raise self._meaning(error) from error
        finally:
            await _let_go(client)

    def _client(self, timeout: float | None = CONTROL_S) -> ollama.AsyncClient:
        import ollama

        if timeout != CONTROL_S:
            return ollama.AsyncClient(self.url, timeout=timeout, trust_env=False)
        if self._control is None:
            self._control = ollama.AsyncClient(self.url, timeout=timeout, trust_env=False)
        return self._control

    async def _call(self, call: Any) -> Any:
        try:
            return await call
        except Exception as error:
            raise self._meaning(error) from error

    def _meaning(self, error: Exception) -> RequestError:
        """The package raises its own ResponseError, the built-in ConnectionError and all of httpx's."""
        import ollama

        if isinstance(error, ollama.ResponseError):
            return error_of(200 if error.status_code < 0 else error.status_code, error.error)
        return self._away()

    def _away(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"Ollama does not answer at {self.url}.",
            hint="Start it with: ollama serve. Or set engine.url to where it runs.",
            retry_after=5.0,
        )

    def _describe(self, name: str, item: Any, shown: Any) -> ModelInfo:
        details, facts = item.details, shown.modelinfo or {}
        architecture = str(facts.get("general.architecture", ""))
        trained = facts.get(f"{architecture}.context_length")
        context = self._context or CONTEXT
        offered = set(shown.capabilities or ["completion"])
        abilities = {"json_schema", "seed"} if "completion" in offered else set()
        abilities |= offered & {"completion", "embedding", "tools", "vision", "insert"}
        if "completion" in offered:
            abilities |= {"chat", "logprobs"} if self._logprobs else {"chat"}
            if fmt.continues(shown.template or "", offered, shown.modelfile or ""):
                abilities.add(CONTINUE)
        if "thinking" in offered:
            abilities.add("reasoning")
        if "embedding" in offered:
            abilities |= {"dimensions", "truncate"}
        return ModelInfo(
            name=name,
            digest=(item.digest or "").removeprefix("sha256:"),
            parameters=_billions(details.parameter_size if details else None),
            quantisation=(details.quantization_level if details else None) or "",
            context=min(context, trained) if isinstance(trained, int) else context,
            size=int(item.size or 0),
            abilities=frozenset(abilities),
        )


async def _let_go(client: Any) -> None:
    """Versions of the package before 0.6 cannot be closed; there the garbage collector does it."""
    if hasattr(client, "close"):
        await client.close()


def _billions(text: str | None) -> float:
    """`1.16M` -> 0.00116, `8.0B` -> 8.0; 0.0 where it is neither."""
    units = {"K": 1e-6, "M": 1e-3, "B": 1.0, "T": 1e3}
    try:
        return float(text[:-1]) * units[text[-1].upper()] if text else 0.0
    except (ValueError, KeyError):
        return 0.0
