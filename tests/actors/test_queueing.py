"""Jobs that wait: in which order they begin, what their callers are told, and how they are refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from scheduler_bench import PATIENCE, PEER, Bench

from actors import placing
from actors.messages import Admit, Job, PeersChanged, Submit
from actors.waiting import WaitingRoom, claim_of
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Stream, Waits
from opengateway.errors import (
    AllBusy,
    ContextTooLong,
    DeadlinePassed,
    EngineUnavailable,
    NotEnoughCredit,
    UnknownModel,
    WorkerLost,
)
from opengateway.ledger.admission import Admission
from opengateway.routing.priority import Service, order
from opengateway.routing.queue import STRANGER_AT_ONCE, room, stranger_slots
from opengateway.routing.views import PeerView, Price, ServedModel
from opengateway.units import NodeId

FRIEND, SECURED, STRANGER, NAMED = (NodeId(bytes([n]) * 32) for n in (11, 12, 13, 14))
T = TypeVar("T")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(placing, "SETTLING", 0.0)
    made = Bench(private=False, friends=frozenset({NAMED}))
    made.start()
    made.address.tell(PeersChanged((PeerView(FRIEND, "friend", "lan", 1.0, 0, ()),)))
    yield made
    made.stop()


def until(condition: Callable[[], T], what: str) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
    return value


def asks(bench: Bench, who: NodeId, *, unsecured: int = 0, admit: bool = True, **when: float) -> Job:
    """A peer's job that its ledger admits (or is turned away before that)."""
    job = bench.submit(origin=who, opening=b"open", scope="local", **when)
    if admit:
        _, reply = bench.heard("ledger", Admit)
        assert reply is not None
        reply.set(Admission(who, b"r" * 16, "m", 100, unsecured, 10, 90))
        until(lambda: job.let_in or job.begun or job.stream.done, "it is let in")
    return job


def finish(bench: Bench, jobs: list[Job]) -> list[Job]:
    """End what runs, one after the other; who began, in order."""
    begun = []
    by_stream = {job.stream: job for job in jobs}
    for _ in jobs:
        stream, opened = bench.asked()
        begun.append(by_stream[stream])
        bench.let_go(opened)
        bench.answered(begun[-1])
    return begun


def occupied(bench: Bench, slots: int = 1) -> list[Job]:
    bench.serve("running", slots)
    jobs = [bench.submit() for _ in range(slots)]
    until(lambda: bench.jobs()["running"] == slots, "the slots are taken")
    return jobs


def test_owner_friends_credit_and_strangers_begin_in_this_order(bench: Bench) -> None:
    first = occupied(bench)
    stranger = asks(bench, STRANGER, unsecured=5)
    secured = asks(bench, SECURED)
    friend = asks(bench, FRIEND)
    owner = bench.submit()
    assert finish(bench, [*first, stranger, secured, friend, owner]) == [
        *first,
        owner,
        friend,
        secured,
        stranger,
    ]
    assert [j.service for j in (owner, friend, secured, stranger)] == list(Service)


def test_a_node_that_the_owner_has_named_is_a_friend_wherever_it_is(bench: Bench) -> None:
    occupied(bench)
    assert asks(bench, NAMED).service is Service.FRIEND


def test_a_stranger_that_has_waited_for_a_minute_goes_before_the_owners_next(bench: Bench) -> None:
    first = occupied(bench)
    stranger = bench.submit(origin=STRANGER, opening=b"open", scope="local", created=time.monotonic() - 61)
    _, reply = bench.heard("ledger", Admit)
    assert reply is not None
    reply.set(Admission(STRANGER, b"r" * 16, "m", 100, 5, 10, 90))
    until(lambda: stranger.let_in, "it waits")
    owner = bench.submit()
    assert finish(bench, [*first, stranger, owner]) == [*first, stranger, owner]


