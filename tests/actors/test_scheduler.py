"""Jobs in flight: the Scheduler with a real runner, and everyone else at the end of a line."""

from __future__ import annotations

import queue
import time

import pytest
from scheduler_bench import ADMISSION, ASKER, OTHER, PATIENCE, PEER, PLACE, Bench

from actors import placing
from actors import waiting as waiting_room
from actors.messages import (
    Admit,
    Job,
    OpenHold,
    PeersChanged,
    Submit,
    Unserved,
)
from opengateway.errors import (
    AllBusy,
    AnswerBrokenOff,
    BadRequest,
    DeadlinePassed,
    EngineFailed,
    EngineUnavailable,
    NotEnoughCredit,
    StampMissing,
    UnknownModel,
    Unsupported,
    WorkerLost,
)
from opengateway.routing.queue import room
from opengateway.routing.views import PeerView, Price, ServedModel


def test_no_more_jobs_run_than_there_are_slots_and_each_in_its_turn(bench: Bench) -> None:
    bench.serve(slots=2)
    jobs = [bench.submit() for _ in range(5)]
    running = [bench.asked(), bench.asked()]
    assert [job.stream for job in jobs[:2]] == [stream for stream, _ in running]
    assert bench.jobs()["queued_by_class"] == {"owner": 3, "friend": 0, "secured": 0, "stranger": 0}
    counts = bench.jobs()
    assert [counts[name] for name in ("running", "queued", "done", "slots", "busy")] == [2, 3, 0, 2, 2]
    for job in jobs:
        stream, opened = running.pop(0)
        assert stream is job.stream
        bench.let_go(opened)
        bench.answered(job)
        if bench.jobs()["running"] == 2:
            running.append(bench.asked())
    assert bench.jobs()["done"] == 5


def test_a_full_queue_refuses_the_next_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_room, "QUEUE_LIMIT", 3)
    bench.serve("down")
    waiting = [bench.submit() for _ in range(3)]
    error = bench.error(bench.submit())
    assert isinstance(error, AllBusy)
    assert error.retry_after is not None
    assert not any(job.stream.done for job in waiting)


def test_a_peer_waits_in_a_short_queue_and_is_sent_on_beyond_it(bench: Bench) -> None:
    bench.serve("running", 1, ServedModel("m"))
    bench.submit()
    bench.asked()
    for _ in range(room(1)):
        bench.submit(origin=ASKER, scope="local")
    assert bench.jobs()["queued"] == room(1)
    assert isinstance(bench.error(bench.submit(origin=ASKER, scope="local")), AllBusy)


def test_nobody_waits_beyond_the_deadline(bench: Bench) -> None:
    bench.serve("down")
    error = bench.error(bench.submit(deadline=time.monotonic() + 0.3))
    assert isinstance(error, (DeadlinePassed, AllBusy))
    assert error.retry_after is not None
    assert bench.jobs()["queued"] == 0


def test_whoever_leaves_the_queue_is_forgotten(bench: Bench) -> None:
    bench.serve("down")
    job = bench.submit()
    assert bench.jobs()["queued"] == 1
    bench.io.call(job.stream.cancel)
    deadline = time.monotonic() + PATIENCE
    while bench.jobs()["queued"]:
        assert time.monotonic() < deadline


def test_a_job_waits_for_an_engine_that_is_being_restarted(bench: Bench) -> None:
    bench.serve("running")
    bench.serve("down")
    job = bench.submit()
    bench.serve("starting")
    assert bench.jobs()["queued"] == 1
    bench.serve("running")
    bench.let_go(bench.asked()[1])
    bench.answered(job)


def test_a_job_that_met_the_engines_end_waits_for_its_restart(bench: Bench) -> None:
    """The Scheduler hears of a crash a moment later than the loop does."""
    bench.serve("running")
    runner = bench.runners.pop(PLACE)
    job = bench.submit()
    deadline = time.monotonic() + PATIENCE
    while bench.jobs()["queued"] != 1:
        assert time.monotonic() < deadline
        assert not job.stream.done
    bench.runners[PLACE] = runner
    bench.let_go(bench.asked()[1])
    bench.answered(job)


def test_a_model_that_has_just_vanished_may_be_back_and_is_waited_for(bench: Bench) -> None:
    """A peer whose engine is restarted takes the model out of its record, and puts it in again."""
    bench.peers(PEER)
    bench.peers()
    jobs = [bench.submit(), bench.submit("")]
    assert bench.jobs()["queued"] == 2
    bench.peers(PEER, slots=2)
    assert [bench.dispatched().job for _ in jobs] == jobs


