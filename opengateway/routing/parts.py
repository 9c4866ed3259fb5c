"""A request that is several: choices (`n`), lists of prompts, lists of texts to embed. What each part is.

Choices are numbered as OpenAI numbers them: those of the first prompt first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opengateway.errors import BadRequest

MOST_PARTS = 256
"""Parts of one request; each is a request of its own to whoever answers it."""
TEXTS_PER_PART = 16
"""Texts of one embedding part: engines read them as one batch, and a round trip is worth 16 short texts."""
_SEED_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class Part:
    """`body` is a whole request of one choice; the parts of one prompt have the same `prompt` number."""

    body: dict[str, Any]
    prompt: int


def split(kind: str, body: Mapping[str, Any], n: int = 1) -> list[Part]:
    """The parts, in the caller's order; one alone is the request itself. Raises `BadRequest`."""
    if kind == "embedding":
        return _texts(body)
    prompts = body.get("prompt") if kind == "completion" else None
    many: Sequence[Any] = prompts if isinstance(prompts, list) else [prompts]
    if len(many) * n > MOST_PARTS:
        raise BadRequest(
            f"{len(many) * n} answers are asked for at once, and at most {MOST_PARTS} can be",
            hint="send several requests, or `opengateway batch`",
            param="n" if n > 1 else "prompt",
        )
    parts = []
    for number, prompt in enumerate(many):
        one = dict(body) if kind == "chat" else {**body, "prompt": prompt}
        parts += [Part(_another(one, choice), number) for choice in range(n)]
    return parts


def limited(parts: Sequence[Part], most: int) -> list[Part]:
    """None of them longer than so many tokens."""
    bodies = ({k: v for k, v in part.body.items() if k != "max_completion_tokens"} for part in parts)
    return [Part({**body, "max_tokens": most}, part.prompt) for part, body in zip(parts, bodies, strict=True)]


def _another(body: dict[str, Any], choice: int) -> dict[str, Any]:
    """With one seed all choices would be the same."""
    seed = body.get("seed")
    if not choice or not isinstance(seed, int):
        return body
    moved = seed + choice
    return {**body, "seed": moved if moved < _SEED_LIMIT else moved - 2 * _SEED_LIMIT}


def _texts(body: Mapping[str, Any]) -> list[Part]:
    given = body.get("input")
    if not isinstance(given, list) or len(given) <= TEXTS_PER_PART:
        return [Part(dict(body), 0)]
    starts = range(0, len(given), TEXTS_PER_PART)
    return [Part({**body, "input": given[at : at + TEXTS_PER_PART]}, at) for at in starts]


def joined(responses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One embeddings response of several, in their order. Raises `ValueError` for what is none."""
    data: list[dict[str, Any]] = []
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    for response in responses:
        rows = response.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("an answer has no list of embeddings")
        for row in sorted(rows, key=lambda row: _count(row.get("index"))):
            data.append({**row, "index": len(data)})
        used = response.get("usage")
        for name in usage:
            usage[name] += _count(used.get(name)) if isinstance(used, dict) else 0
    head = dict(responses[0]) if responses else {"object": "list"}
    return {**head, "data": data, "usage": usage}


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0
