"""Messages, tools and formats of a chat: their schemas, and checks that name the part that is wrong."""

from __future__ import annotations

from typing import Any, Final

import orjson

from opengateway.app.gateway.forms import Form, Json
from opengateway.errors import BadRequest, Unsupported

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_TEXT: Final[Json] = {"type": "string"}


def _object(required: str, **properties: Json) -> Json:
    return {"type": "object", "required": required.split(), "properties": properties}


_PART: Final[Json] = {
    "anyOf": [
        _object("type text", type={"const": "text"}, text=_TEXT),
        _object("type refusal", type={"const": "refusal"}, refusal=_TEXT),
        _object("type image_url", type={"const": "image_url"}, image_url=_object("url", url=_TEXT)),
    ]
}
MESSAGE_SCHEMA: Final[Json] = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"enum": list(ROLES)},
        "content": {"anyOf": [_TEXT, {"type": "null"}, {"type": "array", "items": _PART}]},
        "name": {"type": ["string", "null"]},
        "tool_call_id": {"type": ["string", "null"]},
        "tool_calls": {
            "type": ["array", "null"],
            "items": _object(
                "type function",
                id=_TEXT,
                type={"const": "function"},
                function=_object("name arguments", name=_TEXT, arguments=_TEXT),
            ),
        },
    },
}
TOOL_SCHEMA: Final[Json] = _object(
    "type function",
    type={"const": "function"},
    function=_object(
        "name",
        name={"type": "string", "minLength": 1, "maxLength": 64},
        description=_TEXT,
        parameters={"type": "object"},
        strict={"type": ["boolean", "null"]},
    ),
)
_NAMED: Final[Json] = _object(
    "type function", type={"const": "function"}, function=_object("name", name=_TEXT)
)
_ALLOWED: Final[Json] = _object(
    "type allowed_tools",
    type={"const": "allowed_tools"},
    allowed_tools=_object(
        "mode tools", mode={"enum": ["auto", "required"]}, tools={"type": "array", "items": _NAMED}
    ),
)
TOOL_CHOICE: Final = Form(
    '"none", "auto", "required", a function, or allowed tools',
    {"anyOf": [{"enum": ["none", "auto", "required"]}, _NAMED, _ALLOWED]},
    lambda value: value in ("none", "auto", "required") or isinstance(value, dict),
)
_SCHEMA: Final = _object(
    "name schema",
    name={"type": "string", "minLength": 1},
    description=_TEXT,
    schema={"type": "object"},
    strict={"type": ["boolean", "null"]},
)
RESPONSE_FORMAT: Final = Form(
    "an object whose type is text, json_object or json_schema",
    {
        "anyOf": [
            _object("type", type={"enum": ["text", "json_object"]}),
            _object("type json_schema", type={"const": "json_schema"}, json_schema=_SCHEMA),
        ]
    },
    lambda value: isinstance(value, dict) and value.get("type") in ("text", "json_object", "json_schema"),
)


def check_messages(messages: list[Any]) -> list[Any]:
    """As an engine gets them. Raises `BadRequest`."""
    changed = False
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in ROLES:
            hint = "its role is deprecated; use tool" if role == "function" else ""
            raise BadRequest(
                f"{where} must be an object with a role of {', '.join(ROLES)}", param=where, hint=hint
            )
        changed = changed or role == "developer" or None in message.values()
        content = message.get("content")
        if isinstance(content, list):
            for part in content:
                _check_part(part, f"{where}.content")
        elif not isinstance(content, str) and not (content is None and role == "assistant"):
            raise BadRequest(f"{where}.content must be text or a list of parts", param=f"{where}.content")
        if message.get("tool_calls") is not None:
            changed = _check_calls(message["tool_calls"], f"{where}.tool_calls") or changed
        if message.get("audio") or message.get("function_call"):
            field = "audio" if message.get("audio") else "function_call"
            raise Unsupported(f"{where}.{field} cannot be honoured by any engine", param=f"{where}.{field}")
    return [_plain(message) for message in messages] if changed else messages


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """Without nulls, which llama.cpp takes for values, and with the old one of two names for a role, which is
    the one that chat templates know."""
    kept = {name: value for name, value in message.items() if value is not None or name == "content"}
    if calls := kept.get("tool_calls"):
        kept["tool_calls"] = [
            call
            if call["function"]["arguments"]
            else {**call, "function": {**call["function"], "arguments": "{}"}}
            for call in calls
        ]
    return {**kept, "role": "system"} if message["role"] == "developer" else kept


