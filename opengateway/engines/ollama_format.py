"""OpenAI's formats to Ollama's own and back, as pure functions.

Source: Ollama's API document, and 31 exchanges recorded from a real server (tests/data/ollama_golden).
What differs: sampling fields live in `options`, tool arguments are an object and not a text, images are
bare base64, an answer is lines of JSON, and an error may come as such a line under HTTP 200.
"""

from __future__ import annotations

import array
import base64
import re
from collections.abc import Collection
from typing import Any, Final

import orjson

from opengateway.engines.openai_format import MAX_EVENT, error_of, estimate, trimmed
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.resuming import tokens_left, with_limit
from opengateway.engines.stream import Chunk, Finished
from opengateway.errors import BadRequest, EngineFailed

PATHS: Final = {"chat": "api/chat", "completion": "api/generate", "embedding": "api/embed"}

# OpenAI's name -> Ollama's option. The later of two names for one option wins.
_OPTIONS: Final = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
    "typical_p": "typical_p", "seed": "seed", "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty", "repetition_penalty": "repeat_penalty",
    "repeat_penalty": "repeat_penalty", "max_tokens": "num_predict", "max_completion_tokens": "num_predict",
}  # fmt: skip

_EFFORTS: Final = {"none": False, "minimal": False, "xhigh": "high"}
"""What Ollama has another word for; low, medium and high are its own."""
_LOGPROBS_SINCE: Final = (0, 12, 11)
_RENDERER: Final = re.compile(r"^RENDERER\s+\S", re.MULTILINE)
OPTIONS_KNOWN: Final = frozenset(_OPTIONS) | {
    "messages", "tools", "stop", "response_format", "reasoning_effort", "logprobs", "top_logprobs",
}  # fmt: skip
"""Fields of a chat that this adapter has words for; the others need an ability that Ollama does not have."""


def body_for(request: GenerateRequest, model: str, context: int | None) -> bytes:
    """The JSON to post. Raises `BadRequest` for what Ollama has no words for."""
    given = request.body
    if request.partial:
        given = with_limit(given, tokens_left(given, len(request.partial)))
    if given.get("n") not in (None, 1):
        raise BadRequest("An engine gives one choice at a time.", hint="Ask with n = 1, several times.")
    try:
        if request.kind == "embedding":
            kept = ("input", "dimensions", "truncate")
            shape = {key: given[key] for key in kept if given.get(key) is not None}
            return orjson.dumps({"model": model, **shape})
        body: dict[str, Any] = {"model": model, "stream": request.stream}
        if request.kind == "chat":
            body["messages"] = _messages(given.get("messages") or [])
            if request.partial:  # a template that ends with these words leaves the answer open
                body["messages"].append({"role": "assistant", "content": "".join(request.partial)})
            if given.get("tools") and given.get("tool_choice") != "none":  # "auto" is what it does
                body["tools"] = given["tools"]
        else:
            body |= _prompt(given)
            body["prompt"] += "".join(request.partial)
        body |= _extras(given)
        # Without it a prompt that is too long loses its beginning, and nobody is told.
        body["truncate"] = False
        options = _options(given)
        if context is not None:
            options["num_ctx"] = context
        if options:
            body["options"] = options
        return orjson.dumps(body)
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise BadRequest(f"The request cannot be put into Ollama's terms: {error}.") from error


def gives_logprobs(version: Any) -> bool:
    """By the reply of /api/version. One that was built by hand is 0.0.0, and not believed."""
    given = str(version.get("version", "")) if isinstance(version, dict) else ""
    parts = given.partition("-")[0].split(".")
    return all(part.isdigit() for part in parts) and tuple(map(int, parts)) >= _LOGPROBS_SINCE


def continues(template: str, capabilities: Collection[str], modelfile: str = "") -> bool:
    """Whether a chat whose last message is the model's own is gone on with. Ollama cuts a template of the
    old kind off behind `.Response`; one that writes all messages itself must leave the last one open. Since
    0.12 some models name a renderer, code of Ollama's own that goes before any template: some leave the last
    message open, some end it, and nothing tells which."""
    if "thinking" in capabilities:  # where its thoughts would have ended, nobody knows
        return False
    if _RENDERER.search(modelfile):
        return False
    if ".Messages" in template:
        return "not $last" in template or "ne $i $last" in template
    return ".Response" in template


def _options(given: dict[str, Any]) -> dict[str, Any]:
    options = {ours: given[theirs] for theirs, ours in _OPTIONS.items() if given.get(theirs) is not None}
    if stop := given.get("stop"):
        options["stop"] = [stop] if isinstance(stop, str) else stop
    return options


def _extras(given: dict[str, Any]) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    wanted = given.get("response_format") or {}
    if wanted.get("type") == "json_object":
        extras["format"] = "json"
    elif wanted.get("type") == "json_schema":
        extras["format"] = wanted["json_schema"]["schema"]
    if effort := given.get("reasoning_effort"):
        extras["think"] = _EFFORTS.get(effort, effort)
    wants_logprobs = given.get("logprobs")
    if wants_logprobs is not None and wants_logprobs is not False:  # in a completion 0 is a number of them
        extras["logprobs"] = True
        most = given.get("top_logprobs") if wants_logprobs is True else wants_logprobs
        if most:
            extras["top_logprobs"] = most
    return extras


