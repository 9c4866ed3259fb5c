"""A measurement of an idle engine: alone, then in all slots, and given up for whoever asks."""

from __future__ import annotations

import asyncio

from scheduler_bench import Gate

from actors.measuring import TOKENS, measure
from actors.messages import SpeedSeen
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Finished, Stream


class Quick(Gate):
    """Writes at once, and says how long it took: with company each answer takes twice as long."""

    def __init__(self, tokens: int = TOKENS) -> None:
        super().__init__()
        self.tokens, self.running, self.most = tokens, 0, 0

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            stream.put(["x"] * self.tokens)
            seconds = 1.0 if self.most == 1 else 2.0
            stream.finish(Finished("length", 10, self.tokens, 0.1, seconds))
        finally:
            self.running -= 1


def measured(engine: Gate, *, busy: bool = False) -> list[SpeedSeen]:
    told: list[SpeedSeen] = []
    asyncio.run(asyncio.wait_for(measure(engine, "m", lambda: busy, told.append), 5))
    return told


def test_it_is_measured_alone_and_then_with_all_slots_busy() -> None:
    assert measured(Quick()) == [
        SpeedSeen("m", 100.0, float(TOKENS), 1),
        SpeedSeen("m", 100.0, TOKENS / 2, 2),
    ]


def test_an_answer_that_is_too_short_tells_nothing() -> None:
    assert measured(Quick(3)) == []


def test_whoever_wants_an_answer_goes_before_and_nothing_is_left_running() -> None:
    engine = Gate()
    assert measured(engine, busy=True) == []
    assert engine.asked.qsize() <= 1
