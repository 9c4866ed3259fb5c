"""The OpenAI formats, as pure functions: request body out, event stream and whole answers in, errors in.

Source: the OpenAI API reference, and what llama.cpp, vLLM, Ollama and LM Studio really send (usage in
the last choice or in a choice-less event, `error` events under HTTP 200, CRLF, no `[DONE]`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.resuming import tokens_left, with_limit
from opengateway.engines.stream import Chunk, Finished
from opengateway.errors import (
    AllBusy,
    BadRequest,
    ContextTooLong,
    EngineFailed,
    EngineUnavailable,
    RequestError,
    UnknownModel,
)

MAX_EVENT: Final = 1024 * 1024
"""Bytes of one event: the frame limit of our own wire, which it would have to cross."""

_SAMPLING: Final = frozenset({
    "chat_template_kwargs", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "min_p", "parallel_tool_calls", "presence_penalty", "reasoning_effort",
    "repeat_penalty", "repetition_penalty", "response_format", "seed", "stop", "temperature",
    "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "typical_p",
})  # fmt: skip
# Whoever asks may be a stranger, so an engine sees only fields that shape this one answer: llama.cpp
# would also obey `id_slot`, `lora` or `grammar`, a paid service `service_tier` or `store`.
FIELDS: Final[dict[str, frozenset[str]]] = {
    "chat": _SAMPLING | {"messages"},
    "completion": _SAMPLING | {"prompt", "suffix"},
    "embedding": frozenset({"input", "encoding_format", "dimensions"}),
}
_SPELLINGS: Final = (("repeat_penalty", "repetition_penalty"), ("repetition_penalty", "repeat_penalty"))
"""llama.cpp's name for one thing and vLLM's: both are sent, and each server reads its own."""
PATHS: Final = {"chat": "chat/completions", "completion": "completions", "embedding": "embeddings"}


def body_for(request: GenerateRequest, model: str, *, stream: bool, usage: bool = True) -> bytes:
    """The JSON to post. Raises `BadRequest` for more than one choice: the node splits those jobs."""
    known = FIELDS[request.kind]
    body = {key: value for key, value in request.body.items() if key in known}
    if request.body.get("n") not in (None, 1):
        raise BadRequest("An engine gives one choice at a time.", hint="Ask with n = 1, several times.")
    if request.partial:
        body = continued(request.kind, body, request.partial)
    body["model"] = model
    for ours, theirs in _SPELLINGS:
        if ours in body:
            body.setdefault(theirs, body[ours])
    if stream:
        body["stream"] = True
        if usage:
            body["stream_options"] = {"include_usage": True}
    try:
        return orjson.dumps(body)
    except TypeError as error:  # orjson's limits: 64-bit integers, valid UTF-8
        raise BadRequest(f"The request cannot be written as JSON: {error}.") from error


def continued(kind: str, body: dict[str, Any], partial: Sequence[str]) -> dict[str, Any]:
    """The body of a request that goes on with an answer, in the words of vLLM and SGLang. They may cut blanks
    off the end of a message, so what `blanks_after` gives is left for the answer to begin with."""
    body = with_limit(body, tokens_left(body, len(partial)))
    text = "".join(partial)
    if kind == "completion":
        return body | {"prompt": f"{body.get('prompt') or ''}{text}"}
    messages = [*body["messages"], {"role": "assistant", "content": text.rstrip()}]
    return body | {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}


def blanks_after(request: GenerateRequest) -> str:
    """What of the partial answer is not sent along: the rest must begin with it."""
    text = "".join(request.partial) if request.kind == "chat" else ""
    return text[len(text.rstrip()) :]


def beyond_blanks(text: str, blanks: str) -> tuple[str, str]:
    """The text without the blanks that it begins with, and those of them that may come yet."""
    size = 0
    while text[size : size + 1] and text[size : size + 1] == blanks[size : size + 1]:
        size += 1
    return text[size:], blanks[size:] if size == len(text) else ""


class EventStream:
    """The server-sent events of one answer. `feed` takes bytes as they come and gives chunks."""

    __slots__ = (
        "_blanks", "_counted", "_partial", "_prompt_bytes", "_rest", "done", "reason", "timings", "usage"
    )  # fmt: skip

    def __init__(self, prompt_bytes: int = 0, partial_tokens: int = 0, blanks: str = "") -> None:
        """`blanks`: what the answer repeats of one that it goes on with."""
        self.reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.timings: dict[str, Any] | None = None
        self.done = False
        """`[DONE]` was seen; without it the answer is whole if there was a finish reason."""
        self._rest = b""
        self._counted = 0
        self._prompt_bytes = prompt_bytes
        self._partial = partial_tokens
        self._blanks = blanks

    def feed(self, data: bytes) -> list[Chunk]:
        """Raises `RequestError` for an error event, `EngineFailed` for what is not OpenAI's format."""
        if b"\r" in data:  # JSON never holds a bare CR, so only line ends go
            data = data.replace(b"\r", b"")
        events = (self._rest + data).split(b"\n\n")
        self._rest = events.pop()
        if len(self._rest) > MAX_EVENT:
            raise EngineFailed(f"The engine sent an event of more than {MAX_EVENT} bytes.")
        chunks: list[Chunk] = []
        try:
            for event in events:
                payload = event[6:] if event.startswith(b"data: {") else _payload(event)
                if payload.startswith(b"{"):
                    self._event(orjson.loads(payload), chunks)
                elif payload == b"[DONE]":
                    self.done = True
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise not_openai(error) from error
        self._counted += len(chunks)
        return chunks

    def _event(self, event: dict[str, Any], chunks: list[Chunk]) -> None:
        choices = event.get("choices")
        if choices:
            choice = choices[0]
            delta = choice.get("delta")
            if delta is None:
                delta = {"content": choice.get("text")}
            if choice.get("logprobs"):
                delta["logprobs"] = choice["logprobs"]
            text = delta.get("content")
            if text and self._blanks:
                text, self._blanks = beyond_blanks(text, self._blanks)
                delta = {**delta, "content": text}
            if text and len(delta) == 1:
                chunks.append(text)
            elif chunk := trimmed(delta):
                chunks.append(chunk)
            if choice.get("finish_reason"):
                self.reason = str(choice["finish_reason"])
        elif "error" in event:
            raise error_of(200, event)
        if usage := event.get("usage"):
            self.usage = usage
        if timings := event.get("timings"):
            self.timings = timings

    def finished(self) -> Finished:
        """How it ended. Raises `EngineFailed` if the answer broke off."""
        if self.reason is None:
            raise EngineFailed("The engine ended its answer early.", hint="Its log says why.")
        usage = self.usage or estimate(self._prompt_bytes, self._counted)
        return replace(end_of(self.reason, usage, self.timings), partial_tokens=self._partial)