def _prompt(given: dict[str, Any]) -> dict[str, Any]:
    prompt = given.get("prompt")
    if not isinstance(prompt, str):
        raise BadRequest("Ollama completes one text at a time, so prompt must be a string.")
    if given.get("suffix"):
        return {"prompt": prompt, "suffix": given["suffix"]}
    # Raw: a completion goes on with the text as it stands. Without it Ollama would wrap the text in the
    # model's chat template, and the same request would mean something else than on other engines.
    return {"prompt": prompt, "raw": True}


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    result = []
    for given in messages:
        role = "system" if given["role"] == "developer" else given["role"]
        text, images = _content(given.get("content"))
        message: dict[str, Any] = {"role": role, "content": text}
        if images:
            message["images"] = images
        if calls := given.get("tool_calls"):
            names |= {call["id"]: call["function"]["name"] for call in calls if call.get("id")}
            message["tool_calls"] = [{"function": _called(call["function"])} for call in calls]
        if role == "tool" and (name := names.get(given.get("tool_call_id", ""))):
            message["tool_name"] = name
        result.append(message)
    return result


def _content(content: Any) -> tuple[str, list[str]]:
    """Text and images of a message, whose content is a text or a list of parts."""
    if content is None or isinstance(content, str):
        return content or "", []
    texts, images = [], []
    for part in content:
        if part["type"] == "text":
            texts.append(part["text"])
        elif part["type"] == "image_url":
            _, comma, data = part["image_url"]["url"].partition(";base64,")
            if not comma:  # an address would make this machine fetch what a stranger names
                raise BadRequest("An image must come as a data: URL in base64.")
            images.append(data)
        else:
            raise BadRequest(f"A message part of the type {part['type']!r} is not supported.")
    return "\n".join(texts), images


def _called(function: dict[str, Any]) -> dict[str, Any]:
    return {"name": function["name"], "arguments": orjson.loads(function.get("arguments") or "{}")}


class LineStream:
    """The lines of JSON of one answer. `feed` takes bytes as they come and gives chunks."""

    __slots__ = ("_called", "_counted", "_end", "_prompt_bytes", "_rest", "done")

    def __init__(self, prompt_bytes: int = 0) -> None:
        self.done = False
        self._rest = b""
        self._counted = 0
        self._called = 0
        self._end: dict[str, Any] = {}
        self._prompt_bytes = prompt_bytes

    def feed(self, data: bytes) -> list[Chunk]:
        """Raises `RequestError` for an error line, `EngineFailed` for what is not Ollama's format."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_EVENT:
            raise EngineFailed(f"The engine sent a line of more than {MAX_EVENT} bytes.")
        return [chunk for line in lines if line for chunk in self.read(line)]

    def read(self, line: bytes) -> list[Chunk]:
        """The chunks of one line; a reply that is not streamed is one line without its end."""
        try:
            chunks: list[Chunk] = []
            self._line(orjson.loads(line), chunks)
            return chunks
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise not_ollama(error) from error

    def _line(self, line: dict[str, Any], chunks: list[Chunk]) -> None:
        if "error" in line:
            raise error_of(200, line)
        message = line.get("message")
        if message is None:
            message = {"content": line.get("response"), "thinking": line.get("thinking")}
        text = message.get("content")
        if text and not (message.get("tool_calls") or message.get("thinking") or line.get("logprobs")):
            if not isinstance(text, str):
                raise TypeError("content is no text")
            chunks.append(text)
            self._counted += 1
        elif chunk := trimmed(self._delta(message, line)):
            chunks.append(chunk)
            self._counted += 1
        if line.get("done"):
            self._end = line
            self.done = True

    def _delta(self, message: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
        delta: dict[str, Any] = {
            "content": message.get("content"),
            "reasoning_content": message.get("thinking"),
        }
        if line.get("logprobs"):
            delta["logprobs"] = {"content": line["logprobs"]}
        if calls := message.get("tool_calls"):
            delta["tool_calls"] = [self._call(call) for call in calls]
        return delta

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        index, self._called = self._called, self._called + 1
        function = call["function"]
        arguments = orjson.dumps(function.get("arguments") or {}).decode()
        return {
            "index": index,
            "id": call.get("id") or f"call_{index}",
            "type": "function",
            "function": {"name": function["name"], "arguments": arguments},
        }

    def finished(self) -> Finished:
        """How it ended. Raises `EngineFailed` if the answer broke off."""
        if not self.done:
            raise EngineFailed("Ollama ended its answer early.", hint="Its log says why.")
        end = self._end
        # "load" and "unload" answer an empty request, which has no text to finish either.
        reason = "length" if end.get("done_reason") == "length" else "stop"
        if self._called:
            reason = "tool_calls"
        guess = estimate(self._prompt_bytes, self._counted)
        try:
            return Finished(
                reason,
                int(end.get("prompt_eval_count") or guess["prompt_tokens"]),
                int(end.get("eval_count") or guess["completion_tokens"]),
                float(end.get("prompt_eval_duration") or 0) / 1e9,
                float(end.get("eval_duration") or 0) / 1e9,
            )
        except (TypeError, ValueError) as error:
            raise not_ollama(error) from error


def embeddings(reply: dict[str, Any], model: str, encoding: str) -> dict[str, Any]:
    """Ollama's `/api/embed` reply as OpenAI's embeddings response."""
    try:
        vectors: list[Any] = reply["embeddings"]
        if encoding == "base64":
            vectors = [base64.b64encode(array.array("f", vector).tobytes()).decode() for vector in vectors]
        tokens = int(reply.get("prompt_eval_count") or 0)
    except (KeyError, TypeError, ValueError) as error:
        raise not_ollama(error) from error
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def not_ollama(error: Exception) -> EngineFailed:
    return EngineFailed(
        f"The engine's answer is not in Ollama's format ({type(error).__name__}: {str(error)[:200]}).",
        hint="Check that engine.url is an Ollama server; for others set engine.kind to openai.",
    )
