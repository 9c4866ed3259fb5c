"""Prompt tokens counted again, where this node has the tokenizer: what a peer claims is paid as far as that.

A worker tells how many tokens a prompt had, and the bytes that we sent bound it: four to six times too
high for prose. If an engine of this node serves a model with the same digest, it counts the same prompt
(1 ms, no slot) while the peer answers. Neither the first token nor the end of the answer waits for it, and
a settlement `PATIENCE` at most; without a count the bytes bound the claim as before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import orjson

from actors.io_loop import IoLoop
from opengateway.engines.protocol import Engine, GenerateRequest
from opengateway.identity import short
from opengateway.units import NodeId

logger = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds that a settlement waits for a count that is under way; answers nearly always take longer."""
LIMIT = 3.0
"""Seconds for one count: the engine may be reading a long prompt of its own meanwhile."""
AT_ONCE = 8
"""Counts under way; whoever comes then goes without."""
KEPT = 512
"""Prompts whose count is remembered: retries, and conversations asked again."""
WATCHED = 1024
"""Peers that claimed too much and are remembered, the latest; in one run of the node."""
SAMPLING = frozenset({"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "seed", "stop"})
"""Of a request what changes from one asking to the next and never the prompt."""

FindEngine = Callable[[str], Engine | None]
"""Given a digest: the engine that serves the same weights, if one does now."""


def allowance(own: int) -> int:
    """Tokens that a claim may lie above our own count: versions of llama.cpp differ by a token at each end
    (begin-of-text beside a template that has one), templates by a line (the date, an empty system prompt).
    More than 1 % is never honest, and less than 1 % of the prompt's eighth of a price is nothing to take."""
    return 8 + own // 100


@dataclass(eq=False, slots=True)
class Count:
    """One prompt's tokens by our own tokenizer."""

    done: bool = False
    tokens: int | None = None
    """None: not known (yet, or at all)."""
    _then: list[Callable[[], object]] = field(default_factory=list)

    def then(self, call: Callable[[], object]) -> None:
        """When it is known, or at once."""
        if self.done:
            call()
        else:
            self._then.append(call)

    def end(self, tokens: int | None) -> None:
        """Only the first time counts."""
        if not self.done:
            self.done, self.tokens = True, tokens
            waiting, self._then = self._then, []
            for call in waiting:
                call()


class Recount:
    """On the I/O loop."""

    def __init__(
        self, io: IoLoop, engine: FindEngine, *, overcharged: Callable[[NodeId, int], object]
    ) -> None:
        """`overcharged` is told of a peer that claimed too much, and how often it has by now."""
        self._io = io
        self._engine = engine
        self._overcharged = overcharged
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._under_way: set[Count] = set()
        self._claimed_too_much: OrderedDict[NodeId, int] = OrderedDict()
        self.counters = {"counted": 0, "known": 0, "failed": 0, "overclaims": 0, "tokens_not_paid": 0}

    def begin(self, request: GenerateRequest, digest: str) -> Count | None:
        """A count of this prompt; None where nobody here can tell."""
        engine = self._engine(digest) if digest else None
        if engine is None or len(self._under_way) >= AT_ONCE:
            return None
        key = _key(request, digest)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            self.counters["known"] += 1
            return Count(done=True, tokens=known)
        count = Count()
        self._under_way.add(count)
        self._io.task(self._count(count, key, engine, request))
        return count

    async def _count(self, count: Count, key: bytes, engine: Engine, request: GenerateRequest) -> None:
        tokens = None
        try:
            async with asyncio.timeout(LIMIT):
                tokens = await engine.count_prompt(replace(request, model=""))
        except Exception as error:  # the engine is busy, gone, or does not know this kind of prompt
            logger.debug("a prompt could not be counted: %r", error)
        finally:
            self._under_way.discard(count)
            self.counters["counted" if tokens is not None else "failed"] += 1
            if tokens is not None:
                self._known[key] = tokens
                while len(self._known) > KEPT:
                    self._known.popitem(last=False)
            count.end(tokens)

    def when_known(self, count: Count | None, settle: Callable[[], object]) -> None:
        """Calls `settle` now, or when the count is there, but within `PATIENCE` in any case."""
        if count is None or count.done:
            settle()
            return
        count.then(settle)
        self._io.loop.call_later(PATIENCE, count.end, None)

    def hurry(self) -> None:
        """No settlement waits any longer: a session is over, perhaps this node's work, too."""
        for count in list(self._under_way):
            count.end(None)

    def payable(self, peer: NodeId, claim: int, count: Count | None) -> int:
        """Prompt tokens to pay for of those that the peer claims."""
        own = count.tokens if count is not None else None
        if own is None or claim <= own + allowance(own):
            return claim
        paid = own + allowance(own)
        times = self._claimed_too_much.pop(peer, 0) + 1
        self._claimed_too_much[peer] = times
        while len(self._claimed_too_much) > WATCHED:
            self._claimed_too_much.popitem(last=False)
        self.counters["overclaims"] += 1
        self.counters["tokens_not_paid"] += claim - paid
        logger.warning("%s claims %d prompt tokens, by our count it was %d", short(peer), claim, own)
        self._overcharged(peer, times)
        return paid


def _key(request: GenerateRequest, digest: str) -> bytes:
    prompt = {key: value for key, value in request.body.items() if key not in SAMPLING}
    whole = (digest, request.kind, prompt, request.partial)
    return sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).digest()
