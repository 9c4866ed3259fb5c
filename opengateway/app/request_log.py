"""A line for each request, where the owner wants that (`log.requests`): id, where, how much, how long.

Never its text, and no key: what is written here is counts, ids, names of nodes and models, and error codes.
An error's message is left out, because engines quote prompts in theirs.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from actors.messages import Job
from opengateway.errors import OpenGatewayError
from opengateway.identity import short

logger: Final = logging.getLogger("opengateway.requests")


def answered(job: Job, error: OpenGatewayError | None) -> None:
    """A user of this node got an answer, or an error."""
    if logger.isEnabledFor(logging.INFO):
        _write("answered", job, error, {"credits_ucr": job.stream.cost or 0})


def served(job: Job, error: OpenGatewayError | None) -> None:
    """An engine of this node is done with it."""
    if logger.isEnabledFor(logging.INFO):
        _write("served", job, error, {"for": short(job.origin) if job.origin is not None else "own user"})


def _write(what: str, job: Job, error: OpenGatewayError | None, more: dict[str, Any]) -> None:
    stream, now = job.stream, time.monotonic()
    route, finished, first = stream.route, stream.finished, stream.first_at
    facts: dict[str, Any] = {
        "event": what,
        "request": job.id,
        "kind": job.request.kind,
        "model": route.model if route is not None else "",
        "node": route.node if route is not None else "",
        "ring": route.ring if route is not None else "",
        "outcome": "ok" if error is None else error.code,
        "prompt_tokens": finished.prompt_tokens if finished is not None else 0,
        "completion_tokens": finished.completion_tokens if finished is not None else 0,
        "first_token_ms": round((first - stream.created) * 1000, 1) if first is not None else None,
        "seconds": round((stream.ended_at or now) - stream.created, 4),
        **more,
    }
    words = " ".join(f"{name}={value}" for name, value in facts.items() if name != "event" and value != "")
    logger.info("%s %s", what, words, extra={"facts": facts})
