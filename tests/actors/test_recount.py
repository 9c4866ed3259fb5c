"""Prompts counted again by an engine of one's own: what is paid, what is remembered, who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, cast

import pytest

from actors.io_loop import IoLoop
from actors.recount import AT_ONCE, KEPT, PATIENCE, Count, Recount, allowance
from opengateway.engines.protocol import Engine, GenerateRequest
from opengateway.units import NodeId

PEER = NodeId(bytes(32))
HELLO = GenerateRequest("chat", "m", {"messages": [{"role": "user", "content": "hello"}], "seed": 1})


class Counter:
    """An engine of which only the counting is asked for."""

    def __init__(self, tokens: int | None = 100) -> None:
        self.tokens = tokens
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def count_prompt(self, _request: GenerateRequest) -> int | None:
        self.asked += 1
        await self.go.wait()
        if self.tokens is None:
            raise ConnectionError
        return self.tokens


class Here:
    def __init__(self, io: IoLoop, engine: Counter) -> None:
        self.told: list[tuple[NodeId, int]] = []
        found = {"same": cast(Engine, engine)}
        self.recount = Recount(io, found.get, overcharged=lambda *args: self.told.append(args))

    async def counted(self, request: GenerateRequest = HELLO) -> Count:
        count = self.recount.begin(request, "same")
        assert count is not None
        await ended(count)
        return count


async def ended(count: Count) -> None:
    known = asyncio.Event()
    count.then(known.set)
    await asyncio.wait_for(known.wait(), 10)


@pytest.fixture
def io() -> Iterator[IoLoop]:
    made = IoLoop()
    made.start()
    yield made
    made.stop()


def run(io: IoLoop, work: Coroutine[Any, Any, None]) -> None:
    io.run(work, 20)


def test_a_claim_is_paid_as_far_as_our_own_count_and_a_little_more(io: IoLoop) -> None:
    async def main() -> None:
        here = Here(io, Counter(100))
        count = await here.counted()
        for claim, paid in ((0, 0), (99, 99), (100, 100), (109, 109), (110, 109), (10**9, 109)):
            assert here.recount.payable(PEER, claim, count) == paid
        assert here.told == [(PEER, 1), (PEER, 2)]
        assert here.recount.counters["overclaims"] == 2
        assert here.recount.counters["tokens_not_paid"] == 1 + 10**9 - 109
        assert allowance(100_000) == 1008

    run(io, main())


def test_a_prompt_asked_again_is_not_counted_again_whatever_its_seed(io: IoLoop) -> None:
    async def main() -> None:
        engine = Counter()
        here = Here(io, engine)
        await here.counted()
        again = here.recount.begin(GenerateRequest("chat", "other", {**HELLO.body, "seed": 2}), "same")
        assert again is not None
        assert (again.done, again.tokens, engine.asked) == (True, 100, 1)
        await here.counted(GenerateRequest("chat", "m", {"messages": []}))
        assert engine.asked == 2

    run(io, main())


def test_without_such_a_model_or_after_a_failure_the_claim_stands(io: IoLoop) -> None:
    async def main() -> None:
        here = Here(io, Counter(None))
        assert here.recount.begin(HELLO, "another") is None
        assert here.recount.begin(HELLO, "") is None
        count = await here.counted()
        assert here.recount.payable(PEER, 500, count) == here.recount.payable(PEER, 500, None) == 500
        assert (here.told, here.recount.counters["failed"]) == ([], 1)

    run(io, main())


def test_a_settlement_waits_for_a_count_and_not_for_ever(io: IoLoop) -> None:
    async def main() -> None:
        engine = Counter()
        engine.go.clear()
        here = Here(io, engine)
        count = here.recount.begin(HELLO, "same")
        settled = asyncio.Event()
        asked = asyncio.get_running_loop().time()
        here.recount.when_known(count, settled.set)
        assert not settled.is_set()
        await asyncio.wait_for(settled.wait(), 10)
        assert asyncio.get_running_loop().time() - asked >= PATIENCE * 0.9
        assert count is not None
        assert count.tokens is None
        engine.go.set()

    run(io, main())


def test_when_a_session_ends_no_settlement_waits_any_longer(io: IoLoop) -> None:
    async def main() -> None:
        engine = Counter()
        engine.go.clear()
        here = Here(io, engine)
        settled: list[bool] = []
        here.recount.when_known(here.recount.begin(HELLO, "same"), lambda: settled.append(True))
        here.recount.hurry()
        assert settled == [True]
        engine.go.set()

    run(io, main())


def test_counting_is_bounded_in_number_and_memory(io: IoLoop) -> None:
    async def main() -> None:
        engine = Counter()
        engine.go.clear()
        here = Here(io, engine)
        requests = [GenerateRequest("chat", "m", {"prompt": str(i)}) for i in range(AT_ONCE + 1)]
        begun = [here.recount.begin(request, "same") for request in requests]
        assert [count is None for count in begun] == [False] * AT_ONCE + [True]
        engine.go.set()
        for count in filter(None, begun):
            await ended(count)
        for number in range(KEPT + 5):
            await here.counted(GenerateRequest("chat", "m", {"prompt": f"more {number}"}))
        assert len(here.recount._known) == KEPT
        for number in range(1100):
            here.recount.payable(NodeId(number.to_bytes(32, "big")), 1000, Count(done=True, tokens=1))
        assert len(here.recount._claimed_too_much) == 1024

    run(io, main())