def test_a_model_that_stays_away_is_unknown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opengateway.routing.known.RETURNING", 0.3)
    bench.peers(PEER)
    bench.peers()
    assert isinstance(bench.error(bench.submit()), UnknownModel)


def test_a_place_that_fails_before_the_first_token_is_replaced_by_another(bench: Bench) -> None:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    first = bench.dispatched()
    bench.ended(first, WorkerLost("gone"))
    second = bench.dispatched()
    assert {first.peer, second.peer} == {PEER, OTHER}
    assert first.rid != second.rid or not first.entry
    bench.ended(second, EngineFailed("broke, too"))
    assert isinstance(bench.error(job), EngineFailed)


def test_an_answer_that_nobody_can_go_on_with_ends_with_an_error_that_says_so(bench: Bench) -> None:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    order = bench.dispatched()

    async def show() -> None:
        job.stream.put(["a"])
        assert await job.stream.read() == ["a"]

    bench.io.run(show(), PATIENCE)
    bench.ended(order, WorkerLost("gone"))
    error = bench.error(job)
    assert isinstance(error, AnswerBrokenOff)
    assert "after 1 tokens" in error.message
    assert bench.jobs()["running"] == 0


def test_what_is_the_callers_own_fault_is_not_tried_elsewhere(bench: Bench) -> None:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    bench.ended(bench.dispatched(), BadRequest("no"))
    assert isinstance(bench.error(job), BadRequest)


def test_a_peer_that_cannot_do_what_its_record_said_is_replaced_by_another(bench: Bench) -> None:
    bench.peers(PEER, OTHER)
    job = bench.submit()
    first = bench.dispatched()
    bench.ended(first, Unsupported("`seed` cannot be honoured", param="seed"))
    second = bench.dispatched()
    assert {first.peer, second.peer} == {PEER, OTHER}
    bench.ended(second, Unsupported("`seed` cannot be honoured", param="seed"))
    assert isinstance(bench.error(job), Unsupported)


def test_a_busy_peer_is_asked_again_later_and_not_in_a_loop(bench: Bench) -> None:
    """Its refusal says when; until then it is left alone, however often the queue is looked at."""
    bench.peers(PEER)
    job = bench.submit()
    bench.ended(bench.dispatched(), AllBusy("full", retry_after=1.0))
    started = time.monotonic()
    for _ in range(20):
        bench.peers(PEER)
    again = bench.dispatched()
    assert again.job is job
    assert time.monotonic() - started > 0.8


def test_a_price_is_held_before_the_peer_is_asked(bench: Bench) -> None:
    bench.peers(PEER, price=Price(2, 6))
    bench.submit()
    hold, reply = bench.heard("ledger", OpenHold)
    assert (hold.peer, hold.price_prompt, hold.price_completion) == (PEER, 2, 6)
    assert reply is not None
    reply.set(b"entry")
    order = bench.dispatched()
    assert (order.entry, order.rid) == (b"entry", hold.rid)
    assert order.held == hold.prompt_tokens * 2 + hold.max_completion * 6


def test_a_ledger_that_will_not_hold_is_the_callers_answer(bench: Bench) -> None:
    bench.peers(PEER, price=Price(2, 6))
    job = bench.submit()
    _, reply = bench.heard("ledger", OpenHold)
    assert reply is not None
    reply.refuse(NotEnoughCredit("not enough"))
    assert isinstance(bench.error(job), NotEnoughCredit)


def test_a_peer_that_wants_our_stamp_is_asked_again_once_it_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "SETTLING", 0.0)
    covered: queue.Queue[Job] = queue.Queue()
    bench = Bench(cover=covered.put)
    bench.start()
    try:
        bench.peers(PEER)
        job = bench.submit()
        bench.ended(bench.dispatched(), StampMissing("no stamp", retry_after=20.0))
        assert covered.get(timeout=PATIENCE) is job
        assert job.wants_stamp == PEER
        job.stamped = True
        job.tried.discard(PEER)
        bench.address.tell(Submit(job))
        bench.ended(bench.dispatched(), StampMissing("still no stamp", retry_after=20.0))
        assert isinstance(bench.error(job), StampMissing)
        assert covered.empty()
    finally:
        bench.stop()


