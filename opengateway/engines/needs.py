"""What a request needs an engine to be able to do, read off its body.

A need is an ability (engines/protocol.py) and the field that wants it, so that a refusal can name the field.
The search sends a request only where every need is met; a field that wants nothing special is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

_FIRST: Final = {"chat": "messages", "completion": "prompt", "embedding": "input"}
_PARTS: Final = {"image_url": "vision", "input_audio": "audio", "file": "file"}


def _given(ability: str) -> Callable[[Any], str]:
    return lambda value: ability if value else ""


NEEDS: Final[dict[str, Callable[[Any], str]]] = {
    "tools": _given("tools"),
    "tool_choice": lambda value: "" if value in ("auto", "none") else "tool_choice",
    "parallel_tool_calls": lambda value: "tool_choice" if value is False else "",
    "response_format": lambda value: "" if value == {"type": "text"} else "json_schema",
    # In a completion it is a number, and 0 asks for the chosen tokens alone.
    "logprobs": lambda value: "" if value is False else "logprobs",
    "top_logprobs": _given("logprobs"),
    "seed": lambda _: "seed",
    "logit_bias": _given("logit_bias"),
    "suffix": _given("insert"),
    "dimensions": lambda _: "dimensions",
    "truncate": _given("truncate"),
    "reasoning_effort": lambda value: "" if value == "none" else "reasoning",
    "chat_template_kwargs": _given("template_kwargs"),
}
"""Field -> the ability that this value of it wants; "" for none."""


def needs_of(kind: str, body: Mapping[str, Any]) -> dict[str, str]:
    """Ability -> the field that wants it. The body may be a stranger's: whatever it holds, this answers."""
    found = {kind: _FIRST.get(kind, "model")}
    for name, value in body.items():
        if value is not None and (need := NEEDS.get(name)) is not None and (ability := need(value)):
            found.setdefault(ability, name)
    messages = body.get("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            for part in content:
                kind_of_part = part.get("type") if isinstance(part, dict) else None
                if isinstance(kind_of_part, str) and kind_of_part in _PARTS:
                    found.setdefault(_PARTS[kind_of_part], f"messages[{index}].content")
    return found
