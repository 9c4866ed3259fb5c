"""Several short requests on one OPEN: the tab.

Where many short requests go to one peer, an OPEN, a SETTLE and an EARN for each cost both nodes more than all
the rest. So the requester opens one hold for several; the first request brings the OPEN, later ones name it,
and one SETTLE pays for all (opengateway/ledger/LEDGER.md, "Tabs"). Both sides reckon what is left with this
file, from what both know: the bytes of the body, and the most tokens that it asks for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from opengateway.engines.account import Account
from opengateway.engines.prompt_size import TEMPLATE_TOKENS
from opengateway.units import NodeId

MOST_PROMPT: Final = 16 * 1024
"""Prompt tokens, and so bytes, up to which a request is short."""
MOST_ANSWER: Final = 32
"""Completion tokens up to which a request is short. Longer ones stream, and all on a tab would stand still
together for its next voucher: 16 streams of 100 tokens had the first after 266 ms at p99 instead of 59."""
MARK: Final = b"\x01"
"""Before an OPEN that further requests will name. CBOR of an OPEN never begins with it."""
LEAF, ID = 32, 8
MOST_REQUESTS: Final = 4096
"""On one tab."""


class Need(NamedTuple):
    """Tokens that a request can cost at most."""

    prompt: int
    completion: int


NOTHING: Final = Need(0, 0)


def need_of(kind: str, body: dict[str, Any], size: int) -> Need | None:
    """`size`: bytes of the body as it travels. None: not short, or without a limit that both can read."""
    limit = 0 if kind == "embedding" else body.get("max_completion_tokens") or body.get("max_tokens")
    prompt = size + TEMPLATE_TOKENS
    if type(limit) is not int or not 0 <= limit <= MOST_ANSWER or prompt > MOST_PROMPT:
        return None
    return Need(prompt, limit)


def naming(leaf: bytes, request_id: bytes) -> bytes:
    """The `opening` of a request on a tab: which, and what the requester calls the request."""
    return leaf + request_id[:ID]


def named(opening: bytes) -> tuple[bytes, bytes] | None:
    """(leaf of the OPEN, request id), if this names a tab."""
    return (opening[:LEAF], opening[LEAF:]) if len(opening) == LEAF + ID else None


@dataclass(eq=False, slots=True)
class Budget:
    """What is left on a tab."""

    prompt: int
    completion: int
    owed_prompt: int = 0
    """Of answers that have ended."""
    owed_completion: int = 0
    in_flight: int = 0
    requests: int = 0
    total: Need = field(init=False)

    def __post_init__(self) -> None:
        self.total = Need(self.prompt, self.completion)

    def has_room(self, need: Need) -> bool:
        room = self.prompt >= need.prompt and self.completion >= need.completion
        return room and self.requests < MOST_REQUESTS

    def take(self, need: Need) -> None:
        self.prompt -= need.prompt
        self.completion -= need.completion
        self.in_flight += 1
        self.requests += 1

    def ended(self, need: Need, prompt: int, completion: int) -> tuple[int, int]:
        """An answer has ended and is owed for; what it did not use is free again. (prompt, completion): what
        is owed, within what it could need."""
        prompt, completion = min(prompt, need.prompt), min(completion, need.completion)
        self.prompt += need.prompt - prompt
        self.completion += need.completion - completion
        self.owed_prompt += prompt
        self.owed_completion += completion
        self.in_flight -= 1
        return prompt, completion


@dataclass(eq=False, slots=True)
class Tab:
    """One of ours, at a peer."""

    peer: NodeId
    rid: bytes
    leaf: bytes
    """Of its OPEN."""
    budget: Budget
    account: Account = field(default_factory=Account)
    number: int = 0
    """The stream of the request that brought the OPEN; its vouchers go by it."""
    accepted: bool = False
    """The peer has begun to answer that one, so others may name it."""
    closed: bool = False
    """Nothing goes on it any more; it is settled when the last answer has ended."""
    settled: bool = False
    began: float = 0.0
    used: float = 0.0
    """Monotonic seconds, of the last request."""
    promised: tuple[int, int] = (0, 0)
    """(prompt, completion) tokens of the last voucher."""
    answers: Any = field(default_factory=sha256)
    """Over the digests of all answers, in the order in which they ended."""
