"""How a batch of this node is asked: each line a job like any other, without HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import orjson

from actors.kernel import Address, answer
from actors.messages import DescribeJobs, Job, SchedulerMessage
from opengateway.app.gateway.callers import Caller
from opengateway.app.gateway.chat_body import Aliases, read_body
from opengateway.app.gateway.delivery import Delivery, Writer
from opengateway.app.gateway.errors import error_body
from opengateway.app.gateway.meter import Meter
from opengateway.app.gateway.openai_api import Events, Vectors
from opengateway.batch.drive import Reply
from opengateway.engines.protocol import Kind
from opengateway.engines.stream import Stream
from opengateway.errors import OpenGatewayError

KINDS: Final[dict[str, Kind]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embedding",
}
WITHIN_S: Final = 3600.0
"""Seconds that one request may wait for a free slot: a batch is in no hurry."""


class AskInside:
    def __init__(
        self,
        scheduler: Address[SchedulerMessage],
        meter: Meter,
        aliases: Aliases,
        caller_of: Callable[[str], Caller],
    ) -> None:
        """`caller_of`: who has given a batch, by the id of the API key; raises if it is valid no longer."""
        self._scheduler, self._aliases, self._caller_of = scheduler, aliases, caller_of
        self._delivery = Delivery(scheduler, meter)

    async def capacity(self) -> int:
        try:
            return int((await answer(self._scheduler.ask(DescribeJobs()), 5.0)).get("capacity", 1))
        except Exception:  # it is being restarted: the next look is in 2 s
            return 1

    async def ask(self, owner: str, url: str, body: dict[str, Any]) -> Reply:
        kind, job_id = KINDS[url], ""
        try:
            asked = read_body(orjson.dumps(body), kind, self._aliases)
            deadline = time.monotonic() + WITHIN_S
            job = Job(asked.request, Stream(), within=WITHIN_S, deadline=deadline)
            job_id = job.id

            def make(job: Job) -> Writer:
                return Vectors() if kind == "embedding" else Events(job, asked, with_stats=False)

            written = await self._delivery.collected(job, self._caller_of(owner), make, asked.parts)
            return Reply(200, job_id, orjson.loads(written))
        except OpenGatewayError as error:
            return Reply(error.status, job_id, error_body(error), error.retry_after)