def test_only_strangers_make_this_node_work_for_a_stamp() -> None:
    met: queue.Queue[str] = queue.Queue()
    bench = Bench(private=False, stranger_met=lambda: met.put("stranger"))
    bench.start()
    try:
        bench.address.tell(PeersChanged((PeerView(PEER, "near", "lan", 1.0, 0, ()),)))
        bench.jobs()
        assert met.empty()
        bench.address.tell(PeersChanged((PeerView(PEER, "far", "world", 1.0, 0, ()),)))
        assert met.get(timeout=PATIENCE)
    finally:
        bench.stop()


def test_a_peers_job_is_admitted_by_the_ledger_first(bench: Bench) -> None:
    bench.serve()
    job = bench.submit(origin=ASKER, opening=b"open", scope="local")
    admit, reply = bench.heard("ledger", Admit)
    assert (admit.opening, admit.requester, admit.price_prompt) == (b"open", ASKER, 1)
    assert bench.engine.asked.empty()
    assert reply is not None
    reply.set(ADMISSION)
    bench.let_go(bench.asked()[1])
    bench.answered(job)
    assert (job.rid, job.lead, job.secured) == (b"r" * 16, 128, True)


@pytest.mark.parametrize(
    ("ring", "private", "near"), [("lan", False, True), ("nearest", False, False), ("world", True, True)]
)
def test_who_asks_from_our_link_or_network_is_no_stranger(ring: str, private: bool, near: bool) -> None:
    bench = Bench(private=private)
    bench.start()
    try:
        bench.serve()
        bench.address.tell(PeersChanged((PeerView(ASKER, "asker", ring, 1.0, 0, ()),)))
        bench.submit(origin=ASKER, opening=b"open", scope="local")
        admit, _ = bench.heard("ledger", Admit)
        assert admit.near is near
    finally:
        bench.stop()


def test_an_admitted_job_whose_peer_left_is_given_back_to_the_ledger(bench: Bench) -> None:
    bench.serve()
    job = bench.submit(origin=ASKER, opening=b"open", scope="local")
    _, reply = bench.heard("ledger", Admit)
    bench.io.run(_cancel(job), PATIENCE)
    assert reply is not None
    reply.set(ADMISSION)
    unserved, _ = bench.heard("ledger", Unserved)
    assert unserved == Unserved(b"r" * 16, ASKER)
    assert bench.engine.asked.empty()


async def _cancel(job: Job) -> None:
    job.stream.cancel()


def test_a_peers_job_is_never_passed_on(bench: Bench) -> None:
    bench.peers(PEER, OTHER)
    assert isinstance(bench.error(bench.submit(origin=ASKER, scope="anywhere")), UnknownModel)


def test_who_does_not_contribute_refuses_peers() -> None:
    made = Bench(closed=lambda: "this node does not serve others")
    made.start()
    try:
        made.serve()
        error = made.error(made.submit(origin=ASKER))
        assert isinstance(error, EngineUnavailable)
        assert "does not serve others" in error.message
    finally:
        made.stop()


def test_no_more_slots_than_the_owner_lends_answer_peers() -> None:
    made = Bench(lend=1)
    made.start()
    try:
        made.serve("running", 4, ServedModel("m"))
        for _ in range(2):
            made.submit(origin=ASKER, scope="local")
        made.asked()
        assert (made.jobs()["running"], made.jobs()["queued"]) == (1, 1)
        made.submit()
        made.asked()
        assert made.jobs()["running"] == 2
    finally:
        made.stop()


def test_at_the_start_a_prompt_waits_for_peers_to_be_met() -> None:
    made = Bench()
    made.start()
    try:
        job = made.submit()
        assert made.jobs()["queued"] == 1
        made.peers(PEER)
        assert made.dispatched().job is job
    finally:
        made.stop()


def test_a_crash_tells_those_who_wait_and_its_successor_still_hears_of_those_who_run(bench: Bench) -> None:
    bench.serve(slots=1)
    running, waiting = bench.submit(), bench.submit()
    _, opened = bench.asked()
    assert bench.jobs()["queued"] == 1
    bench.address.tell(Submit(None))  # type: ignore[arg-type]
    bench.address.wait(PATIENCE)
    assert "restarted" in bench.error(waiting).message
    bench.address.start()
    bench.let_go(opened)
    bench.answered(running)
    after = bench.submit()
    bench.let_go(bench.asked()[1])
    bench.answered(after)


def test_a_job_that_crashes_the_scheduler_and_those_behind_it_are_told(bench: Bench) -> None:
    bench.serve("down")
    waiting = bench.submit()
    poison = bench.submit(model=5)  # type: ignore[arg-type]
    bench.address.wait(PATIENCE)
    assert "restarted" in bench.error(poison).message
    assert "restarted" in bench.error(waiting).message
