"""A late first token: two places are asked, one answers, and the other is cancelled and not paid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scheduler_bench import OTHER, PATIENCE, PEER, Bench

from actors import hedging, in_flight, placing
from actors.messages import Dispatch, Job, JobEnded, Tick
from actors.scheduler import Scheduler
from opengateway.engines.contender import Contender
from opengateway.engines.stream import Finished, Route, Stream, Waits
from opengateway.errors import (
    AllBusy,
    Cancelled,
    DeadlinePassed,
    EngineFailed,
    EngineUnavailable,
    WorkerLost,
)
from opengateway.routing import first_tokens
from opengateway.routing.first_tokens import FirstTokens
from opengateway.routing.views import ServedModel
from opengateway.units import NodeId

DONE = Finished("stop", 1, 1)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(placing, "SETTLING", 0.0)
    monkeypatch.setattr(first_tokens, "UNKNOWN", -1.0)  # late at the first look
    made = Bench()
    made.start()
    yield made
    made.stop()


class Maker:
    """A place that answers, as the wire would: it can be cancelled."""

    def __init__(self, bench: Bench, order: Dispatch) -> None:
        self.bench, self.order = bench, order
        self.stream = order.job.stream
        self.cancelled = False
        self._on_loop(lambda: setattr(self.stream, "on_cancel", self._cancel))

    def _on_loop(self, call: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return call()

        return self.bench.io.run(run(), PATIENCE)

    def _cancel(self) -> None:
        self.cancelled = True
        self.stream.on_cancel = None
        self.bench.address.tell(JobEnded(self.order.job, self.order.peer, None, Cancelled()))

    def say(self, *words: str) -> None:
        name = self.order.peer.hex()[:4]
        self._on_loop(lambda: (self.stream.opened(Route(name, "", "lan", "m")), self.stream.put(words)))

    def end(self) -> None:
        self._on_loop(lambda: self.stream.finish(DONE))
        self.bench.address.tell(JobEnded(self.order.job, self.order.peer, DONE, None))

    def fail(self, error: Exception) -> None:
        self.bench.address.tell(JobEnded(self.order.job, self.order.peer, None, error))  # type: ignore[arg-type]


def both(bench: Bench) -> tuple[Job, Maker, Maker]:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    first = Maker(bench, bench.dispatched())
    second = Maker(bench, bench.dispatched())
    assert {first.order.peer, second.order.peer} == {PEER, OTHER}
    assert first.order.rid != second.order.rid
    return job, first, second


def read(bench: Bench, job: Job) -> list[Any]:
    return bench.io.run(job.stream.read(), PATIENCE)


def settled(bench: Bench) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while (counts := bench.jobs())["running"]:
        assert time.monotonic() < deadline
    return counts


def test_the_second_place_speaks_first_and_gives_the_whole_answer(bench: Bench) -> None:
    job, first, second = both(bench)
    second.say("a", "b")
    assert read(bench, job) == ["a", "b"]
    assert first.cancelled
    second.say("c")
    assert read(bench, job) == ["c"]
    second.end()
    assert read(bench, job) == []
    counts = settled(bench)
    assert counts["done"] == 1
    assert counts["failover"].items() >= {"hedged": 1, "hedges_won": 1}.items()
    assert {route.node for route in job.stream.routes} == {second.order.peer.hex()[:4]}


def test_the_first_place_speaks_first_after_all_and_the_second_is_told_to_stop(bench: Bench) -> None:
    job, first, second = both(bench)
    first.say("a")
    assert read(bench, job) == ["a"]
    first.end()
    assert read(bench, job) == []
    counts = settled(bench)
    assert second.cancelled
    assert (counts["done"], counts["failed"], counts["failover"]["hedges_won"]) == (1, 0, 0)


def test_a_reader_who_goes_away_stops_both(bench: Bench) -> None:
    job, first, second = both(bench)
    bench.io.call(job.stream.cancel)
    settled(bench)
    assert first.cancelled
    assert second.cancelled


def test_the_first_place_fails_and_the_second_is_waited_for(bench: Bench) -> None:
    job, first, second = both(bench)
    first.fail(WorkerLost("gone"))
    second.say("a")
    second.end()
    assert read(bench, job) == ["a"]
    assert settled(bench)["failed"] == 0


def test_both_fail_and_the_caller_hears_why(bench: Bench) -> None:
    job, first, second = both(bench)
    first.fail(WorkerLost("gone"))
    bench.jobs()
    second.fail(EngineFailed("broke"))
    assert isinstance(bench.error(job), WorkerLost)


def test_a_second_that_won_and_broke_off_is_an_answer_that_broke_off(bench: Bench) -> None:
    job, first, second = both(bench)
    second.say("a")
    assert read(bench, job) == ["a"]
    assert first.cancelled
    second.fail(WorkerLost("gone"))
    bench.error(job)
    assert bench.jobs()["failover"]["broken_off"] == 1


def test_nobody_is_asked_a_third_time_and_an_embedding_never_twice(bench: Bench) -> None:
    bench.peers(PEER, OTHER, NodeId(b"x" * 32))
    bench.submit()
    bench.dispatched()
    bench.dispatched()
    assert bench.lines["peers"].empty()
    counts = bench.jobs()
    assert (counts["running"], counts["failover"]["hedged"]) == (2, 1)


# -- who stands in a queue ------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No first token is late; who stands in a queue looks around at once."""
    monkeypatch.setattr(first_tokens, "UNKNOWN", 1000.0)
    monkeypatch.setattr(in_flight, "STOOD", 0.0)
    monkeypatch.setattr(hedging, "STOOD", 0.0)


