"""Who goes on with an answer that broke off, with what, and when nobody does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scheduler_bench import MODEL, OTHER, PATIENCE, PEER, Bench

from actors import failover
from actors.messages import Dispatch, Job, OpenHold, PeersChanged, Submit
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import AllBusy, AnswerBrokenOff, BadRequest, EngineFailed, WorkerLost
from opengateway.routing.views import FREE, PeerView, Price, ServedModel
from opengateway.units import NodeId

THIRD = NodeId(b"\x09" * 32)
ABLE = replace(MODEL, price=FREE, digest="d", abilities=("chat", "completion", "continue", "tools"))
UNABLE = replace(ABLE, abilities=("chat", "completion", "tools"))
GREEDY = {"messages": [{"role": "user", "content": "x"}], "temperature": 0, "max_tokens": 9}


def offer(bench: Bench, **models: ServedModel) -> None:
    """peer: the first one asked, as it is alone at first."""
    ids = {"peer": PEER, "other": OTHER, "third": THIRD}
    views = tuple(PeerView(ids[name], name, "lan", 1.0, 1, (model,)) for name, model in models.items())
    bench.address.tell(PeersChanged(views))


def begun(
    bench: Bench, body: dict[str, Any], shown: list[Chunk], **others: ServedModel
) -> tuple[Job, Dispatch]:
    """An answer of which PEER has given this much. The others come up meanwhile."""
    mine = others.pop("peer", ABLE)
    offer(bench, peer=mine)
    job = Job(GenerateRequest("chat", "m", body), Stream())
    assert bench.address.tell(Submit(job))
    order = bench.dispatched()
    assert order.peer == PEER
    put(bench, job, shown)
    offer(bench, peer=mine, **others)
    return job, order


def put(bench: Bench, job: Job, chunks: list[Chunk]) -> None:
    async def run() -> None:
        job.stream.put(chunks)

    bench.io.run(run(), PATIENCE)


def text(bench: Bench, job: Job) -> list[Chunk]:
    return bench.io.run(job.stream.read(), PATIENCE)


def test_the_next_worker_gets_what_was_shown_and_the_whole_is_told_at_the_end(bench: Bench) -> None:
    job, order = begun(bench, GREEDY, ["The ", "fox"], other=ABLE)
    bench.ended(order, WorkerLost("gone"))
    again = bench.dispatched()
    assert (again.peer, again.job) == (OTHER, job)
    assert again.rid != order.rid
    assert job.request.partial == ("The ", "fox")
    assert job.request.body == GREEDY
    put(bench, job, [" sleeps"])

    async def finish() -> None:
        job.stream.finish(Finished("stop", 12, 2, partial_tokens=2))

    bench.io.run(finish(), PATIENCE)
    bench.ended(again, None)
    assert text(bench, job) == ["The ", "fox", " sleeps"]
    assert job.stream.finished == Finished("stop", 10, 4)
    assert bench.jobs()["failover"].items() >= {"broken_off": 1, "continued": 1, "lost": 0}.items()


def test_the_same_weights_are_preferred_to_others_of_their_name(bench: Bench) -> None:
    _, order = begun(bench, GREEDY, ["a"], other=replace(ABLE, digest="e", generate_tps=900), third=ABLE)
    bench.ended(order, EngineFailed("broke"))
    assert bench.dispatched().peer == THIRD


def test_other_weights_go_on_with_a_text_where_there_is_nobody_else(bench: Bench) -> None:
    job, order = begun(bench, {"messages": []}, ["a"], other=replace(ABLE, digest="e"))
    bench.ended(order, EngineFailed("broke"))
    assert bench.dispatched().peer == OTHER
    assert job.request.partial == ("a",)


def test_who_cannot_go_on_begins_anew_and_what_was_shown_is_swallowed(bench: Bench) -> None:
    job, order = begun(bench, GREEDY, ["The ", "fox"], other=UNABLE)
    bench.ended(order, WorkerLost("gone"))
    assert bench.dispatched().peer == OTHER
    assert job.request.partial == ()
    put(bench, job, ["The", " fox sleeps"])
    assert text(bench, job) == ["The ", "fox", " sleeps"]
    assert bench.jobs()["failover"]["begun_anew"] == 1


def test_an_answer_of_chance_is_not_begun_anew(bench: Bench) -> None:
    body = GREEDY | {"temperature": 0.7}
    job, order = begun(bench, body, ["a"], peer=UNABLE, other=UNABLE)
    bench.ended(order, WorkerLost("gone"))
    assert text(bench, job) == ["a"]
    assert isinstance(bench.error(job), AnswerBrokenOff)


def test_a_tool_call_that_was_shown_in_part_is_the_end_of_it(bench: Bench) -> None:
    job, order = begun(bench, GREEDY | {"tools": [{}]}, [{"tool_calls": [{"index": 0}]}], other=ABLE)
    bench.ended(order, WorkerLost("gone"))
    text(bench, job)
    assert isinstance(bench.error(job), WorkerLost)


def test_words_before_a_tool_call_are_begun_anew(bench: Bench) -> None:
    job, order = begun(bench, GREEDY | {"tools": [{}]}, ["I shall "], other=ABLE)
    bench.ended(order, WorkerLost("gone"))
    assert bench.dispatched().peer == OTHER
    assert job.request.partial == ()


def test_the_only_worker_is_waited_for_and_goes_on_itself(bench: Bench) -> None:
    job, order = begun(bench, GREEDY, ["a"])
    bench.ended(order, WorkerLost("gone"))
    offer(bench)
    assert bench.jobs()["queued"] == 1
    offer(bench, peer=ABLE)
    assert bench.dispatched().peer == PEER
    assert job.request.partial == ("a",)


def test_nobody_is_waited_for_beyond_the_patience_of_a_reader(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "PATIENCE", 0.3)
    job, order = begun(bench, GREEDY, ["a"])
    offer(bench)
    bench.ended(order, WorkerLost("it is gone"))
    text(bench, job)
    error = bench.error(job)
    assert isinstance(error, AnswerBrokenOff)
    assert "after 1 tokens" in error.message
    assert "it is gone" in error.message


def test_a_request_that_breaks_every_worker_is_given_up(bench: Bench) -> None:
    job, order = begun(bench, GREEDY, ["a"], other=ABLE, third=ABLE)
    for _ in range(failover.STUMBLES):
        bench.ended(order, EngineFailed("it killed the engine"))
        order = bench.dispatched()
    bench.ended(order, EngineFailed("it killed the engine"))
    text(bench, job)
    assert isinstance(bench.error(job), AnswerBrokenOff)
    assert bench.jobs()["running"] == 0


def test_progress_makes_up_for_a_stumble(bench: Bench) -> None:
    job, order = begun(bench, GREEDY, ["a"], other=ABLE, third=ABLE)
    for word in range(2 * failover.STUMBLES):
        bench.ended(order, EngineFailed("it killed the engine"))
        order = bench.dispatched()
        put(bench, job, [str(word)])
    assert job.request.partial == ("a", *map(str, range(2 * failover.STUMBLES - 1)))


def test_a_busy_place_is_no_stumble_and_another_is_asked(bench: Bench) -> None:
    job, order = begun(bench, GREEDY, ["a"], other=ABLE, third=ABLE)
    bench.ended(order, WorkerLost("gone"))
    second = bench.dispatched()
    bench.ended(second, AllBusy("full", retry_after=1.0))
    third = bench.dispatched()
    assert third.peer != second.peer
    assert job.stumbles == 0


def test_what_is_the_requests_own_fault_is_not_continued(bench: Bench) -> None:
    job, order = begun(bench, GREEDY, ["a"], other=ABLE)
    bench.ended(order, BadRequest("no"))
    text(bench, job)
    assert isinstance(bench.error(job), BadRequest)


def test_only_what_is_still_to_come_is_held_for_the_second_worker(bench: Bench) -> None:
    paid = replace(ABLE, price=Price(2, 6))
    _, order = begun(bench, GREEDY, ["The ", "fox"], other=paid)
    bench.ended(order, WorkerLost("gone"))
    hold, reply = bench.heard("ledger", OpenHold)
    assert reply is not None
    reply.set(b"entry")
    assert hold.max_completion == 9 - 2
    assert bench.dispatched().peer == OTHER


def test_waiting_is_noted_once_however_often_the_queue_is_looked_at(bench: Bench) -> None:
    job, order = begun(bench, GREEDY, ["a"])
    bench.ended(order, WorkerLost("gone"))
    for _ in range(5):
        offer(bench)
    assert bench.jobs()["queued"] == 1
    assert job.trace is not None
    whys = [facts["why"] for _, what, facts in job.trace.events if what == "queued"]
    assert len(whys) == len(set(whys))
    assert "broke" in [what for _, what, _ in job.trace.events]
