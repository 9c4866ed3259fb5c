"""OpenAI's Responses requests in the terms of a chat, as far as text, images in, and functions go.

The table below says what becomes of each documented field, as fields.py does for the other routes; the chat
that comes out of it goes through that table once more, so that values are checked in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from opengateway.app.gateway import forms
from opengateway.app.gateway.chat_body import Aliases, Asked, check_fields, read_request
from opengateway.app.gateway.fields import MOST_TOKENS, NAME_LIMIT, Field, Table
from opengateway.app.gateway.forms import FLAG, either, number, some, text, whole, words
from opengateway.errors import BadRequest, Unsupported

_ITEM: Final = {"type": "object"}
_PAIRS: Final = forms.pairs(16, longest=512)
RESPONSES: Final = Table(
    Field("model", text(NAME_LIMIT), "node"),
    Field(
        "input",
        either(text(64 << 20, least=1), some(1, 10_000, _ITEM, "a list of items")),
        "engine",
        "a text, or messages, function calls and their outputs; earlier reasoning is left out",
        required=True,
    ),
    Field("instructions", text(1 << 20), "engine", "a system message before all others"),
    Field("max_output_tokens", whole(1, MOST_TOKENS), "engine"),
    Field("temperature", number(0, 2), "engine"),
    Field("top_p", number(0, 1), "engine"),
    Field("tools", some(0, 128, _ITEM, "a list of at most 128 tools"), "engine", "functions"),
    Field("tool_choice", either(words("none", "auto", "required"), forms.ANY_OBJECT), "engine"),
    Field("parallel_tool_calls", FLAG, "engine"),
    Field("text", forms.ANY_OBJECT, "engine", "`format`; `verbosity` only medium"),
    Field("reasoning", forms.ANY_OBJECT, "engine", "`effort`; no `summary`"),
    Field("top_logprobs", whole(0, 20), "engine"),
    Field("include", forms.ANY_LIST, "node", "`message.output_text.logprobs`"),
    Field("stream", FLAG, "node"),
    Field("stream_options", forms.ANY_OBJECT, "node", "`include_obfuscation` only false"),
    Field("metadata", _PAIRS, "node", "given back in the response"),
    Field("user", text(1024), "label"),
    Field("safety_identifier", text(1024), "label"),
    Field("prompt_cache_key", text(1024), "label", "engines here keep prefixes by themselves"),
    Field("prompt_cache_retention", text(64), "default", "engines keep prefixes in memory", ("in_memory",)),
    Field("store", FLAG, "default", "nothing is stored", (False,)),
    Field("background", FLAG, "default", "answers come while one waits", (False,)),
    Field("truncation", text(64), "default", "what does not fit is refused, never cut", ("disabled",)),
    Field("service_tier", text(64), "default", "there is one tier", ("auto", "default")),
    *(
        Field(name, forms.ANYTHING, "refused", note)
        for name, note in (
            ("previous_response_id", "nothing is stored; send the conversation"),
            ("conversation", "nothing is stored; send the conversation"),
            ("prompt", "prompts are not kept here; send its text"),
            ("max_tool_calls", "there are no built-in tools"),
            ("context_management", "what does not fit is refused"),
            ("moderation", "nobody moderates"),
            ("access_programs", "there are none"),
            ("image", "answers are text"),
            ("background_options", "answers come while one waits"),
            ("prompt_cache_options", "engines keep prefixes by themselves"),
        )
    ),
)
LOGPROBS: Final = "message.output_text.logprobs"


@dataclass(frozen=True, slots=True)
class ResponseAsked:
    asked: Asked
    given: dict[str, Any] = field(default_factory=dict)
    """The request, for what a response says again."""


def read_response(body: dict[str, Any], aliases: Aliases) -> ResponseAsked:
    """Raises `BadRequest` that names the field."""
    given = check_fields(body, RESPONSES)
    _check_options(given.get("stream_options"))
    include = given.get("include") or []
    if strange := [one for one in include if one != LOGPROBS]:
        raise Unsupported(f"`include` cannot be honoured with {str(strange[0])[:60]!r}", param="include")
    messages = _messages(given["input"])
    if given.get("instructions"):
        messages.insert(0, {"role": "system", "content": given["instructions"]})
    chat: dict[str, Any] = {
        "model": given.get("model"),
        "messages": messages,
        "max_completion_tokens": given.get("max_output_tokens"),
        "tools": [_tool(tool, f"tools[{i}]") for i, tool in enumerate(given.get("tools") or [])] or None,
        "tool_choice": _choice(given.get("tool_choice")),
        "stream": given.get("stream"),
    }
    chat |= {name: given.get(name) for name in ("temperature", "top_p", "parallel_tool_calls")}
    chat |= _text(given.get("text") or {}) | _reasoning(given.get("reasoning") or {})
    if given.get("top_logprobs") or include:
        chat |= {"logprobs": True, "top_logprobs": given.get("top_logprobs") or 0}
    return ResponseAsked(read_request(chat, "chat", aliases), given)


def _check_options(options: dict[str, Any] | None) -> None:
    for name, value in (options or {}).items():
        if name != "include_obfuscation" or value:
            raise Unsupported(f"`stream_options.{name[:60]}` cannot be honoured", param="stream_options")


def _text(given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in ("format", "verbosity") or (name == "verbosity" and value not in (None, "medium")):
            raise Unsupported(f"`text.{name[:60]}` cannot be honoured", param=f"text.{name[:60]}")
    form = given.get("format")
    if form is None:
        return {}
    if not isinstance(form, dict):
        raise BadRequest("`text.format` must be an object", param="text.format")
    if form.get("type") == "json_schema":
        inner = {name: form.get(name) for name in ("name", "description", "schema", "strict")}
        return {"response_format": {"type": "json_schema", "json_schema": inner}}
    return {"response_format": form}


def _reasoning(given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name != "effort" and value is not None:
            raise Unsupported(f"`reasoning.{name[:60]}` cannot be honoured", param=f"reasoning.{name[:60]}")
    return {"reasoning_effort": given.get("effort")}


def _tool(tool: Any, where: str) -> dict[str, Any]:
    """Flat here, nested in a chat."""
    if not isinstance(tool, dict) or tool.get("type") != "function":
        kind = tool.get("type") if isinstance(tool, dict) else tool
        raise Unsupported(f"{where} is of type {str(kind)[:40]!r}, and engines know functions", param=where)
    inner = {name: tool[name] for name in ("name", "description", "parameters", "strict") if name in tool}
    return {"type": "function", "function": inner}


def _choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") == "allowed_tools":
        tools = choice.get("tools")
        named = [_choice(tool) for tool in tools] if isinstance(tools, list) else tools
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": named}}
    raise Unsupported(f"`tool_choice` cannot be {str(choice.get('type'))[:40]!r}", param="tool_choice")


def _messages(given: str | list[Any]) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict[str, Any]] = []
    for index, item in enumerate(given):
        where = f"input[{index}]"
        kind = item.get("type", "message") if isinstance(item, dict) else None
        if kind == "message":
            messages.append({"role": item.get("role"), "content": _content(item.get("content"), where)})
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            if messages and messages[-1].get("tool_calls"):
                messages[-1]["tool_calls"].append(call)
            else:
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            content = _content(item.get("output"), where)
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
        elif kind != "reasoning":
            raise Unsupported(f"{where} is of type {str(kind)[:40]!r}, which cannot be honoured", param=where)
    return messages


def _content(content: Any, where: str) -> Any:
    if not isinstance(content, list):
        if not isinstance(content, str):
            raise BadRequest(f"{where} must have a text or a list of parts", param=where)
        return content
    return [_part(part, where) for part in content]


def _part(part: Any, where: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text")}
    if kind == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    raise Unsupported(f"{where} has a part of type {str(kind)[:40]!r}, which cannot be honoured", param=where)
