"""One engine's answers on the loop: each ends exactly once, and the Scheduler hears of it."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.io_loop import IoLoop
from actors.kernel import Actor, Address
from actors.messages import Job, JobEnded, SpeedSeen
from actors.runner import Runner
from opengateway.engines.protocol import GenerateRequest, ModelInfo
from opengateway.engines.stream import Finished, Stream
from opengateway.errors import AllBusy, Cancelled, ContextTooLong, EngineFailed

PATIENCE = 5.0


class Ear(Actor[Any]):
    """Stands where the Scheduler stands."""

    def __init__(self, heard: queue.Queue[Any]) -> None:
        super().__init__()
        self._heard = heard

    def on_receive(self, message: Any) -> None:
        self._heard.put(message)


class Script:
    """An engine that does what the test says."""

    name = "script"
    slots = 1

    def __init__(self) -> None:
        self.asked, self.texts = 0, 4
        self.answer: Callable[[Stream], Any] = self._forever

    async def _forever(self, stream: Stream) -> None:
        stream.put(["a"])
        await asyncio.get_running_loop().create_future()

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def health(self) -> None: ...

    async def models(self) -> list[ModelInfo]:
        return [ModelInfo("m")]

    async def generate(self, request: GenerateRequest, stream: Stream) -> None:
        self.asked += 1
        await self.answer(stream)

    async def embed(self, request: GenerateRequest) -> dict[str, Any]:
        self.asked += 1
        return {"data": [], "usage": {"prompt_tokens": self.texts}}

    async def count_prompt(self, request: GenerateRequest) -> int | None:
        return None

    async def ended(self) -> str:
        return await asyncio.get_running_loop().create_future()


class Bench:
    def __init__(self) -> None:
        self.io, self.engine = IoLoop(), Script()
        self.heard: queue.Queue[Any] = queue.Queue()
        self.speeds: list[SpeedSeen] = []
        self.scheduler: Address[Any] = Address("scheduler", lambda: Ear(self.heard))
        self.runner = Runner(
            self.io,
            self.engine,
            "engine-script",
            node="us",
            node_name="us",
            scheduler=self.scheduler,
            speed=self.speeds.append,
        )

    def run(self, work: Any) -> Any:
        return self.io.run(work, PATIENCE)

    def ended(self) -> JobEnded:
        """The one end of the one job; a second would be found by the next call or by `empty`."""
        end = self.heard.get(timeout=PATIENCE)
        assert isinstance(end, JobEnded)
        assert end.place == "engine-script"
        return end


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.io.start()
    made.scheduler.start()
    yield made
    made.run(made.runner.close("the test is over"))
    made.scheduler.close()
    made.io.stop()


def job(kind: str = "chat") -> Job:
    return Job(GenerateRequest(kind, "m", {}), Stream())  # type: ignore[arg-type]


def test_an_answer_ends_with_what_the_engine_says(bench: Bench) -> None:
    async def answer(stream: Stream) -> None:
        stream.put(["a"] * 10)
        stream.finish(Finished("stop", 3, 10, 0.5, 2.0))

    bench.engine.answer, given = answer, job()
    bench.io.call(bench.runner.begin, given)
    end = bench.ended()
    assert (end.job, end.error, end.finished) == (given, None, Finished("stop", 3, 10, 0.5, 2.0))
    bench.run(asyncio.sleep(0))
    assert bench.speeds == [SpeedSeen("m", 6.0, 5.0)]


def test_an_answer_in_one_piece_tells_its_speed_by_the_time_that_it_took(bench: Bench) -> None:
    async def answer(stream: Stream) -> None:
        await asyncio.sleep(0.2)
        stream.put(["a"])
        stream.finish(Finished("stop", 3, 10))

    bench.engine.answer = answer
    bench.io.call(bench.runner.begin, Job(GenerateRequest("chat", "m", {}, stream=False), Stream()))
    bench.ended()
    bench.run(asyncio.sleep(0))
    [seen] = bench.speeds
    assert 0 < seen.generate_tps <= 10 / 0.2


def test_embedding_long_texts_tells_how_fast_it_reads(bench: Bench) -> None:
    bench.engine.texts = 100
    bench.io.call(bench.runner.begin, job("embedding"))
    bench.ended()
    bench.run(asyncio.sleep(0))
    [seen] = bench.speeds
    assert seen.prompt_tps > 0
    assert seen.generate_tps == 0.0


def test_an_embedding_is_one_chunk(bench: Bench) -> None:
    given = job("embedding")
    bench.io.call(bench.runner.begin, given)
    assert bench.ended().finished == Finished("stop", 4, 0)
    assert bench.run(given.stream.read()) == [{"data": [], "usage": {"prompt_tokens": 4}}]


def test_a_caller_who_left_before_it_began_costs_the_engine_nothing(bench: Bench) -> None:
    given = job()

    async def begin() -> None:
        given.stream.cancel()
        bench.runner.begin(given)

    bench.run(begin())
    assert isinstance(bench.ended().error, Cancelled)
    assert bench.engine.asked == 0


def test_a_caller_who_leaves_in_the_same_turn_is_heard_of_too(bench: Bench) -> None:
    given = job()

    async def begin() -> None:
        bench.runner.begin(given)
        given.stream.cancel()

    bench.run(begin())
    assert isinstance(bench.ended().error, Cancelled)
    assert bench.engine.asked == 0


def test_a_caller_who_leaves_in_mid_answer_cancels_it_in_the_engine(bench: Bench) -> None:
    given = job()

    async def begin() -> None:
        bench.runner.begin(given)
        await given.stream.read()
        given.stream.cancel()

    bench.run(begin())
    assert isinstance(bench.ended().error, Cancelled)
    bench.run(asyncio.sleep(0))
    assert bench.heard.empty()


def test_an_engine_that_ends_under_its_answers_is_a_failure_and_not_a_cancel(bench: Bench) -> None:
    given = job()

    async def begin() -> None:
        bench.runner.begin(given)
        await given.stream.read()
        await bench.runner.close("killed by signal 9")

    bench.run(begin())
    error = bench.ended().error
    assert isinstance(error, EngineFailed)
    assert "killed by signal 9" in error.message


def test_after_the_engine_has_ended_nothing_begins(bench: Bench) -> None:
    bench.run(bench.runner.close("killed by signal 9"))
    bench.io.call(bench.runner.begin, job())
    assert isinstance(bench.ended().error, AllBusy)
    assert bench.engine.asked == 0


def test_an_error_of_the_engine_passes_unchanged(bench: Bench) -> None:
    async def answer(_: Stream) -> None:
        raise ContextTooLong("too long", hint="shorten it")

    bench.engine.answer = answer
    bench.io.call(bench.runner.begin, job())
    error = bench.ended().error
    assert isinstance(error, ContextTooLong)
    assert error.hint == "shorten it"


def test_a_mistake_in_an_adapter_fails_one_answer(bench: Bench) -> None:
    async def answer(_: Stream) -> None:
        raise KeyError("choices")

    bench.engine.answer = answer
    bench.io.call(bench.runner.begin, job())
    error = bench.ended().error
    assert isinstance(error, EngineFailed)
    assert "choices" not in error.message
