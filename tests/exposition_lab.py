"""/metrics as text, of answers that are made up."""

from __future__ import annotations

from typing import Any

from actors.messages import Job
from opengateway.app.gateway.exposition import exposition
from opengateway.app.gateway.meter import Meter
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Finished, Route, Stream
from opengateway.errors import OpenGatewayError


def job(
    model: str = "m", kind: Any = "chat", *, tokens: int = 11, error: OpenGatewayError | None = None
) -> Job:
    """One that was asked at 0 s, had its first token at 0.5 s and its last at 1.5 s."""
    made = Job(GenerateRequest(kind, model, {}), Stream())
    stream = made.stream
    stream.opened(Route("node", "name", "lan", model))
    stream.put(["word"])
    if error is None:
        stream.finish(Finished("stop", 7, tokens))
    else:
        stream.fail(error)
    stream.first_at, stream.ended_at = stream.created + 0.5, stream.created + 1.5
    return made


def text(meter: Meter, **more: Any) -> str:
    return exposition(meter, **{"jobs": {}, "wire": {}, "me": {}, "credit": {}, "actors": [], **more})
