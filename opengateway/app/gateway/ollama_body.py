"""Ollama's requests in OpenAI's terms, so that they are checked and honoured by the same table (fields.py).

Source: Ollama's API document, the types of its Python package 0.6, and 31 exchanges recorded from a real
server (tests/data/ollama_golden). What has no counterpart is refused by name, as everywhere here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from opengateway.app.gateway.chat_body import Aliases, Asked, read_request
from opengateway.errors import BadRequest, Unsupported

OPTIONS: Final = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "seed": "seed",
    "typical_p": "typical_p", "stop": "stop", "num_predict": "max_tokens", "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
}  # fmt: skip
LOADING: Final = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "low_vram", "f16_kv", "vocab_only", "numa"}
    | {"use_mmap", "use_mlock", "num_keep", "penalize_newline", "logits_all", "embedding_only"}
)
"""How a machine loads a model: the node that answers decides that, and a prompt that does not fit its context
is refused, never cut. Taken, as every Ollama client sends some of them."""
NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "mirostat": (0,), "mirostat_tau": (5, 5.0), "mirostat_eta": (0.1,), "tfs_z": (1, 1.0),
    "repeat_last_n": (64,),
}  # fmt: skip
"""Options that can only be what they are anyway."""

GENERATE: Final = frozenset(
    {
        "model",
        "prompt",
        "suffix",
        "system",
        "template",
        "context",
        "raw",
        "images",
        "think",
        "format",
        "options",
    }
    | {"stream", "keep_alive", "logprobs", "top_logprobs", "truncate", "shift"}
)
CHAT: Final = frozenset(
    {"model", "messages", "tools", "think", "format", "options", "stream", "keep_alive", "logprobs"}
    | {"top_logprobs", "truncate", "shift"}
)
EMBED: Final = frozenset({"model", "input", "truncate", "options", "keep_alive", "dimensions"})
EMBEDDINGS: Final = frozenset({"model", "prompt", "options", "keep_alive"})
SHOW: Final = frozenset({"model", "name", "verbose", "system", "template", "options"})
PULL: Final = frozenset({"model", "name", "stream", "insecure", "username", "password"})
HOLLOW: Final = ("system", "template", "options", "insecure", "username", "password")
"""What Ollama's own client sends with every question about a model, without anything in it."""


@dataclass(frozen=True, slots=True)
class OllamaAsked:
    name: str
    """The model as the caller calls it: Ollama answers with that."""
    streaming: bool
    asked: Asked | None
    """None: nothing to answer, the model is only to be loaded or unloaded."""
    keep_alive: Any = None


def known(body: dict[str, Any], fields: frozenset[str]) -> str:
    """The model that is asked for, once every field is one of `fields`. Raises `BadRequest`."""
    for name, value in body.items():
        if name not in fields and value is not None:
            raise BadRequest(f"unknown field `{name[:60]}`", param=name[:60])
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("model is required", param="model")
    return model


def asked_about(body: dict[str, Any], fields: frozenset[str]) -> str:
    """The model that a question is about, under its newer or its older name. Raises `BadRequest`."""
    name = known(body | {"model": body.get("model") or body.get("name")}, fields)
    for field in HOLLOW:
        if field in fields and body.get(field):
            raise Unsupported(f"`{field}` cannot be honoured", param=field)
    return name


def read_chat(body: dict[str, Any], aliases: Aliases) -> OllamaAsked:
    model = known(body, CHAT)
    streaming = _flag(body, "stream", default=True)
    messages = body.get("messages")
    if not messages and isinstance(messages, list | None):
        return OllamaAsked(model, streaming, None, body.get("keep_alive"))
    if not isinstance(messages, list):
        raise BadRequest("`messages` must be a list", param="messages")
    shaped = {"messages": _messages(messages), "tools": _tools(body.get("tools"))} | _shared(body)
    return OllamaAsked(model, streaming, read_request(shaped | {"model": model}, "chat", aliases))


def read_generate(body: dict[str, Any], aliases: Aliases) -> OllamaAsked:
    model = known(body, GENERATE)
    streaming = _flag(body, "stream", default=True)
    raw = _flag(body, "raw", default=False)
    prompt, system = _text(body, "prompt"), _text(body, "system")
    for name in ("template", "context"):
        if body.get(name):
            raise Unsupported(f"`{name}` cannot be honoured: use /api/chat", param=name)
    if not prompt and not body.get("images") and not body.get("suffix"):
        return OllamaAsked(model, streaming, None, body.get("keep_alive"))
    shaped = _shared(body) | {"model": model}
    if raw or body.get("suffix"):
        for name in ("system", "images"):
            if body.get(name):
                raise BadRequest(f"`{name}` cannot go with `raw` or `suffix`", param=name)
        if shaped.pop("reasoning_effort", None) not in (None, "none"):
            raise BadRequest("`think` cannot go with `raw` or `suffix`", param="think")
        if shaped.pop("logprobs", None):
            shaped["logprobs"] = min(5, shaped.get("top_logprobs") or 0)
        shaped.pop("top_logprobs", None)
        shaped |= {"prompt": prompt, "suffix": body.get("suffix") or None}
        return OllamaAsked(model, streaming, read_request(shaped, "completion", aliases))
    said = _messages([{"role": "user", "content": prompt, "images": body.get("images")}])
    shaped["messages"] = [{"role": "system", "content": system}, *said] if system else said
    return OllamaAsked(model, streaming, read_request(shaped, "chat", aliases))