def stands(bench: Bench, order: Dispatch, eta_s: float | None) -> None:
    bench.io.call(order.job.stream.queued, Waits(2, eta_s))


@pytest.mark.parametrize("eta_s", [60.0, None])
@pytest.mark.usefixtures("patient")
def test_who_stands_in_a_queue_is_answered_where_a_slot_is_free_and_leaves_the_queue(
    bench: Bench, eta_s: float | None
) -> None:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    first = Maker(bench, bench.dispatched())
    stands(bench, first.order, eta_s)
    second = Maker(bench, bench.dispatched())
    assert second.order.peer != first.order.peer
    assert second.order.job.brief
    second.say("a")
    assert read(bench, job) == ["a"]
    assert first.cancelled
    second.end()
    assert read(bench, job) == []
    counts = settled(bench)
    assert counts["failover"].items() >= {"left_queues": 1, "hedged": 0, "hedges_won": 0}.items()


@pytest.mark.usefixtures("patient")
def test_who_was_refused_elsewhere_keeps_its_place_in_the_queue_and_asks_there_again_when_it_was_told_to(
    bench: Bench,
) -> None:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    first = Maker(bench, bench.dispatched())
    stands(bench, first.order, 60.0)
    second = Maker(bench, bench.dispatched())
    refused_at = time.monotonic()
    second.fail(DeadlinePassed("it would have to wait", retry_after=1.0))
    again = Maker(bench, bench.dispatched())
    assert again.order.peer == second.order.peer
    assert time.monotonic() - refused_at >= 0.9
    first.say("a")
    first.end()
    assert read(bench, job) == ["a"]
    assert settled(bench)["failover"]["left_queues"] == 0


