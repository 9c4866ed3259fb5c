"""What every engine can be asked, whoever makes it: llama.cpp, Ollama, any OpenAI-compatible server.

An engine is another process (it may crash or hold the GIL; the node must not). Its adapter lives on
the node's I/O loop, owns no thread, and keeps no queue: the node owns the queue and never has more
than `slots` requests in one engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from opengateway.engines.stream import Stream

Kind: TypeAlias = Literal["chat", "completion", "embedding"]


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One request for one engine.

    `body` is the OpenAI request body (checked by the gateway) without `model` and `stream`.
    `stream` false means: nobody watches, so one chunk with the whole answer is welcome.
    """

    kind: Kind
    model: str
    body: dict[str, Any]
    stream: bool = True
    needs: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Ability -> the field that wants it (`needs.needs_of`): it is only sent where all are met."""
    partial: tuple[str, ...] = ()
    """What another has said of the answer already, chunk by chunk: go on from its end, and do not repeat
    it. Limits in `body` are of the whole. Only for an engine that can "continue"."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as its engine describes it. Zero and "" mean that the engine does not say."""

    name: str
    digest: str = ""
    parameters: float = 0.0
    """Active parameters in billions: the price follows them."""
    quantisation: str = ""
    context: int = 0
    """Tokens, prompt and answer together."""
    size: int = 0
    """Bytes on disk."""
    demo: bool = False
    """The pocket model: never offered beyond this machine's link or a private network."""
    abilities: frozenset[str] = field(default_factory=lambda: frozenset({"chat", "completion"}))
    """Of: chat, completion, embedding, tools, tool_choice, json_schema, logprobs, seed, logit_bias, insert,
    dimensions, truncate, reasoning, template_kwargs, vision, audio, file (see needs.py). "continue": it takes
    up an answer that another has begun (`GenerateRequest.partial`), of every kind that it gives."""


class Engine(Protocol):
    """One engine. All methods are called on the I/O loop."""

    name: str
    """"llama_server", "ollama" or "openai"."""
    slots: int
    """How many requests it answers at once."""

    async def start(self) -> None:
        """Reach the engine, or start it. Raises `EngineUnavailable` with what to do."""

    async def close(self) -> None:
        """Let go of it. A child process has ended, and its port is free, when this returns."""

    async def models(self) -> list[ModelInfo]:
        """What it can serve now. Raises `EngineUnavailable`."""

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        """Answer into `stream`: `put` chunks (awaiting `room()` when it is full), then `finish`.

        Returns when the answer is finished. Raises `RequestError` (`UnknownModel`, `ContextTooLong`,
        `BadRequest`, `EngineFailed`, ...) instead of calling `stream.fail`: the caller decides
        what a failure means. Cancelling the task cancels the request inside the engine, too.
        """

    async def embed(self, request: GenerateRequest) -> dict[str, Any]:
        """The OpenAI embeddings response for `body["input"]`."""

    async def count_prompt(self, request: GenerateRequest) -> int | None:
        """Prompt tokens that this request would have here, without answering it and without a slot. None
        where the engine cannot tell."""

    async def health(self) -> None:
        """Returns if it answers, raises `EngineUnavailable` if it does not."""

    async def ended(self) -> str:
        """Wait until the engine is gone by itself (its process died), and say how. An engine that
        is not ours never ends: there this waits for ever. `close` may cancel whoever waits."""