def test_nobody_is_kept_waiting_at_a_full_queue(bench: Bench) -> None:
    occupied(bench)
    asks(bench, FRIEND)
    asks(bench, NAMED)
    started = time.monotonic()
    error = bench.error(asks(bench, FRIEND, admit=False))  # not even its ledger is looked at
    assert isinstance(error, AllBusy)
    assert time.monotonic() - started < 1
    assert error.retry_after is not None
    assert "full" in error.message
    assert "another node" in error.hint
    assert isinstance(bench.error(asks(bench, SECURED)), AllBusy)


def test_a_newcomer_without_credit_is_let_in_and_served_while_credit_queues_all_the_time(
    bench: Bench,
) -> None:
    """The queue is full of those with credit, and one more of them comes for each that begins."""
    first = occupied(bench)
    secured = [asks(bench, NodeId(bytes([50 + n]) * 32)) for n in range(room(1))]
    newcomer = asks(bench, STRANGER, unsecured=5, created=time.monotonic() - 15)
    everybody, begun = [*first, *secured, newcomer], []
    for number in range(5):
        stream, opened = bench.asked()
        begun.append(next(job for job in everybody if job.stream is stream))
        bench.let_go(opened)
        bench.answered(begun[-1])
        if newcomer in begun:
            break
        everybody.append(asks(bench, NodeId(bytes([70 + number]) * 32), created=time.monotonic() + 10))
    assert begun == [*first, *secured, newcomer]


def test_whoever_is_pushed_out_by_a_better_class_is_told_at_once_and_its_ledger_entry_let_go(
    bench: Bench,
) -> None:
    occupied(bench)
    strangers = [asks(bench, NodeId(bytes([50 + n]) * 32), unsecured=5) for n in range(room(1) + 1)]
    secured = asks(bench, SECURED)
    assert isinstance(bench.error(strangers[-1]), AllBusy)
    assert secured.let_in
    assert not any(job.stream.done for job in (secured, *strangers[:-1]))


def test_strangers_leave_a_quarter_of_the_slots_to_those_with_credit(bench: Bench) -> None:
    bench.serve("running", 4)
    for number in range(4):
        asks(bench, NodeId(bytes([50 + number]) * 32), unsecured=5)
    assert (bench.jobs()["running"], bench.jobs()["queued"]) == (stranger_slots(4), 1)
    asks(bench, SECURED)
    assert bench.jobs()["running"] == 4


def test_one_stranger_has_two_answers_at_once_at_most(bench: Bench) -> None:
    bench.serve("running", 8)
    for _ in range(STRANGER_AT_ONCE):
        asks(bench, STRANGER, unsecured=5)
    assert isinstance(bench.error(asks(bench, STRANGER, unsecured=5)), AllBusy)
    assert bench.jobs()["running"] == STRANGER_AT_ONCE


def test_everybody_who_waits_is_told_where_he_stands_and_about_how_long(bench: Bench) -> None:
    bench.serve("running", 1, ServedModel("m", generate_tps=100.0))
    bench.submit()
    waiting = [bench.submit() for _ in range(3)]
    told = until(lambda: all(j.stream.waits for j in waiting) and [j.stream.waits for j in waiting], "told")
    assert [waits.position for waits in told] == [1, 2, 3]
    etas = [waits.eta_s for waits in told]
    assert etas == pytest.approx([2.0, 4.0, 6.0], abs=0.7)
    assert told[1].words() == "2nd in queue, about 4 s"


def test_who_moves_up_is_told_and_who_begins_waits_no_longer(bench: Bench) -> None:
    bench.serve("running", 1)
    said: list[Waits | None] = []
    bench.submit()
    first, second = bench.submit(), bench.submit()
    second.stream.on_waits = said.append
    until(lambda: second.stream.waits and second.stream.waits.position == 2, "it is second")
    bench.let_go(bench.asked()[1])
    until(lambda: second.stream.waits and second.stream.waits.position == 1, "it is first")
    bench.let_go(bench.asked()[1])
    bench.answered(first)
    until(lambda: said and said[-1] is None, "it begins")
    assert second.stream.waits is None