def _check_part(part: Any, where: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise BadRequest(f"{where} must be a list of objects with a type", param=where)
    if kind in ("text", "refusal"):
        if not isinstance(part.get(kind), str):
            raise BadRequest(f"{where}: a {kind} part must have a text in `{kind}`", param=where)
    elif kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str) or not url.startswith("data:"):
            raise BadRequest(
                f"{where}: an image must come inside the request, as a data: URL in `image_url.url`",
                hint="an address would make a stranger's computer fetch it",
                param=where,
            )
    elif kind not in ("input_audio", "file"):
        raise BadRequest(f"{where} has a part of an unknown type: {kind[:40]}", param=where)


def _check_calls(calls: Any, where: str) -> bool:
    """Whether a call has empty arguments, as some engines write those of a function that takes none. Others
    that are no JSON make llama.cpp fail, and chat templates that read them."""
    empty = False
    for call in calls if isinstance(calls, list) else [None]:
        function = call.get("function") if isinstance(call, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
            or not isinstance(function.get("arguments"), str)
        ):
            why = f"{where} must be a list of calls, each with a function's name and its arguments as text"
            raise BadRequest(why, param=where)
        empty = empty or not function["arguments"]
        try:
            orjson.loads(function["arguments"] or "{}")
        except orjson.JSONDecodeError as error:
            raise BadRequest(
                f"{where}: the arguments of a call are not JSON: {error}", param=where
            ) from error
    return empty


def check_tools(tools: list[Any]) -> None:
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind != "function":
            raise Unsupported(f"{where} is of type {kind[:40]!r}, and engines know functions", param=where)
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not 0 < len(name) <= 64:
            raise BadRequest(f"{where} must be a function with a name of at most 64 characters", param=where)
        if not isinstance(function.get("parameters", {}), dict | None):
            raise BadRequest(f"{where}.function.parameters must be a JSON schema", param=where)


def choose_tools(body: dict[str, Any]) -> None:
    """A choice that names tools becomes `auto` or `required` over those alone: llama.cpp reads a name as
    `auto`, and Ollama reads no choice at all."""
    choice, tools = body.get("tool_choice"), body.get("tools") or []
    if choice is None or choice in ("none", "auto"):
        return
    if not tools:
        raise BadRequest("`tool_choice` is given without `tools`", param="tool_choice")
    if choice == "required":
        return
    mode, named = _named(choice)
    body["tools"] = [tool for tool in tools if tool["function"]["name"] in named]
    if not body["tools"] or {tool["function"]["name"] for tool in body["tools"]} != named:
        raise BadRequest("`tool_choice` names a function that is not in `tools`", param="tool_choice")
    body["tool_choice"] = mode


def _named(choice: dict[str, Any]) -> tuple[str, set[str]]:
    try:
        if choice["type"] == "function":
            return "required", {_name(choice)}
        if choice["type"] == "allowed_tools" and choice["allowed_tools"]["mode"] in ("auto", "required"):
            allowed = choice["allowed_tools"]
            return allowed["mode"], {_name(tool) for tool in allowed["tools"]}
    except (KeyError, TypeError, AttributeError):
        pass
    raise BadRequest(f"`tool_choice` must be {TOOL_CHOICE.wants}", param="tool_choice")


def _name(tool: dict[str, Any]) -> str:
    name = tool["function"]["name"]
    if not isinstance(name, str):
        raise TypeError
    return name


def check_format(wanted: dict[str, Any]) -> None:
    if wanted["type"] == "json_schema":
        schema = wanted.get("json_schema")
        inner = schema.get("schema") if isinstance(schema, dict) else None
        if not isinstance(inner, dict):
            where = "response_format.json_schema.schema"
            raise BadRequest(f"`{where}` must be a JSON schema", param=where)