@pytest.mark.usefixtures("patient")
def test_a_worker_that_pauses_sends_away_who_waits_and_another_answers(bench: Bench) -> None:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    first = Maker(bench, bench.dispatched())
    stands(bench, first.order, 1.0)  # too soon to ask elsewhere
    first.fail(EngineUnavailable("this node is paused: its owner is using the machine"))
    second = Maker(bench, bench.dispatched())
    assert second.order.peer != first.order.peer
    second.say("a")
    second.end()
    assert read(bench, job) == ["a"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("eta_s", [60.0, 1.0])
def test_who_is_full_is_not_asked_nor_anybody_for_a_second_of_waiting(bench: Bench, eta_s: float) -> None:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    if eta_s > in_flight.WORTH:
        bench.ended(bench.dispatched(), AllBusy("full", retry_after=60.0))
    stands(bench, bench.dispatched(), eta_s)
    bench.io.run(_nothing(), PATIENCE)  # it stands there by now
    bench.address.tell(Tick())
    bench.jobs()
    assert job.stream.waits is not None
    assert job.twin is None
    assert bench.lines["peers"].empty()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("stood", [False, True])
def test_a_first_token_that_waited_in_a_queue_says_nothing_of_how_long_they_take(
    bench: Bench, *, stood: bool
) -> None:
    bench.peers(PEER)
    job = bench.submit()
    only = Maker(bench, bench.dispatched())
    if stood:
        stands(bench, only.order, 60.0)
        bench.io.run(_nothing(), PATIENCE)
        bench.address.tell(Tick())
        bench.jobs()
        bench.io.call(job.stream.queued, None)
    only.say("a")
    only.end()
    assert read(bench, job) == ["a"]
    settled(bench)
    scheduler = bench.address.actor
    assert isinstance(scheduler, Scheduler)
    assert scheduler._hedging.first_tokens.asked == (0 if stood else 1)


def test_what_it_stood_in_a_queue_is_no_lateness_of_its_first_token(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_tokens, "UNKNOWN", 60.0)
    bench.peers(PEER, OTHER)
    job = bench.submit()
    stands(bench, bench.dispatched(), 1.0)
    bench.io.run(_nothing(), PATIENCE)
    bench.address.tell(Tick())
    bench.jobs()
    assert job.stood > job.begun
    job.begun -= 1000.0  # it stood there for long
    bench.io.call(job.stream.queued, None)
    bench.io.run(_nothing(), PATIENCE)
    bench.address.tell(Tick())
    assert bench.jobs()["failover"]["hedged"] == 0


async def _nothing() -> None:
    """All that was called before has been done."""


def test_a_late_second_that_lost_shows_nothing(bench: Bench) -> None:
    async def main() -> None:
        stream = Stream()
        contender = Contender(stream)
        contender.enter()
        stream.put(["mine"])
        contender.put(["not mine"])
        contender.finish(DONE)
        assert await stream.read() == ["mine"]
        assert not contender.won
        assert stream.finished is None

    bench.io.run(main(), PATIENCE)


def test_late_is_what_is_late_for_this_place(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = FirstTokens()
    assert seen.late_after(PEER, None, 0, 0.1) == first_tokens.UNKNOWN + 0.2
    assert seen.late_after(PEER, None, 1000, 0.0) > first_tokens.UNKNOWN + 5
    for _ in range(30):
        seen.came(PEER, 2.0)
    assert seen.late_after(PEER, None, 1000, 0.0) == 3.0
    for _ in range(50):
        seen.came(PEER, 0.01)
    assert seen.late_after(PEER, None, 0, 0.0) == first_tokens.LEAST


def test_a_place_that_is_late_every_tenth_time_is_late_by_what_is_usual_there() -> None:
    seen = FirstTokens()
    for number in range(50):
        seen.came(PEER, 10.0 if number % 10 == 0 else 0.5)
    assert seen.late_after(PEER, None, 0, 0.0) == first_tokens.FAR * 0.5
    slow_to_read = ServedModel("m", prompt_tps=100.0)
    assert seen.late_after(PEER, slow_to_read, 200, 0.0) == first_tokens.FAR * 0.5 + 3.0


def test_one_request_in_twenty_at_most_is_asked_twice() -> None:
    seen = FirstTokens()
    hedged = 0
    for _ in range(1000):
        if seen.may_hedge():
            seen.hedged += 1
            hedged += 1
        seen.came(PEER, 1.0)
    assert hedged <= first_tokens.AT_FIRST + 0.05 * 1000 + 1