def test_the_callers_own_deadline_is_kept_and_its_refusal_says_where_it_stood(bench: Bench) -> None:
    occupied(bench)
    started = time.monotonic()
    error = bench.error(bench.submit(within=0.6, deadline=time.monotonic() + 0.6))
    assert isinstance(error, DeadlinePassed)
    assert error.status == 504
    assert "1st in queue" in error.message
    assert error.retry_after is not None
    assert 0.5 < time.monotonic() - started < 3


def test_where_our_own_patience_ends_everybody_was_busy(bench: Bench) -> None:
    occupied(bench)
    error = bench.error(bench.submit(deadline=time.monotonic() + 0.6))
    assert isinstance(error, AllBusy)
    assert error.status == 503
    assert error.retry_after is not None
    assert error.hint


def test_a_job_that_a_peer_keeps_waiting_beyond_the_deadline_is_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.queueing.OVERDUE", 0.0)
    bench.peers(PEER)
    job = bench.submit(within=0.3, deadline=time.monotonic() + 0.3)
    bench.dispatched()
    given_up: list[str] = []
    job.stream.on_cancel = lambda: given_up.append("told")
    bench.io.call(job.stream.queued, Waits(4, 600.0))
    error = bench.error(job)
    assert isinstance(error, DeadlinePassed)
    assert "4th in queue, about 10 min" in error.message
    until(lambda: given_up, "the peer is told")


def test_one_who_wants_credit_does_not_end_the_wait_for_one_who_is_busy(bench: Bench) -> None:
    """It used to: the refusal of the first was the answer, though the second had only to be waited for."""
    other = NodeId(b"z" * 32)
    bench.peers(PEER, other)
    bench.submit()
    busy = bench.dispatched()
    job = bench.submit()
    wants = bench.dispatched()
    bench.ended(wants, NotEnoughCredit("credit first"))
    until(lambda: bench.jobs()["queued"] == 1, "it waits for the other")
    bench.ended(busy, None)
    again = bench.dispatched()
    assert (again.job, again.peer) == (job, busy.peer)
    bench.ended(again, WorkerLost("gone"))
    assert isinstance(bench.error(job), WorkerLost)


def test_if_all_want_credit_first_that_is_the_answer(bench: Bench) -> None:
    other = NodeId(b"z" * 32)
    bench.peers(PEER, other)
    job = bench.submit()
    for _ in range(2):
        bench.ended(bench.dispatched(), NotEnoughCredit("credit first"))
    error = bench.error(job)
    assert isinstance(error, NotEnoughCredit)
    assert error.status == 402


def test_when_the_owner_takes_the_machine_back_peers_that_wait_go_elsewhere() -> None:
    why = [""]
    made = Bench(closed=lambda: why[0], private=False)
    made.start()
    try:
        running, waiting = occupied(made)[0], asks(made, SECURED)
        why[0] = "this node is paused: its owner is using the machine"
        error = made.error(waiting)
        assert isinstance(error, EngineUnavailable)
        assert "paused" in error.message
        assert not running.stream.done
    finally:
        made.stop()


def test_how_many_wait_of_each_class_is_counted(bench: Bench) -> None:
    occupied(bench)
    asks(bench, STRANGER, unsecured=5)
    bench.submit()
    counts: dict[str, Any] = bench.jobs()["queued_by_class"]
    assert counts == {"owner": 1, "friend": 0, "secured": 0, "stranger": 1}


