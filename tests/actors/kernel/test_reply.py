"""Answers, from the asker's side: blocking, calling back, and in asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest
from kernel_lab import No, Sleeper, Who, poll, worker

from actors.kernel import ActorDeadError, Address, ManualClock, Refused, Reply, answer

Plant = Callable[..., Address[Any]]


def test_the_first_answer_counts() -> None:
    reply: Reply[int] = Reply()
    assert not reply.answered
    assert reply.answer(1) is True
    assert reply.answer(2) is False
    assert reply.refuse(OSError()) is False
    assert (reply.get(timeout=0), reply.answered) == (1, True)


def test_get_gives_up_after_its_timeout() -> None:
    with pytest.raises(pykka.Timeout):
        Reply[int]().get(timeout=0)


def test_callbacks_run_once_whether_they_come_before_or_after_the_answer() -> None:
    reply: Reply[int] = Reply()
    seen: list[int] = []
    reply.then(lambda r: seen.append(r.get()))
    assert seen == []
    reply.answer(1)
    reply.then(lambda r: seen.append(-r.get()))
    assert seen == [1, -1]


def test_a_callback_that_fails_is_logged_and_hurts_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    reply: Reply[int] = Reply()
    seen: list[int] = []
    reply.then(lambda _: 1 / 0)
    reply.then(lambda r: seen.append(r.get()))
    assert reply.answer(1) is True
    assert seen == [1]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_would_end_the_asker_arrives_as_an_ordinary_error(error: BaseException) -> None:
    reply: Reply[int] = Reply()
    reply.refuse(error)
    with pytest.raises(ActorDeadError, match=f"ended by {type(error).__name__}"):
        reply.get(timeout=0)


def test_awaiting_an_answer_lets_the_loop_go_on(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock), lone=True)

    async def main() -> tuple[int, int]:
        sleeper = Sleeper(a)
        waiting = asyncio.create_task(answer(a.ask(Who())))
        for _ in range(10):  # the loop turns while the actor is busy
            await asyncio.sleep(0)
        assert not waiting.done()
        sleeper.wake()
        first = await waiting
        reply = a.ask(Who())
        poll(lambda: reply.answered)
        return first, await answer(reply)

    assert asyncio.run(main()) == (1, 1)


def test_awaiting_raises_what_the_actor_answered(clock: ManualClock, plant: Plant) -> None:
    a = plant(worker("a", clock), lone=True)
    with pytest.raises(Refused):
        asyncio.run(answer(a.ask(No()), timeout=10))


def test_awaiting_gives_up_after_its_timeout() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(answer(Reply[int](), timeout=0.01))


def test_an_answer_to_a_loop_that_has_closed_does_not_hurt_the_actor(
    clock: ManualClock, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    a = plant(worker("a", clock), lone=True)
    sleeper = Sleeper(a)

    async def main() -> None:
        task = asyncio.create_task(answer(sleeper.reply))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    sleeper.wake()
    assert a.ask(Who()).get(timeout=10) == 1
    assert caplog.text == ""


def test_many_threads_may_wait_for_one_answer() -> None:
    reply: Reply[int] = Reply()
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(reply.get(timeout=10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    reply.answer(7)
    for thread in threads:
        thread.join()
    assert got == [7] * 4
