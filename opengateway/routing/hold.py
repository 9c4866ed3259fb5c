"""The most that a request can cost: what the requester holds before it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

TEMPLATE_TOKENS = 512
"""Tokens that a chat template may add to the text of the messages."""
UNBOUNDED_ANSWER = 2048
"""Completion tokens held when the request sets no limit: longer than nearly every chat answer, and at the
reference price of a 7B model 14 credits, well inside a newcomer's line of 50."""

MOST_ANSWER = 1 << 20
"""Completion tokens held whatever the request says: more than any model's context, and at the highest
price that a ledger allows still an amount that it can write."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Tokens, at most."""

    prompt_tokens: int
    completion_tokens: int


def hold_for(kind: str, body: dict[str, Any], context: int, partial: Sequence[str] = ()) -> Hold:
    """A prompt of n bytes has at most n tokens; the answer at most what the caller or the context allows.
    `partial`: chunks of an answer that is gone on with: prompt now, and no longer to be made."""
    prompt = len(orjson.dumps(body)) + sum(len(text.encode()) for text in partial) + TEMPLATE_TOKENS
    if kind == "embedding":
        return Hold(prompt, 0)
    limit = answer_limit(body, context)
    return Hold(prompt, max(1, limit - len(partial)))


def answer_limit(body: dict[str, Any], context: int) -> int:
    """Completion tokens that the requester is ready to pay for; the worker is told the same number."""
    wanted = body.get("max_completion_tokens") or body.get("max_tokens") or UNBOUNDED_ANSWER
    limit = wanted if isinstance(wanted, int) and wanted > 0 else UNBOUNDED_ANSWER
    return min(limit, context if context > 0 else MOST_ANSWER, MOST_ANSWER)
