"""How llama.cpp takes up an answer that another has begun, token by token.

Its chat route can be given the beginning of an answer, but makes tokens of it anew: a model that has said
" v" "i" "ll" may find " vill" before it instead, and goes on in another way. So the prompt is built here:
`/apply-template` gives the text, `/tokenize` its tokens, and `/v1/completions` takes both numbers and texts.
What was shown came chunk by chunk, and a chunk is one token (or a few: those of a character beyond the
vocabulary). Measured on the pocket model: from every one of 120 places the rest was the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import orjson

from opengateway.engines.openai_client import OpenAIClient
from opengateway.engines.openai_format import not_openai
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.resuming import tokens_left, with_limit
from opengateway.engines.stream import Finished, Stream
from opengateway.errors import EngineFailed

PROMPT_FIELDS: Final = frozenset(
    {"messages", "tools", "tool_choice", "response_format", "json_schema", "grammar", "chat_template_kwargs"}
    | {"parallel_tool_calls", "reasoning_effort", "continue_final_message", "add_generation_prompt"}
)
"""Of a request's body what a chat template may look at."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What stands before the next token: token ids, and texts that are one token each."""

    prompt: list[int | str]
    partial_tokens: int
    """Those of the answer so far."""
    tokens: int


async def prefix_of(client: OpenAIClient, request: GenerateRequest) -> Prefix:
    """Of the prompt and the partial answer. Raises `RequestError`."""
    text = await _rendered(client, request)
    tokens, pieces = await _tokens(client, text + "".join(request.partial))
    made = _aligned(pieces, request.partial)
    if made is not None:
        return Prefix(list(tokens), made, len(tokens))
    # The model did not write as its own tokenizer would have: give it each chunk for itself.
    head, _ = await _tokens(client, text)
    if await _spaces_before(client):  # texts would each get a blank
        made = max(0, len(tokens) - len(head))
        return Prefix(list(tokens), made, len(tokens))
    made = len(request.partial)
    return Prefix([*head, *request.partial], made, len(head) + made)


async def go_on(client: OpenAIClient, request: GenerateRequest, model: str, stream: Stream) -> None:
    """See `Engine.generate`."""
    prefix = await prefix_of(client, request)
    left = tokens_left(request.body, prefix.partial_tokens)
    if left == 0:  # the last word had come, and only the end was missing
        stream.finish(Finished("length", prefix.tokens, 0, partial_tokens=prefix.partial_tokens))
        return
    body = {name: value for name, value in request.body.items() if name not in PROMPT_FIELDS}
    body = with_limit(body, left) | {"prompt": prefix.prompt}
    rest = GenerateRequest("completion", request.model, body, request.stream)
    await client.answer(rest, model, stream, partial_tokens=prefix.partial_tokens)


async def _rendered(client: OpenAIClient, request: GenerateRequest) -> str:
    if request.kind == "completion":
        return str(request.body.get("prompt") or "")
    body = {key: value for key, value in request.body.items() if key in PROMPT_FIELDS}
    told = await client.post_json(client.target("/apply-template"), orjson.dumps(body))
    text = told.get("prompt") if isinstance(told, dict) else None
    if not isinstance(text, str):
        raise EngineFailed("llama.cpp gave no prompt for these messages.")
    return text


async def _tokens(client: OpenAIClient, text: str) -> tuple[list[int], list[Any]]:
    """Token ids, and the text of each: a string, or its bytes where they are no UTF-8."""
    body = {"content": text, "add_special": True, "parse_special": True, "with_pieces": True}
    told = await client.post_json(client.target("/tokenize"), orjson.dumps(body))
    try:
        found = told["tokens"]
        return [int(token["id"]) for token in found], [token["piece"] for token in found]
    except (KeyError, TypeError, ValueError) as error:
        raise not_openai(error) from error


async def _spaces_before(client: OpenAIClient) -> bool:
    """Whether the tokenizer puts a blank before a text."""
    _, pieces = await _tokens(client, "x")
    return any(_size(piece) == len(" x") for piece in pieces) or " " in pieces


def _aligned(pieces: Sequence[Any], partial: Sequence[str]) -> int | None:
    """How many of the tokens are the partial answer, if every chunk of it begins with a token of its own."""
    ends = set(accumulate(_size(piece) for piece in reversed(pieces)))
    chunks = list(accumulate(len(chunk.encode()) for chunk in reversed(partial)))
    if not chunks or not ends.issuperset(chunks):
        return None
    total = 0
    for count, piece in enumerate(reversed(pieces), 1):
        total += _size(piece)
        if total == chunks[-1]:
            return count
    return None


def _size(piece: Any) -> int:
    """Bytes."""
    return len(piece.encode()) if isinstance(piece, str) else len(piece)