def trimmed(delta: dict[str, Any]) -> Chunk | None:
    """A delta without what says nothing; text alone becomes a string. Content that is no text, as
    from a hostile or broken server, is refused with TypeError."""
    kept = {key: value for key, value in delta.items() if key != "role" and value not in (None, "", [])}
    text = kept.get("content", "")
    if not isinstance(text, str):
        raise TypeError("content is no text")
    return text if kept.keys() == {"content"} else kept or None


def whole_answer(reply: dict[str, Any], prompt_bytes: int) -> tuple[list[Chunk], Finished]:
    """A non-streamed reply as chunks (none or one) and its end."""
    try:
        choice = reply["choices"][0]
        message = choice.get("message")
        delta = {"content": choice["text"]} if message is None else dict(message)
        if choice.get("logprobs"):
            delta["logprobs"] = choice["logprobs"]
        if calls := delta.get("tool_calls"):  # a delta numbers its calls, a message does not
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
        chunk = trimmed(delta)
        text = chunk if isinstance(chunk, str) else str(chunk or "")
        usage = reply.get("usage") or estimate(prompt_bytes, -(-len(text.encode()) // 4))
        end = end_of(str(choice.get("finish_reason") or "stop"), usage, reply.get("timings"))
        return [] if chunk is None else [chunk], end
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise not_openai(error) from error


def end_of(reason: str, usage: Any, timings: Any = None) -> Finished:
    """`timings` is llama.cpp's, in milliseconds. Raises `EngineFailed` for numbers that are none."""
    try:
        timings = timings or {}
        return Finished(
            reason,
            max(0, int(usage.get("prompt_tokens") or 0)),
            max(0, int(usage.get("completion_tokens") or 0)),
            float(timings.get("prompt_ms") or 0) / 1000,
            float(timings.get("predicted_ms") or 0) / 1000,
        )
    except (TypeError, AttributeError, ValueError) as error:
        raise not_openai(error) from error


def estimate(prompt_bytes: int, completion_tokens: int) -> dict[str, int]:
    """Usage where the server gives none: a chunk is a token, and four bytes of prompt are one, which
    is what the common vocabularies reach on English text."""
    return {"prompt_tokens": -(-prompt_bytes // 4), "completion_tokens": completion_tokens}


def prompt_bytes(body: dict[str, Any]) -> int:
    """Bytes of text in the request, for `estimate`."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return len(prompt.encode("utf-8", "replace"))
    return sum(
        len(str(message.get("content") or "").encode("utf-8", "replace"))
        for message in body.get("messages") or ()
        if isinstance(message, dict)
    )


def error_of(status: int, reply: Any, retry_after: float | None = None) -> RequestError:
    """What a refusal means. `reply` is the JSON body, or its text where it was no JSON."""
    error = reply.get("error", reply) if isinstance(reply, dict) else reply
    details = error if isinstance(error, dict) else {"message": error}
    message = str(details.get("message") or f"HTTP status {status}")[:1000]
    kind = f"{details.get('type')} {details.get('code')}"
    lower = message.lower()
    if "exceed_context" in kind or "context_length" in kind or (
        "context" in lower and any(word in lower for word in ("exceed", "maximum", "too long", "length"))
    ):  # fmt: skip
        return ContextTooLong(
            f"The prompt does not fit into the model's context: {message}",
            hint="Shorten the conversation, or choose a model with a longer context.",
        )
    if status == 404 or "model_not_found" in kind:
        return UnknownModel(f"The engine does not have this model: {message}")
    if status in (401, 403):
        return EngineUnavailable(
            f"The engine refuses the API key: {message}", hint="Set engine.api_key to a key that it accepts."
        )
    if status == 429:
        return AllBusy(f"The engine is over its limit: {message}", retry_after=retry_after or 1.0)
    if status == 503:
        return EngineUnavailable(f"The engine is not ready: {message}", retry_after=retry_after or 1.0)
    if 400 <= status < 500 or status == 501 or "invalid_request" in kind:
        return BadRequest(f"The engine refuses the request: {message}")
    return EngineFailed(f"The engine failed: {message}")


def not_openai(error: Exception) -> EngineFailed:
    return EngineFailed(
        f"The engine's answer is not in OpenAI's format ({type(error).__name__}: {str(error)[:200]}).",
        hint="Check that engine.url is the base of an OpenAI-compatible API, usually ending in /v1.",
    )


def _payload(event: bytes) -> bytes:
    """The data of an event that has more lines than one, comments, or no blank after the colon."""
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    if not lines and (at := event.find(b"error: {")) >= 0:  # llama.cpp before 2025
        return b'{"error": %s}' % event[at + 7 :]
    return b"\n".join(lines)