def test_places_are_told_in_words_that_people_use() -> None:
    assert [Waits(n).words().split()[0] for n in (1, 2, 3, 4, 11, 12, 13, 21, 102, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "112th",
    ]  # fmt: skip
    assert Waits(3).words() == "3rd in queue"
    assert Waits(1, 0.2).words() == "1st in queue, about 1 s"
    assert Stream().waits is None


LONG = {"messages": [{"role": "user", "content": "word " * 20_000}]}
"""100 kB: at least 6,250 tokens in any vocabulary."""


def views(bench: Bench, **contexts: int) -> dict[str, NodeId]:
    """Peers by name, each with a model of that context."""
    nodes = {name: NodeId(name.encode().ljust(32, b".")) for name in contexts}
    offered = [
        PeerView(nodes[name], name, "lan", 1.0, 1, (ServedModel("m", context=context),))
        for name, context in contexts.items()
    ]
    bench.address.tell(PeersChanged(tuple(offered)))
    return nodes


def long_job(bench: Bench, body: dict[str, Any] = LONG) -> Job:
    job = Job(GenerateRequest("chat", "m", body), Stream())
    assert bench.address.tell(Submit(job))
    return job


def test_a_prompt_that_fits_nowhere_is_refused_before_anybody_is_asked(bench: Bench) -> None:
    views(bench, small=4096, smaller=2048)
    error = bench.error(long_job(bench))
    assert isinstance(error, ContextTooLong)
    assert "6250 tokens" in error.message
    assert "4096" in error.message
    assert error.hint
    assert bench.lines["peers"].empty()


def test_a_long_prompt_goes_where_there_is_room_for_it(bench: Bench) -> None:
    nodes = views(bench, small=4096, large=32_768)
    long_job(bench)
    assert bench.dispatched().peer == nodes["large"]


def test_what_one_engine_counts_as_too_long_is_asked_of_a_larger_context(bench: Bench) -> None:
    nodes = views(bench, small=4096, large=32_768)
    job = long_job(bench, {"messages": [{"role": "user", "content": "word " * 3000}]})
    first = bench.dispatched()
    if first.peer == nodes["large"]:  # either may be asked first
        bench.ended(first, AllBusy("full", retry_after=1.0))
        first = bench.dispatched()
    assert first.peer == nodes["small"]
    bench.ended(first, ContextTooLong("6000 tokens do not fit into 4096"))
    again = bench.dispatched()
    assert again.peer == nodes["large"]
    bench.ended(again, ContextTooLong("40000 tokens do not fit into 32768"))
    error = bench.error(job)
    assert isinstance(error, ContextTooLong)
    assert "32768" in error.message


def test_whoever_has_not_said_how_large_its_context_is_may_have_room(bench: Bench) -> None:
    nodes = views(bench, unknown=0)
    long_job(bench)
    assert bench.dispatched().peer == nodes["unknown"]


def test_a_peers_prompt_that_cannot_fit_is_refused_before_its_ledger_entry(bench: Bench) -> None:
    bench.serve("running", 1, ServedModel("m", context=2048, price=Price(1, 3)))
    job = Job(GenerateRequest("chat", "m", LONG), Stream(), scope="local", origin=SECURED, opening=b"open")
    assert bench.address.tell(Submit(job))
    assert isinstance(bench.error(job), ContextTooLong)
    assert bench.lines["ledger"].empty()


def test_each_refusal_has_its_own_code_and_status() -> None:
    kinds = (UnknownModel, AllBusy, DeadlinePassed, NotEnoughCredit, ContextTooLong)
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert [kind.status for kind in kinds] == [404, 503, 504, 402, 400]


def test_the_order_of_the_room_is_that_of_the_ranks() -> None:
    """Our own jobs are not ranked one by one: the order has to be the same."""
    room_ = WaitingRoom()
    jobs = [
        Job(
            GenerateRequest("chat", "m", {}),
            Stream(),
            origin=who,
            service=service,
            created=float(at * 7 % 40),
        )
        for at, (who, service) in enumerate(
            [
                (None, Service.OWNER),
                (SECURED, Service.SECURED),
                (None, Service.OWNER),
                (FRIEND, Service.FRIEND),
            ]
            * 5
        )
    ]
    for job in jobs:
        room_.join(job, (), 100)
    running = [Job(GenerateRequest("chat", "m", {}), Stream(), origin=FRIEND)]
    by_rank = order([claim_of(job) for job in jobs], {FRIEND: 1})
    assert [job.created for job in room_.in_order(running)] == [jobs[at].created for at in by_rank]
    assert set(room_.in_order(running)) == set(jobs)
