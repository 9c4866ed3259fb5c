"""Who waits how long at one busy worker, with time thirty times as fast: tests/lab/test_waiting.py, small."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import pytest
from swarm_lab import Asked, Member, Writer, swarm

from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Finished, Stream
from opengateway.routing import priority
from opengateway.routing.priority import Service

FASTER = 30.0
ANSWER_S, OWNER_EVERY_S, LOAD_S = 0.1, 0.33, 6.0
TOKENS = 10


class OneAtATime(Writer):
    slots = 1

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        await asyncio.sleep(ANSWER_S)
        stream.put(["x"] * TOKENS)
        stream.finish(Finished("stop", 1, TOKENS))


class Asker:
    def __init__(self, member: Member, worker: Member, every_s: float = 0.0) -> None:
        self.member, self.worker, self.every_s = member, worker, every_s
        self.waits: list[float] = []
        self.began = 0.0
        self.asked: Asked | None = None

    def look(self, now: float) -> None:
        """Note what has ended, and ask again."""
        if self.asked is not None and self.asked.over:
            assert self.asked.error is None, self.member.name
            stream = self.asked.job.stream
            assert stream.ended_at is not None
            self.waits.append(stream.ended_at - self.began - ANSWER_S)
            self.asked = None
        if self.asked is None and now - self.began >= self.every_s:
            self.began = now
            self.asked = self.member.begin(self.worker, TOKENS)


def test_the_owner_waits_least_then_a_friend_then_credit_and_a_newcomer_within_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = {service: start / FASTER for service, start in priority.HEAD_START.items()}
    monkeypatch.setattr(priority, "HEAD_START", heads)
    with swarm(tmp_path) as here:
        friend, creditor, newcomer = (here.member(name) for name in ("friend", "creditor", "newcomer"))
        worker = here.member("worker", price=1, engine=OneAtATime(), friends=frozenset({friend.id}))
        here.join()
        assert worker.ask(creditor, 100).error is None  # now it owes for that
        assert worker.ask(worker, TOKENS).error is None  # and knows how long an answer takes
        askers = [
            Asker(worker, worker, OWNER_EVERY_S),
            *(Asker(member, worker) for member in (friend, creditor, newcomer)),
        ]
        ends = time.monotonic() + LOAD_S
        here.until(lambda: [one.look(time.monotonic()) for one in askers] and time.monotonic() > ends, "load")
        here.until(lambda: all(one.asked is None or one.asked.over for one in askers), "the last answers")
        for one in askers:
            one.look(0.0)
    means = [statistics.fmean(one.waits) for one in askers]
    print(
        [
            (len(one.waits), round(mean, 2), round(max(one.waits), 2))
            for one, mean in zip(askers, means, strict=True)
        ]
    )
    owner, known, secured, stranger = means
    assert owner < known < stranger
    assert owner < secured < stranger
    assert max(askers[-1].waits) < heads[Service.STRANGER] + 10 * ANSWER_S
