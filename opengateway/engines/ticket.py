"""One of our requests at a peer: what came of it so far, and what we owe for that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opengateway.engines.account import Account
from opengateway.engines.prompt_size import TEMPLATE_TOKENS
from opengateway.engines.stream import Finished, Route, Stream
from opengateway.engines.tab import Tab
from opengateway.errors import OpenGatewayError
from opengateway.units import NodeId
from opengateway.wire.messages import STREAM_WINDOW


@dataclass(eq=False, slots=True)
class Ticket:
    """One request at one peer. `finished` or `error` is set once it has ended."""

    peer: NodeId
    number: int
    stream: Stream
    route: Route
    sent_bytes: int
    least_prompt: int
    """Prompt tokens that there surely are."""
    ended: Callable[[Ticket], None]
    vouch: Callable[[Ticket], object] | None = None
    """An instalment has come: sign for `came` tokens. None for free work."""
    chunks: int = 0
    received_bytes: int = 0
    window: int = STREAM_WINDOW
    unread: int = 0
    finished: Finished | None = None
    error: OpenGatewayError | None = None
    hashed: Any = None
    account: Account = field(default_factory=Account)
    """Of this request alone, or of all that are on its tab."""
    tab: Tab | None = None
    accepted: bool = False
    """The worker has begun to answer."""
    queued: int = 0
    """How often the peer has said where the request stands."""
    asked_at: float = field(default_factory=time.monotonic)
    partial_tokens: int = 0
    """Of the prompt's, by the worker's word: those of the answer that it goes on with."""

    @property
    def came(self) -> int:
        """Completion tokens received so far. Chunks can be empty, so they do not count by themselves."""
        return min(self.chunks, self.received_bytes)

    def digest(self) -> bytes:
        """32 bytes over the salt and everything received, in order: evidence in a dispute, no content."""
        return bytes(self.hashed.digest())

    def owed_tokens(self) -> tuple[int, int]:
        """(prompt, completion) tokens that we owe for: the claim, bounded by what travelled. A broken
        answer is owed for what came, and for the prompt as far as it is sure."""
        most_prompt, most_completion = self.sent_bytes + TEMPLATE_TOKENS, self.received_bytes + 16
        if self.finished is None:
            return (self.least_prompt, self.came) if self.came else (0, 0)
        return min(self.finished.prompt_tokens, most_prompt), min(
            self.finished.completion_tokens, most_completion
        )
