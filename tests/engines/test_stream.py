"""One answer on its way: order, back-pressure, and every way to end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.engines.stream import Chunk, Finished, Route, Stream
from opengateway.errors import Cancelled, EngineFailed, OpenGatewayError, WorkerLost

DONE = Finished("stop", 3, 5)
PATIENCE = 5.0


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, PATIENCE))


async def read_all(stream: Stream) -> list[Chunk]:
    chunks: list[Chunk] = []
    while more := await stream.read():
        chunks += more
    return chunks


@given(st.lists(st.lists(st.text(max_size=3), max_size=5), max_size=8), st.integers(1, 6))
def test_a_reader_gets_every_chunk_once_and_in_order(batches: list[list[str]], limit: int) -> None:
    async def main() -> None:
        stream = Stream(limit)

        async def produce() -> None:
            for batch in batches:
                if not stream.put(batch):
                    await stream.room()
            stream.finish(DONE)

        produced = asyncio.create_task(produce())
        assert await read_all(stream) == [chunk for batch in batches for chunk in batch]
        await produced
        assert stream.finished == DONE

    run(main())


def test_a_full_stream_makes_its_producer_wait_until_it_is_read() -> None:
    async def main() -> None:
        stream = Stream(limit=2)
        assert stream.put(["a"])
        assert not stream.put(["b"])
        waiting = asyncio.create_task(stream.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        assert await stream.read() == ["a", "b"]
        await waiting

    run(main())


def test_whoever_fills_it_hears_how_much_was_read() -> None:
    async def main() -> None:
        stream, counts = Stream(), list[int]()
        stream.on_drain = counts.append
        stream.put(["a", "b"])
        await stream.read()
        stream.put(["c"])
        await stream.read()
        assert counts == [2, 1]

    run(main())


def test_an_error_comes_after_the_chunks_before_it() -> None:
    async def main() -> None:
        stream = Stream()
        stream.put(["a"])
        stream.fail(EngineFailed("it broke"))
        assert await stream.read() == ["a"]
        for _ in range(2):
            with pytest.raises(EngineFailed, match="it broke"):
                await stream.read()

    run(main())


def test_only_the_first_end_counts() -> None:
    async def main() -> None:
        stream = Stream()
        stream.finish(DONE)
        stream.fail(EngineFailed())
        stream.finish(Finished("length", 0, 0))
        assert stream.put(["late"])
        assert await stream.read() == []
        assert stream.finished == DONE
        assert stream.error is None

    run(main())


def test_a_cancel_is_told_once_and_drops_what_was_not_read() -> None:
    async def main() -> None:
        stream, told = Stream(limit=1), list[str]()
        stream.on_cancel = lambda: told.append("cancelled")
        stream.put(["a"])
        waiting = asyncio.create_task(stream.room())
        await asyncio.sleep(0)
        stream.cancel()
        stream.cancel()
        await waiting
        assert told == ["cancelled"]
        with pytest.raises(Cancelled):
            await stream.read()

    run(main())


@pytest.mark.parametrize("error", [None, EngineFailed("broke")])
def test_a_cancel_after_the_end_tells_nobody_and_keeps_the_end(error: OpenGatewayError | None) -> None:
    async def main() -> None:
        stream, told = Stream(), list[str]()
        stream.on_cancel = lambda: told.append("cancelled")
        if error is None:
            stream.finish(DONE)
        else:
            stream.fail(error)
        stream.cancel()
        assert not told
        assert stream.error is error

    run(main())


def test_a_reader_that_waits_for_an_answer_hears_that_nobody_gives_one() -> None:
    async def main() -> None:
        stream = Stream()
        waiting = asyncio.create_task(stream.wait_opened())
        await asyncio.sleep(0)
        stream.fail(EngineFailed("nobody"))
        with pytest.raises(EngineFailed, match="nobody"):
            await waiting

    run(main())


def test_a_reader_that_waits_for_an_answer_hears_who_gives_it() -> None:
    async def main() -> None:
        stream, route = Stream(), Route("abc", "a", "lan", "m")
        waiting = asyncio.create_task(stream.wait_opened())
        await asyncio.sleep(0)
        stream.opened(route)
        assert await waiting == route

    run(main())


def test_a_reader_that_is_cancelled_while_it_waits_leaves_the_stream_whole() -> None:
    async def main() -> None:
        stream = Stream()
        waiting = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        stream.put(["a"])
        assert await stream.read() == ["a"]

    run(main())


def test_the_time_to_the_first_token_is_that_of_the_first_chunk() -> None:
    async def main() -> None:
        stream = Stream()
        stream.opened(Route("abc", "a", "lan", "m"))
        assert stream.first_at is None
        stream.put(["a"])
        first = stream.first_at
        stream.put(["b"])
        assert first is not None
        assert stream.first_at == first >= stream.created

    run(main())


def test_an_answer_that_stands_still_is_ended_and_its_producer_let_go() -> None:
    async def main() -> None:
        stream, told = Stream(limit=1), list[int]()
        stream.on_cancel = lambda: told.append(1)
        stream.put(["a"])
        full = asyncio.create_task(stream.room())
        await asyncio.sleep(0)
        stream.give_up(WorkerLost("it stands still"))
        await full
        assert told == [1]
        assert await stream.read() == ["a"]
        with pytest.raises(WorkerLost, match="stands still"):
            await stream.read()
        stream.give_up(WorkerLost("again"))
        assert told == [1]

    run(main())
