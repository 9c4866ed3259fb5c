"""What a request will probably take, guessed from its body: plans are made with it, nothing is paid by it."""

from __future__ import annotations

from typing import Any

from opengateway.routing.placement import ANSWER_TOKENS, Demand

TOKEN_CHARS = 4
"""Characters of English text a token, about; other languages have fewer."""


def demand_of(kind: str, body: dict[str, Any]) -> Demand:
    """Without looking at more than the lengths."""
    if kind == "embedding":
        return Demand(1 + _length(body.get("input")) // TOKEN_CHARS, 0)
    said = body.get("messages") if kind == "chat" else body.get("prompt")
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or ANSWER_TOKENS
    completion = min(limit, ANSWER_TOKENS) if isinstance(limit, int) and limit > 0 else ANSWER_TOKENS
    return Demand(1 + _length(said) // TOKEN_CHARS, completion)


def _length(value: Any) -> int:
    """Characters of all texts in it, to a depth of three: messages, their parts, the parts' texts."""
    if isinstance(value, str):
        return len(value)
    if not isinstance(value, list):
        return 0
    total = 0
    for item in value:
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, dict):
            content = item.get("content", item.get("text"))
            total += len(content) if isinstance(content, str) else _length(content)
    return total
