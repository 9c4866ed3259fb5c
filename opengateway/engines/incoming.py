"""One request of a peer: how it is read, and its answer cut into what travels."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import orjson

from opengateway.engines.account import Account
from opengateway.engines.needs import needs_of
from opengateway.engines.protocol import GenerateRequest, Kind
from opengateway.engines.resuming import CONTINUE, partial_of
from opengateway.engines.stream import Chunk, Stream
from opengateway.engines.tab import MARK, named
from opengateway.errors import BadRequest, EngineFailed
from opengateway.units import NodeId
from opengateway.wire.continue_messages import Continue
from opengateway.wire.limits import FRAME_LIMIT
from opengateway.wire.messages import STREAM_WINDOW, Ask

FRAME_CHARS = 64 * 1024
"""Characters of text in one frame; with 4 bytes each it stays far below the frame limit of 1 MiB."""
DELTA_LIMIT = FRAME_LIMIT - 16 * 1024
"""Bytes of a delta that is not text, and so cannot be cut: the embeddings of some 60 texts."""
AT_ONCE = 32
"""Tokens up to which an answer that nobody watches is sent in one piece: what a stranger gets on trust. A
longer one comes in pieces, and stops as a stream does when nobody vouches."""


@dataclass(eq=False, slots=True)
class Incoming:
    """One request of one peer."""

    peer: NodeId
    number: int
    request: GenerateRequest
    opening: bytes
    """A signed OPEN, the name of a tab, or nothing."""
    deadline_s: float
    size: int = 0
    """Bytes of its body as it came."""
    stream: Stream = field(default_factory=Stream)
    window: int = STREAM_WINDOW
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    job: object = None
    """Whatever the node wants to find again; the wire does not look at it."""
    begins_tab: bool = False
    """Further requests will name its OPEN."""
    tab: object = None
    """The one that it is on."""
    account: Account = field(default_factory=Account)
    """Of this request alone, or of all that are on its tab."""
    sent: int = 0
    sent_bytes: int = 0

    @property
    def tokens(self) -> int:
        """Completion tokens sent, as the requester counts them."""
        return min(self.sent, self.sent_bytes)


def read_ask(peer: NodeId, ask: Ask | Continue) -> Incoming:
    """Raises `BadRequest`."""
    if ask.kind not in get_args(Kind):
        raise BadRequest(f"unknown kind of request: {ask.kind[:20]!r}", hint="upgrade this node")
    body: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        body = orjson.loads(ask.body)
    if not isinstance(body, dict):
        raise BadRequest("the request body is not a JSON object")
    if _links_away(body):
        raise BadRequest(
            "images must come inside the request (data: URLs)",
            hint="an address would make this node fetch what a stranger names",
        )
    needs = needs_of(ask.kind, body)
    partial = _partial(ask, body) if isinstance(ask, Continue) else ()
    if partial:
        needs[CONTINUE] = "partial"
    pieces = _in_pieces(ask, body)
    request = GenerateRequest(cast(Kind, ask.kind), ask.model, body, pieces, needs, partial)
    begins_tab = ask.opening.startswith(MARK) and named(ask.opening) is None
    opening = ask.opening[len(MARK) :] if begins_tab else ask.opening
    return Incoming(
        peer, ask.stream, request, opening, ask.deadline_ms / 1000, len(ask.body), begins_tab=begins_tab
    )


def _partial(ask: Continue, body: dict[str, Any]) -> tuple[str, ...]:
    """What has been said of the answer. Raises `BadRequest`."""
    if not all(type(text) is str and text for text in ask.partial):
        raise BadRequest("a partial answer is made of texts, none of them empty")
    partial = partial_of(ask.kind, body, cast(list[Chunk], ask.partial))
    if partial is None:
        raise BadRequest("this kind of answer cannot be continued", hint="ask for the whole of it")
    return partial


def _in_pieces(ask: Ask | Continue, body: dict[str, Any]) -> bool:
    """Whether tokens are sent as they come."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    short = type(limit) is int and limit <= AT_ONCE
    return ask.streaming or bool(ask.opening and ask.kind != "embedding" and not short)


def _links_away(body: dict[str, Any]) -> bool:
    """Whether an image of a message is an address that somebody would have to fetch."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        parts = message.get("content") if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else ():
            image = part.get("image_url") if isinstance(part, dict) else None
            url = image.get("url") if isinstance(image, dict) else image
            if url is not None and not str(url).startswith("data:"):
                return True
    return False


def items_of(batch: list[Chunk]) -> list[str | bytes]:
    """The chunks as they travel: texts that are too long for a frame in parts."""
    items: list[str | bytes] = []
    for chunk in batch:
        if not isinstance(chunk, str):
            items.append(orjson.dumps(chunk))
            if len(items[-1]) > DELTA_LIMIT:
                hint = "ask for less at once, or ask a node that serves the model itself"
                raise EngineFailed("a part of the answer is too large to travel between nodes", hint=hint)
        elif len(chunk) <= FRAME_CHARS:
            items.append(chunk)
        else:
            items += [chunk[start : start + FRAME_CHARS] for start in range(0, len(chunk), FRAME_CHARS)]
    return items


def frame_of(items: list[str | bytes], start: int, window: int) -> list[str | bytes]:
    """As many items as fit into one frame; at least one."""
    part: list[str | bytes] = []
    total = 0
    for item in items[start : start + window]:
        total += len(item)
        if part and total > FRAME_CHARS:  # a delta may be larger: it goes alone
            break
        part.append(item)
    return part
