"""Any OpenAI-compatible server as an engine: vLLM, LM Studio, llama-server, or a paid service.

What such a server can do it tells nobody. `USUAL` is what vLLM, LM Studio and llama-server have in common;
the owner adds to it (`engine.abilities`), and a server that says more of a model is heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from opengateway.engines.llama_continue import go_on, prefix_of
from opengateway.engines.openai_client import OpenAIClient
from opengateway.engines.protocol import GenerateRequest, ModelInfo
from opengateway.engines.resuming import CONTINUE
from opengateway.engines.stream import Stream
from opengateway.errors import EngineUnavailable, RequestError

SLOTS: Final = 8
"""Requests at once where the configuration does not say; such servers batch well beyond it."""
USUAL: Final = frozenset(
    {"chat", "completion", "embedding", "tools", "tool_choice", "json_schema", "seed", "logprobs"}
    | {"logit_bias", "dimensions"}
)
MAX_MODELS: Final = 1000
"""Models believed of one server; the largest reseller lists some 400."""
LLAMA_CPP: Final = "llamacpp"
CONTINUING: Final = frozenset({LLAMA_CPP, "vllm", "sglang"})
"""Who, by what `owned_by` says, takes up an answer that another has begun. OpenAI's protocol has no words for
that; the last two share theirs (`continue_final_message`)."""
VLLM: Final = "vllm"
VLLM_SINCE: Final = (0, 6, 4)
"""0.6.3 says the beginning once more (its issue 10111); older ones do not know the word and begin anew."""


class OpenAIServer:
    """`url` is the API's base, with or without `/v1`. With `model` only that one is served."""

    name = "openai"

    def __init__(
        self,
        url: str,
        api_key: str = "",
        *,
        model: str = "",
        slots: int = SLOTS,
        abilities: Iterable[str] = (),
    ) -> None:
        base = url.rstrip("/")
        if base.count("/") < 3:  # http://host:port and no path
            base += "/v1"
        self.slots = slots
        self._model = model
        self._abilities = USUAL | set(abilities)
        self._client = OpenAIClient(base, api_key)
        self._llama_cpp: frozenset[str] = frozenset()
        """Models that a llama.cpp serves there."""
        self._continuing: frozenset[str] | None = None
        """Of `CONTINUING`; None: not looked yet."""

    async def start(self) -> None:
        await self._client.open()
        try:
            await self.models()
        except BaseException:
            await self._client.close()
            raise

    async def close(self) -> None:
        await self._client.close()

    async def models(self) -> list[ModelInfo]:
        reply = await self._client.get_json("models")
        listed = reply.get("data") if isinstance(reply, dict) else None
        if not isinstance(listed, list):
            raise EngineUnavailable(
                f"{self._client.base} lists no models in OpenAI's format.",
                hint="engine.url must be the base of an OpenAI-compatible API, usually ending in /v1.",
            )
        items = [item for item in listed[:MAX_MODELS] if isinstance(item, dict) and item.get("id")]
        if self._continuing is None:
            old = any(item.get("owned_by") == VLLM for item in items) and await self._vllm_is_old()
            self._continuing = CONTINUING - {VLLM} if old else CONTINUING
        found = [_info(item, self._abilities, self._continuing) for item in items]
        self._llama_cpp = frozenset(str(item["id"]) for item in items if item.get("owned_by") == LLAMA_CPP)
        if not self._model:
            return found
        # A model that is served but not listed (an alias, a private deployment) is the owner's word.
        return [info for info in found if info.name == self._model] or [
            ModelInfo(name=self._model, abilities=self._abilities)
        ]

    async def _vllm_is_old(self) -> bool:
        """By its own word. Where it is not to be had (a proxy lets only /v1 through) it is taken to be new:
        the first that can is of November 2024."""
        try:
            reply = await self._client.get_json("/version")
            given = str(reply["version"]).partition("+")[0].split(".")[:3]
            return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in given) < VLLM_SINCE
        except (RequestError, KeyError, TypeError, ValueError):
            return False

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        model = request.model or self._model
        if request.partial and model in self._llama_cpp:
            await go_on(self._client, request, model, stream)
        else:
            await self._client.answer(request, model, stream)

    async def embed(self, request: GenerateRequest) -> dict[str, Any]:
        return await self._client.embed(request, request.model or self._model)

    async def count_prompt(self, request: GenerateRequest) -> int | None:
        """OpenAI's protocol has no such call; llama.cpp can tell what it goes on from."""
        if request.partial and request.model in self._llama_cpp:
            return (await prefix_of(self._client, request)).tokens
        return None

    async def health(self) -> None:
        await self._client.get_json("models")

    async def ended(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never


def _info(item: dict[str, Any], abilities: frozenset[str], continuing: frozenset[str]) -> ModelInfo:
    """vLLM tells `max_model_len`, llama.cpp a `meta` object, LM Studio `max_context_length`."""
    found = item.get("meta")
    meta = found if isinstance(found, dict) else {}
    lengths = (item.get("max_model_len"), item.get("max_context_length"), meta.get("n_ctx"))
    parameters, size = meta.get("n_params"), meta.get("size")
    told = _told(item) | ({CONTINUE} if item.get("owned_by") in continuing else set())
    return ModelInfo(
        name=str(item["id"])[:200],
        context=next((n for n in lengths if isinstance(n, int) and n > 0), 0),
        parameters=parameters / 1e9 if isinstance(parameters, int) else 0.0,
        size=size if isinstance(size, int) else 0,
        abilities=abilities | told,
    )


def _told(item: dict[str, Any]) -> set[str]:
    """llama.cpp says `capabilities`, OpenRouter `architecture.input_modalities`."""
    architecture = item.get("architecture")
    given = item.get("capabilities")
    words = set(map(str, given)) if isinstance(given, list) else set()
    inputs = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    words |= set(map(str, inputs)) if isinstance(inputs, list) else set()
    return {"vision"} if words & {"multimodal", "image", "vision"} else set()
