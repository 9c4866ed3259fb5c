"""Requests of several parts, over a Scheduler whose engine and peers are the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from scheduler_bench import DONE, PATIENCE, PEER, Bench

from actors import parts as several
from actors.messages import DescribeTrace, Dispatch, Job
from actors.parts import PartPiece, submit
from opengateway.engines.protocol import GenerateRequest, Kind
from opengateway.engines.stream import Chunk, Finished, Route, Stream
from opengateway.errors import BadRequest, Cancelled, OpenGatewayError
from opengateway.routing.parts import split
from opengateway.routing.views import ServedModel
from opengateway.units import NodeId

PEERS = tuple(NodeId(bytes([n]) * 32) for n in range(20, 24))


def ask(bench: Bench, kind: Kind = "completion", n: int = 1, *, stream: bool = False, **body: Any) -> Job:
    job = Job(GenerateRequest(kind, "m", body, stream), Stream())
    done = threading.Event()

    def begin() -> None:
        submit(bench.address, job, split(kind, body, n))
        done.set()

    bench.io.call(begin)
    assert done.wait(PATIENCE)
    return job


def answered(bench: Bench, order: Dispatch, *chunks: Chunk, finished: Finished = DONE, cost: int = 0) -> None:
    def write() -> None:
        stream = order.job.stream
        stream.opened(Route("peer", "peer", order.ring, "m", "gate"))
        stream.put(chunks)
        stream.charge(order.rid, cost)
        stream.finish(finished)

    bench.io.call(write)
    bench.ended(order, None)


def all_of(bench: Bench, job: Job) -> list[PartPiece]:
    async def read() -> list[Chunk]:
        chunks: list[Chunk] = []
        while more := await job.stream.read():
            chunks += more
        return chunks

    found = bench.io.run(read(), PATIENCE)
    assert all(isinstance(piece, PartPiece) for piece in found)
    return [piece for piece in found if isinstance(piece, PartPiece)]


def texts(pieces: list[PartPiece]) -> dict[int, str]:
    found: dict[int, str] = {}
    for piece in pieces:
        found[piece.part] = found.get(piece.part, "") + (piece.plain or "")
    return found


def test_results_come_in_the_callers_order_with_costs_and_tokens_summed(bench: Bench) -> None:
    bench.peers(*PEERS)
    job = ask(bench, prompt=["a", "b"], n=2)
    orders = [bench.dispatched() for _ in range(4)]
    assert {order.peer for order in orders} == set(PEERS)
    for order in reversed(orders):
        text = f"{order.job.request.body['prompt']}{order.job.part}"
        answered(bench, order, text, finished=Finished("stop", 5, 2), cost=10)
    pieces = all_of(bench, job)
    assert texts(pieces) == {0: "a0", 1: "a1", 2: "b2", 3: "b3"}
    assert [piece.part for piece in pieces if piece.finished] == [0, 1, 2, 3]
    finished = job.stream.finished
    assert finished is not None
    assert (finished.prompt_tokens, finished.completion_tokens) == (10, 8)
    assert job.stream.cost == 40
    assert job.stream.route is not None
    assert job.stream.route.ring == "lan"


def test_a_stream_shows_pieces_as_they_come_each_with_its_part(bench: Bench) -> None:
    bench.peers(*PEERS[:2])
    job = ask(bench, "chat", 2, stream=True, messages=[])
    first, second = bench.dispatched(), bench.dispatched()
    answered(bench, second, "later")

    async def read() -> list[Chunk]:
        return await job.stream.read()

    piece = bench.io.run(read(), PATIENCE)[0]
    assert isinstance(piece, PartPiece)
    assert (piece.part, piece.plain) == (second.job.part, "later")
    answered(bench, first, "first")
    assert texts(all_of(bench, job))[first.job.part or 0] == "first"


def test_several_choices_come_of_a_single_engine(bench: Bench) -> None:
    bench.serve("running", 1, ServedModel("m"))
    job = ask(bench, "chat", 3, messages=[])
    for _ in range(3):
        _, opened = bench.asked()
        assert bench.jobs()["running"] == 1
        bench.let_go(opened)
    assert len([piece for piece in all_of(bench, job) if piece.finished]) == 3


def test_embeddings_are_one_response_in_order(bench: Bench) -> None:
    bench.peers(*PEERS[:3])
    job = ask(bench, "embedding", input=[str(n) for n in range(40)])
    for order in reversed([bench.dispatched() for _ in range(3)]):
        rows = [{"index": n, "embedding": [t]} for n, t in enumerate(order.job.request.body["input"])]
        answered(bench, order, {"data": rows, "usage": {"prompt_tokens": 1, "total_tokens": 1}})

    async def read() -> list[Chunk]:
        return await job.stream.read()

    [whole] = bench.io.run(read(), PATIENCE)
    assert isinstance(whole, dict)
    assert [row["embedding"][0] for row in whole["data"]] == [str(n) for n in range(40)]
    assert whole["usage"]["prompt_tokens"] == 3


def test_a_part_whose_place_breaks_is_answered_by_another(bench: Bench) -> None:
    bench.peers(*PEERS[:2])
    job = ask(bench, "chat", 2, messages=[])
    broken, other = bench.dispatched(), bench.dispatched()
    bench.ended(broken, OpenGatewayError("it broke"))
    answered(bench, other, "x")
    again = bench.dispatched()
    assert (again.job, again.peer) == (broken.job, other.peer)
    answered(bench, again, "y")
    assert texts(all_of(bench, job)) == {broken.job.part: "y", other.job.part: "x"}


def test_one_part_that_cannot_be_answered_ends_them_all(bench: Bench) -> None:
    bench.peers(*PEERS[:2])
    job = ask(bench, "chat", 2, messages=[])
    bad, other = bench.dispatched(), bench.dispatched()
    bench.ended(bad, BadRequest("no"))
    assert isinstance(bench.error(job), BadRequest)
    wait(bench, lambda: other.job.stream.error is not None)
    assert isinstance(other.job.stream.error, Cancelled)


def test_a_caller_who_leaves_ends_every_part(bench: Bench) -> None:
    bench.peers(*PEERS[:2])
    job = ask(bench, "chat", 4, messages=[])
    orders = [bench.dispatched(), bench.dispatched()]
    bench.io.call(job.stream.cancel)
    wait(bench, lambda: all(order.job.stream.done for order in orders))
    for order in orders:
        bench.ended(order, Cancelled())
    wait(bench, lambda: bench.jobs()["running"] == bench.jobs()["queued"] == 0)


def test_the_last_part_at_a_slow_place_is_given_to_another_and_the_first_answer_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "LEAST_SLOW_S", 0.05)
    monkeypatch.setattr(several, "LOOK_S", 0.02)
    bench.peers(*PEERS[:2])
    job = ask(bench, "chat", 2, messages=[])
    slow, quick = bench.dispatched(), bench.dispatched()
    answered(bench, quick, "quick")
    again = bench.dispatched()
    assert (again.job.part, again.peer) == (slow.job.part, quick.peer)
    answered(bench, again, "instead")
    assert texts(all_of(bench, job)) == {slow.job.part: "instead", quick.job.part: "quick"}
    wait(bench, lambda: slow.job.stream.done)
    assert isinstance(slow.job.stream.error, Cancelled)


def test_no_more_than_a_bound_of_parts_wait_at_once_so_that_others_get_their_turn(bench: Bench) -> None:
    bench.serve("running", 1, ServedModel("m"))
    ask(bench, "chat", 100, messages=[])
    bench.asked()
    wait(bench, lambda: bench.jobs()["queued"] == several.AT_ONCE - 1)
    assert bench.jobs()["running"] == 1


def test_all_parts_are_in_one_trace(bench: Bench) -> None:
    bench.peers(PEER, slots=2)
    job = ask(bench, "chat", 2, messages=[])
    for _ in range(2):
        answered(bench, bench.dispatched(), "x")
    all_of(bench, job)
    found = bench.address.ask(DescribeTrace(job.id)).get(timeout=PATIENCE)
    assert found is not None
    assert found["parts"] == 2
    sent = [event["part"] for event in found["events"] if event["what"] == "sent"]
    assert sorted(sent) == [0, 1]


def wait(bench: Bench, condition: Callable[[], bool]) -> None:
    """Until it is so; the bench's loop or Scheduler makes it so."""
    turn = threading.Event()
    for _ in range(500):
        if condition():
            return
        turn.wait(0.01)
    raise AssertionError("it did not come about")