def read_embed(body: dict[str, Any], aliases: Aliases) -> OllamaAsked:
    model = known(body, EMBED)
    _options(body)
    shaped = {name: body.get(name) for name in ("input", "truncate", "dimensions")}
    return OllamaAsked(
        model, streaming=False, asked=read_request(shaped | {"model": model}, "embedding", aliases)
    )


def read_embeddings(body: dict[str, Any], aliases: Aliases) -> OllamaAsked:
    """The older route, for one text."""
    model = known(body, EMBEDDINGS)
    _options(body)
    prompt = _text(body, "prompt")
    asked = read_request({"input": prompt, "model": model}, "embedding", aliases) if prompt else None
    return OllamaAsked(model, streaming=False, asked=asked)


def _shared(body: dict[str, Any]) -> dict[str, Any]:
    shaped = _options(body)
    for name in ("truncate", "shift"):
        if _flag(body, name, default=False):
            raise Unsupported(f"`{name}` cannot be honoured: what does not fit is refused", param=name)
    wanted = body.get("format")
    if wanted == "json":
        shaped["response_format"] = {"type": "json_object"}
    elif isinstance(wanted, dict):
        shaped["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "format", "schema": wanted},
        }
    elif wanted:
        raise BadRequest('`format` must be "json" or a JSON schema', param="format")
    think = body.get("think")
    if think is not None:
        shaped["reasoning_effort"] = (
            {True: "medium", False: "none"}[think]
            if isinstance(think, bool)
            else "xhigh"
            if think == "max"
            else think
        )
    shaped["logprobs"] = body.get("logprobs")
    shaped["top_logprobs"] = body.get("top_logprobs") or None
    return shaped


def _options(body: dict[str, Any]) -> dict[str, Any]:
    options = body.get("options") or {}
    if not isinstance(options, dict):
        raise BadRequest("`options` must be an object", param="options")
    shaped: dict[str, Any] = {}
    for name, value in options.items():
        if value is None or name in LOADING:
            continue
        if name in NEUTRAL:
            if value not in NEUTRAL[name]:
                raise Unsupported(f"`options.{name}` can only be {NEUTRAL[name][0]}", param=f"options.{name}")
        elif (ours := OPTIONS.get(name)) is None:
            raise BadRequest(f"unknown option `{name[:60]}`", param=f"options.{name[:60]}")
        elif name != "num_predict" or (isinstance(value, int) and value > 0):  # else: as long as it takes
            shaped[ours] = value
    return shaped


def _flag(body: dict[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise BadRequest(f"`{name}` must be true or false", param=name)
    return default if value is None else value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str | None):
        raise BadRequest(f"`{name}` must be a text", param=name)
    return value or ""


def _messages(given: list[Any]) -> list[dict[str, Any]]:
    """Images become parts, arguments texts, and calls get ids by which their answers find them."""
    shaped: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    for index, message in enumerate(given):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise BadRequest(f"{where} must be an object", param=where)
        made: dict[str, Any] = {"role": message.get("role"), "content": message.get("content")}
        if images := message.get("images"):
            made["content"] = _with_images(message.get("content"), images, f"{where}.images")
        if calls := message.get("tool_calls"):
            made["tool_calls"] = _calls(calls, f"{where}.tool_calls", ids)
        if message.get("role") == "tool":
            name = str(message.get("tool_name") or message.get("name") or "")
            made["tool_call_id"] = str(message.get("tool_call_id") or ids.get(name) or "call_0")
        shaped.append(made)
    return shaped


def _with_images(content: Any, images: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise BadRequest(f"{where} must be a list of pictures in base64", param=where)
    parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else []
    return parts + [
        {"type": "image_url", "image_url": {"url": f"data:image/{_kind(image)};base64,{image}"}}
        for image in images
    ]


def _kind(image: str) -> str:
    """By its first bytes, as base64 shows them."""
    return "jpeg" if image.startswith("/9j/") else "webp" if image.startswith("UklG") else "png"


def _calls(calls: Any, where: str, ids: dict[str, str]) -> list[dict[str, Any]]:
    made = []
    for given in calls if isinstance(calls, list) else [None]:
        call = given if isinstance(given, dict) else {}
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadRequest(f"{where} must be a list of calls, each with a function's name", param=where)
        name, arguments = function["name"], function.get("arguments") or {}
        ids[name] = str(call.get("id") or f"call_{len(ids)}")
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        made.append({"id": ids[name], "type": "function", "function": {"name": name, "arguments": text}})
    return made


def _tools(given: Any) -> Any:
    """Ollama's clients may leave out the type, and write nulls."""
    if not isinstance(given, list):
        return given
    return [
        {"type": "function"} | {key: value for key, value in tool.items() if value is not None}
        if isinstance(tool, dict)
        else tool
        for tool in given
    ]
