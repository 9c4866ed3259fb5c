"""How much prompt there surely is in a request, before any tokenizer has said so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opengateway.engines.protocol import GenerateRequest

TEMPLATE_TOKENS = 512
"""Prompt tokens that a chat template may add to what was sent."""
BYTES_PER_TOKEN = 6
"""English prose has 4 to 5 bytes a token, code and other languages fewer. What is promised while an answer
streams stays promised when the real count comes, so this is on the low side."""


MOST_BYTES_PER_TOKEN = 16
"""Runs of spaces and of other repeated characters are single tokens in most vocabularies, the longest of
usual ones this long: what has more bytes than this for each token of a context surely does not fit into
it."""


def text_bytes(body: dict[str, Any]) -> int:
    """Bytes of the texts that a model reads, pictures left out: a megabyte of base64 is 1,000 tokens."""
    prompt = body.get("prompt")
    size = len(prompt.encode()) if isinstance(prompt, str) else 0
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else (content,):
            text = part.get("text") if isinstance(part, dict) else part
            size += len(text.encode()) if isinstance(text, str) else 0
    return size


def least_prompt_tokens(body: dict[str, Any], partial: Sequence[str] = ()) -> int:
    """Tokens; at least 1. `partial`: of an answer that is gone on with."""
    return max(1, (text_bytes(body) + sum(len(text.encode()) for text in partial)) // BYTES_PER_TOKEN)


def least_prompt(request: GenerateRequest) -> int:
    """Tokens that its worker surely reads."""
    return least_prompt_tokens(request.body, request.partial)


def sure_prompt_tokens(body: dict[str, Any]) -> int:
    """Tokens that there are whatever the vocabulary; 0 where nobody can say."""
    return text_bytes(body) // MOST_BYTES_PER_TOKEN
