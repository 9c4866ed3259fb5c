"""How fast peers really are, by the answers that came: what they claim is corrected by it."""

from __future__ import annotations

import asyncio

import pytest
from scheduler_bench import PATIENCE, PEER, Bench

from actors.messages import Job, JobEnded, Submit
from actors.scheduler import Scheduler
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Finished, Stream

TOKENS = 20


def answer(bench: Bench, *, streamed: bool, cost: int) -> dict[str, float]:
    """The speeds that are known of the peer afterwards, tokens/s by model."""
    bench.peers(PEER)
    job = Job(GenerateRequest("chat", "m", {"messages": []}, streamed), Stream())
    bench.address.tell(Submit(job))
    order = bench.dispatched()

    async def made() -> None:
        job.stream.put(["a"])
        await asyncio.sleep(0.1)
        job.stream.put(["b"] * (TOKENS - 1))
        if cost:
            job.stream.charge(b"r", cost)
        job.stream.finish(Finished("stop", 1, TOKENS))

    bench.io.run(made(), PATIENCE)
    bench.address.tell(JobEnded(job, order.peer, job.stream.finished, None))
    bench.jobs()
    scheduler = bench.address.actor
    assert isinstance(scheduler, Scheduler)
    return scheduler._market.observed.speeds(PEER)


@pytest.mark.parametrize(("streamed", "cost"), [(True, 0), (True, 5), (False, 5)])
def test_an_answer_that_came_in_pieces_tells_a_speed(bench: Bench, *, streamed: bool, cost: int) -> None:
    speeds = answer(bench, streamed=streamed, cost=cost)
    assert 0 < speeds["m"] <= (TOKENS - 1) / 0.1


def test_one_that_may_have_come_at_once_does_not(bench: Bench) -> None:
    assert answer(bench, streamed=False, cost=0) == {}
