"""Counts for /metrics, kept on the I/O loop: plain numbers, added up where things happen.

Two sides: as a client this node gets answers for its users, wherever they are made; as a server its engines
make answers, for whoever asks. Labels have few values by construction: what a peer or a user can make up (a
model's name, an error's code) is counted as "other" once there are many.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from actors.messages import Job
from opengateway.app import request_log
from opengateway.engines.protocol import Kind
from opengateway.engines.stream import Stream
from opengateway.errors import Cancelled, OpenGatewayError

K = TypeVar("K", bound=tuple[str, ...])

# Buckets as OpenTelemetry's conventions for generative AI advise.
DURATION_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN_S: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
PER_TOKEN_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
"""From 0.01 on as advised; small models on a GPU are below."""
TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144)

MOST_MODELS: Final = 16
MOST_OUTCOMES: Final = 64
OTHER: Final = "other"
OPERATIONS: Final[dict[Kind, str]] = {
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
}

Labels = tuple[str, str]
"""(operation, model)."""


class Histogram:
    """`counts` has one more than there are bounds: what is above them all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Side:
    """What is measured of answers on one side."""

    __slots__ = ("duration", "first_token", "per_token", "tokens_in", "tokens_out")

    def __init__(self) -> None:
        self.duration: dict[tuple[str, str, str], Histogram] = {}
        """(operation, model, error code or nothing); seconds."""
        self.first_token: dict[Labels, Histogram] = {}
        self.per_token: dict[Labels, Histogram] = {}
        self.tokens_in: dict[Labels, Histogram] = {}
        self.tokens_out: dict[Labels, Histogram] = {}


@dataclass(slots=True)
class Meter:
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(ring, outcome) of what our own users asked."""
    client: Side = field(default_factory=Side)
    server: Side = field(default_factory=Side)
    _models: set[str] = field(default_factory=set)
    _outcomes: set[str] = field(default_factory=set)

    def answered(self, job: Job) -> None:
        """One answer to a user of this node has ended."""
        stream = job.stream
        error = None if stream.finished is not None else stream.error or Cancelled()
        self._measure(self.client, job, error)
        ring = stream.route.ring if stream.route else "none"
        self.answers[ring, self._code(error) or "ok"] += 1
        request_log.answered(job, error)

    def served(self, job: Job, error: OpenGatewayError | None) -> None:
        """An engine of this node is done with an answer, for whomever it was."""
        self._measure(self.server, job, error)
        request_log.served(job, error)

    def _measure(self, side: Side, job: Job, error: OpenGatewayError | None) -> None:
        stream = job.stream
        operation, model = OPERATIONS[job.request.kind], self._model(stream)
        labels = (operation, model)
        seconds = (stream.ended_at or time.monotonic()) - stream.created
        _of(side.duration, (operation, model, self._code(error)), DURATION_S).add(seconds)
        if stream.first_at is not None:
            _of(side.first_token, labels, FIRST_TOKEN_S).add(stream.first_at - stream.created)
        finished = stream.finished
        if finished is None or error is not None:
            return
        _of(side.tokens_in, labels, TOKENS).add(finished.prompt_tokens)
        _of(side.tokens_out, labels, TOKENS).add(finished.completion_tokens)
        if finished.completion_tokens > 1 and stream.first_at is not None and stream.ended_at is not None:
            # The engine's own clock where it has one: an answer that nobody watches comes in one piece.
            seconds = finished.generate_seconds or stream.ended_at - stream.first_at
            _of(side.per_token, labels, PER_TOKEN_S).add(seconds / (finished.completion_tokens - 1))

    def _model(self, stream: Stream) -> str:
        """Of the engine that answered; what was asked for in vain is nobody's."""
        return _bounded(stream.route.model if stream.route else "", self._models, MOST_MODELS)

    def _code(self, error: OpenGatewayError | None) -> str:
        return "" if error is None else _bounded(error.code, self._outcomes, MOST_OUTCOMES)


def _of(kept: dict[K, Histogram], key: K, bounds: Sequence[float]) -> Histogram:
    found = kept.get(key)
    if found is None:
        found = kept[key] = Histogram(bounds)
    return found


def _bounded(name: str, seen: set[str], most: int) -> str:
    if name in seen:
        return name
    if len(seen) >= most:
        return OTHER
    seen.add(name)
    return name
