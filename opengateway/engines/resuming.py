"""Whether an answer that broke off can be gone on with, and how: pure functions of the request and of
what was shown of it.

A text is continued by the same weights as if nothing had happened: the next token depends on the tokens
before it and on nothing else. What is more than text is not: a grammar (`response_format`), a parser of tool
calls, or logprobs would have to be put back into the middle of their work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opengateway.engines.seam import texts_of
from opengateway.engines.stream import Chunk

CONTINUE = "continue"
"""The ability (ModelInfo.abilities) to take up what another has begun."""
_MORE_THAN_TEXT = ("logprobs", "top_logprobs", "suffix", "echo", "grammar", "json_schema")


def partial_of(kind: str, body: dict[str, Any], shown: Sequence[Chunk]) -> tuple[str, ...] | None:
    """What to give to the next maker so that it goes on; None where this request cannot be continued."""
    texts = tuple(chunk for chunk in shown if isinstance(chunk, str))
    if kind not in ("chat", "completion") or len(texts) != len(shown):
        return None
    if any(body.get(name) for name in _MORE_THAN_TEXT):
        return None
    if body.get("tools") and body.get("tool_choice") != "none":
        return None
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type", "text") != "text":
        return None
    if kind == "completion" and not isinstance(body.get("prompt"), str):
        return None
    return texts if _plain(body.get("messages")) else None


def _plain(messages: Any) -> bool:
    """No pictures: how many tokens one takes, and where it stands, is the engine's own affair."""
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict) or part.get("type") != "text":
                return False
    return True


def repeatable(body: dict[str, Any], shown: Sequence[Chunk]) -> bool:
    """Whether the same weights will say the same again, and it can be told that they do."""
    temperature, seed = body.get("temperature"), body.get("seed")
    fixed = temperature == 0 or body.get("top_k") == 1 or type(seed) is int
    return fixed and texts_of(shown) is not None


def stops_of(body: dict[str, Any]) -> tuple[str, ...]:
    """The request's stop sequences."""
    stop = body.get("stop")
    found = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else ()
    return tuple(one for one in found if isinstance(one, str) and one)


def tokens_left(body: dict[str, Any], made: int) -> int | None:
    """Completion tokens that may still come after `made`; None: no limit is set."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return max(0, limit - made) if type(limit) is int and limit > 0 else None


def with_limit(body: dict[str, Any], left: int | None) -> dict[str, Any]:
    """The body with what may still come as its limit."""
    if left is None:
        return body
    rest = {name: value for name, value in body.items() if name != "max_completion_tokens"}
    return rest | {"max_tokens": left}
