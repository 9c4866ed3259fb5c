"""An answer that stands still is ended; one that moves, or only began late, is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.messages import Job
from actors.standstill import FIRST_TOKEN, NEXT_TOKEN, end_the_stalled
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Stream
from opengateway.errors import DeadlinePassed


class Here:
    """The loop, for those who are on it."""

    def call(self, function: Callable[..., object], *args: Any) -> None:
        function(*args)


def look(job: Job, seconds: float) -> None:
    end_the_stalled({job: "engine"}, Here(), job.stream.moved_at + seconds)  # type: ignore[arg-type]


def make_job() -> Job:
    return Job(GenerateRequest("chat", "m", {}), Stream())


def test_an_answer_without_a_first_token_is_ended_and_its_engine_told() -> None:
    async def main() -> None:
        job, told = make_job(), list[int]()
        job.stream.on_cancel = lambda: told.append(1)
        look(job, FIRST_TOKEN - 1)
        assert job.stream.error is None
        look(job, FIRST_TOKEN + 1)
        assert isinstance(job.stream.error, DeadlinePassed)
        assert "no first token" in job.stream.error.message
        assert told == [1]

    asyncio.run(main())


def test_an_answer_that_stops_in_the_middle_is_ended_sooner() -> None:
    async def main() -> None:
        job = make_job()
        job.stream.put(["a"])
        look(job, NEXT_TOKEN - 1)
        assert job.stream.error is None
        look(job, NEXT_TOKEN + 1)
        assert job.stream.error is not None
        assert "no further token" in job.stream.error.message

    asyncio.run(main())


def test_the_time_in_the_queue_does_not_count() -> None:
    job = make_job()
    job.begun = job.stream.moved_at + 2 * FIRST_TOKEN
    look(job, 2 * FIRST_TOKEN + 1)
    assert job.stream.error is None
