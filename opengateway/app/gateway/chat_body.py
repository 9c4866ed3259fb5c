"""OpenAI's request bodies: each field is checked, honoured, or refused by name (fields.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import orjson

from opengateway.app.gateway.fields import TABLES, Field, Table
from opengateway.app.gateway.messages import check_format, check_messages, check_tools, choose_tools
from opengateway.closest import closest
from opengateway.engines.needs import needs_of
from opengateway.engines.protocol import GenerateRequest, Kind
from opengateway.errors import BadRequest, Unsupported
from opengateway.routing.parts import Part, split
from opengateway.routing.placement import Scope, plain_name


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request, and how its caller wants the answer."""

    request: GenerateRequest
    streaming: bool
    include_usage: bool
    echo: bool = False
    """The prompt is to stand before its completion."""
    parts: list[Part] = field(default_factory=list)
    """Of a request that is several: choices, prompts, texts to embed."""


@dataclass(frozen=True, slots=True)
class Aliases:
    """Other names for models: `gpt-4o-mini=llama3.2`."""

    entries: Mapping[str, str] = field(default_factory=dict)
    """By their plain names."""

    @classmethod
    def of(cls, entries: tuple[str, ...]) -> Aliases:
        parts = [entry.partition("=") for entry in entries]
        return cls({plain_name(name): model for name, _, model in parts})

    def resolve(self, name: str) -> str:
        return self.entries.get(plain_name(name), name) if self.entries else name

    def among(self, models: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Descriptions of those that mean a model which is served, under the alias's name."""
        by_name = {plain_name(model["name"]): model for model in models}
        return [
            {**by_name[plain_name(name)], "name": alias, "means": name}
            for alias, name in self.entries.items()
            if plain_name(name) in by_name and alias not in by_name
        ]


NO_ALIASES = Aliases()


def read_json(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def read_body(raw: bytes, kind: Kind, aliases: Aliases = NO_ALIASES) -> Asked:
    """Raises `BadRequest` that names the field."""
    return read_request(read_json(raw), kind, aliases)


def check_fields(given: dict[str, Any], table: Table) -> dict[str, Any]:
    """Those that are given and not null. Raises `BadRequest` that names the first that is wrong."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if (known := table.get(name)) is None:
            raise _unknown(name, table)
        if value is None:  # the same as leaving it out, as OpenAI's clients send it
            continue
        if known.treatment == "refused" or not known.form.fits(value):
            raise _refused(known)
        if known.treatment == "default" and value not in known.only:
            raise _only(known)
        found[name] = value
    for known in table.required:
        if known.name not in found:
            raise _refused(known)
    return found


def read_request(given: dict[str, Any], kind: Kind, aliases: Aliases = NO_ALIASES) -> Asked:
    table = TABLES[kind]
    ours = check_fields(given, table)
    body = {name: value for name, value in ours.items() if table[name].treatment == "engine"}
    if kind == "chat":
        _settle_chat(body)
    streaming = ours.get("stream", False)
    usage = _stream_options(ours.get("stream_options"), streaming=streaming)
    echo = bool(ours.get("echo"))
    if echo and "logprobs" in body:
        raise Unsupported("`echo` cannot be honoured together with `logprobs`", param="echo")
    model = aliases.resolve(ours.get("model", ""))
    n = ours.get("n", 1)
    parts = split(kind, body, n) if n > 1 or kind != "chat" else []  # nearly every request is one chat
    if len(parts) == 1:
        body = parts[0].body  # a list of one prompt is that prompt
    request = GenerateRequest(kind, model, body, streaming, needs_of(kind, body))
    return Asked(request, streaming, usage, echo, parts)


def _settle_chat(body: dict[str, Any]) -> None:
    body["messages"] = check_messages(body["messages"])
    if body.get("tools"):
        check_tools(body["tools"])
    else:  # nothing to choose from, and so nothing to honour
        body.pop("tools", None)
        body.pop("parallel_tool_calls", None)
    if "tool_choice" in body:
        choose_tools(body)
    if "response_format" in body:
        check_format(body["response_format"])
    if "max_completion_tokens" in body and "max_tokens" in body:
        if body["max_tokens"] != body["max_completion_tokens"]:
            why = "`max_tokens` is the older name of `max_completion_tokens`, and both are given"
            raise BadRequest(why, hint="leave out `max_tokens`", param="max_tokens")
        del body["max_tokens"]
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise BadRequest("`top_logprobs` is given without `logprobs`", param="top_logprobs")


def _stream_options(options: dict[str, Any] | None, *, streaming: bool) -> bool:
    """Whether a stream ends with the usage."""
    if options is None:
        return False
    if not streaming:
        raise BadRequest("`stream_options` is given without `stream`", param="stream_options")
    if strange := set(options) - {"include_usage", "include_obfuscation"}:
        raise BadRequest(f"unknown field `stream_options.{min(strange)[:60]}`", param="stream_options")
    if options.get("include_obfuscation"):
        raise Unsupported("`stream_options.include_obfuscation` cannot be honoured", param="stream_options")
    usage = options.get("include_usage") or False
    if not isinstance(usage, bool):
        raise BadRequest("`stream_options.include_usage` must be true or false", param="stream_options")
    return usage


def _unknown(name: str, table: dict[str, Field]) -> BadRequest:
    near = closest(name[:60], table)
    hint = f"did you mean {near}?" if near else "docs/COMPATIBILITY.md lists the fields"
    return BadRequest(f"unknown field `{name[:60]}`", param=name[:60], hint=hint)


def _refused(known: Field) -> BadRequest:
    if known.treatment == "refused":
        return Unsupported(f"`{known.name}` cannot be honoured: {known.note}", param=known.name)
    note = f" ({known.note})" if known.note and known.treatment == "node" else ""
    return BadRequest(f"`{known.name}` must be {known.form.wants}{note}", param=known.name)


def _only(known: Field) -> BadRequest:
    values = " or ".join(orjson.dumps(value).decode() for value in known.only)
    return Unsupported(f"`{known.name}` can only be {values}: {known.note}", param=known.name)


def read_scope(value: str | None) -> str:
    scope = value or "anywhere"
    if scope not in get_args(Scope):
        raise BadRequest(f"x-opengateway-scope must be one of {', '.join(get_args(Scope))}")
    return scope
