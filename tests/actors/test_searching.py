"""Those who wait, and the peers who are asked for slots: the Scheduler with quotes that the test answers."""

from __future__ import annotations

import contextlib
import queue
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from scheduler_bench import ASKER, PATIENCE, PEER, PLACE, Bench

from actors import hedging, in_flight, placing, searching
from actors.kernel import Reply
from actors.messages import DescribeTrace, FindQuote, Job, PeersChanged, QuoteCame, SeekSlots, SlotsReleased
from opengateway.engines.stream import Waits
from opengateway.errors import AllBusy, DeadlinePassed, NotEnoughCredit, OpenGatewayError
from opengateway.routing import market, reserved
from opengateway.routing.views import FREE, PeerView, Quotation, ServedModel
from opengateway.units import NodeId

FAR = tuple(NodeId(bytes([n]) * 32) for n in range(10, 16))


class Asked:
    """What the Scheduler asks of peers before it sends anything."""

    def __init__(self) -> None:
        self.sought: queue.Queue[SeekSlots] = queue.Queue()
        self.released: queue.Queue[tuple[NodeId, int]] = queue.Queue()

    def seek(self, sought: SeekSlots) -> None:
        self.sought.put(sought)

    def release(self, peer: NodeId, number: int) -> None:
        self.released.put((peer, number))

    def next(self) -> SeekSlots:
        return self.sought.get(timeout=PATIENCE)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def bench(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(placing, "SETTLING", 0.0)
    made = Bench(quoting=asked)
    made.start()
    yield made
    made.stop()


def quote(bench: Bench, sought: SeekSlots, *, free: int = 0, held: int = 0, start_s: float = 1.0) -> None:
    until = time.monotonic() + 2.0
    came = Quotation(
        sought.peer, 1, sought.model, FREE, 0, free, held, until, 0, 0.0 if free else start_s, 0, 0
    )
    bench.address.tell(QuoteCame(sought, came))


def refused_by(bench: Bench, count: int) -> tuple[Job, set[NodeId]]:
    """A job that so many peers were too full for."""
    job, full = bench.submit(), set()
    for _ in range(count):
        order = bench.dispatched()
        full.add(order.peer)
        bench.ended(order, AllBusy("full", retry_after=5.0))
    return job, full


def steps(bench: Bench, job: Job) -> list[str]:
    found = bench.address.ask(DescribeTrace(job.id)).get(timeout=PATIENCE)
    assert found is not None
    return [event["what"] for event in found["events"]]


def test_a_free_place_is_asked_for_the_answer_with_no_quote_before(bench: Bench, asked: Asked) -> None:
    bench.peers(*FAR)
    job = bench.submit()
    assert bench.dispatched().job is job
    assert asked.sought.empty()
    assert steps(bench, job) == ["sent"]


def test_after_two_full_places_the_others_are_asked_first_and_the_one_that_holds_a_slot_gets_it(
    bench: Bench, asked: Asked
) -> None:
    bench.peers(*FAR)
    job, full = refused_by(bench, 2)
    sought = [asked.next() for _ in range(3)]
    assert not full & {one.peer for one in sought}
    assert {one.slots for one in sought} == {1}
    quote(bench, sought[0])
    quote(bench, sought[1], free=1, held=1)
    order = bench.dispatched()
    assert (order.job, order.peer) == (job, sought[1].peer)
    assert steps(bench, job)[-1] == "sent"
    assert {"failed", "queued", "asked", "quoted"} <= set(steps(bench, job))


def test_a_slot_that_comes_too_late_is_given_back(bench: Bench, asked: Asked) -> None:
    bench.peers(*FAR)
    refused_by(bench, 2)
    sought = [asked.next() for _ in range(3)]
    quote(bench, sought[0], free=1, held=1)
    bench.dispatched()
    quote(bench, sought[1], free=1, held=1)
    assert asked.released.get(timeout=PATIENCE) == (sought[1].peer, 1)


def test_a_peer_that_is_silent_or_wants_credit_is_asked_for_the_answer_itself(
    bench: Bench, asked: Asked
) -> None:
    bench.peers(*FAR[:3])
    job, _ = refused_by(bench, 2)
    sought = asked.next()
    error: OpenGatewayError = NotEnoughCredit("owe me less first")
    bench.address.tell(QuoteCame(sought, None, error))
    order = bench.dispatched()
    assert (order.job, order.peer) == (job, sought.peer)


def test_a_job_for_which_everybody_is_full_waits_and_is_told_so_not_that_nobody_serves_it(
    bench: Bench, asked: Asked
) -> None:
    bench.peers(*FAR[:3])
    job = bench.submit(deadline=time.monotonic() + 1.0)
    for _ in range(2):
        bench.ended(bench.dispatched(), AllBusy("full", retry_after=5.0))
    quote(bench, asked.next(), start_s=30.0)
    bench.ended(bench.dispatched(), AllBusy("the queue is full, too", retry_after=5.0))
    assert isinstance(bench.error(job), AllBusy)
    assert steps(bench, job)[-1] == "refused"


def test_whoever_wants_the_answer_from_this_node_only_asks_nobody(bench: Bench, asked: Asked) -> None:
    bench.serve(slots=1)
    bench.peers(*FAR)
    bench.submit()
    bench.asked()
    bench.submit(scope="local")
    assert bench.jobs()["queued"] == 1
    assert asked.sought.empty()


# -- what this node holds for peers -----------------------------------------------------------------


def found(bench: Bench, peer: NodeId, number: int, slots: int = 1) -> object:
    reply: Reply[object] = bench.address.ask(FindQuote("m", "local", origin=peer, slots=slots, number=number))
    return reply.get(timeout=PATIENCE)


def test_a_held_slot_is_for_the_peer_that_asked_and_for_our_own_user(bench: Bench) -> None:
    bench.serve("running", 2, ServedModel("m"))
    first = found(bench, ASKER, 1, slots=5)
    assert (first.free_slots, first.held) == (2, 2)  # type: ignore[attr-defined]
    second = found(bench, PEER, 1)
    assert (second.free_slots, second.held) == (0, 0)  # type: ignore[attr-defined]
    bench.submit(origin=PEER, scope="local")
    assert bench.jobs()["queued"] == 1
    taken = bench.submit(origin=ASKER, scope="local")
    assert bench.asked()[0] is taken.stream
    ours = bench.submit()
    assert bench.asked()[0] is ours.stream


def test_what_is_given_back_or_lapses_is_free_for_who_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.serve("running", 1, ServedModel("m"))
    found(bench, ASKER, 1)
    waiting = bench.submit(origin=PEER, scope="local")
    assert bench.jobs()["queued"] == 1
    bench.address.tell(SlotsReleased(ASKER, 1))
    stream, opened = bench.asked()
    assert stream is waiting.stream
    bench.let_go(opened)
    bench.answered(waiting)
    monkeypatch.setattr(reserved, "HOLD_S", 0.05)
    found(bench, ASKER, 2)
    again = bench.submit(origin=PEER, scope="local")
    assert bench.asked()[0] is again.stream


def test_a_full_node_says_when_it_will_not_be(bench: Bench) -> None:
    bench.serve(slots=1)
    bench.submit()
    bench.asked()
    answer = found(bench, PEER, 1)
    assert (answer.free_slots, answer.held) == (0, 0)  # type: ignore[attr-defined]
    assert answer.start_s > 0  # type: ignore[attr-defined]
    assert bench.views[PLACE].slots == 1


# -- brief visits, and standing in a queue ----------------------------------------------------------


def test_while_others_may_be_free_a_peer_must_begin_soon_and_the_last_one_may_keep_it_waiting(
    bench: Bench, asked: Asked
) -> None:
    bench.peers(*FAR[:2])
    job = bench.submit()
    order = bench.dispatched()
    assert job.brief
    assert job.patience_ms() <= 1000
    bench.ended(order, DeadlinePassed("it would have to wait"))
    bench.dispatched()
    assert not job.brief
    assert job.patience_ms() > 10_000


def test_a_search_that_finds_nobody_sends_it_to_the_queue_that_is_over_first(
    bench: Bench, asked: Asked
) -> None:
    bench.peers(*FAR[:5])
    job, full = refused_by(bench, 2)
    sought = [asked.next() for _ in range(3)]
    for one, start_s in zip(sought, (30.0, 4.0, 50.0), strict=True):
        quote(bench, one, start_s=start_s)
    order = bench.dispatched()
    assert (order.job, order.peer) == (job, sought[1].peer)
    assert order.peer not in full
    assert not job.brief


def test_no_more_are_sent_to_stand_in_queues_than_have_room_there(bench: Bench, asked: Asked) -> None:
    bench.peers(*FAR[:2])
    jobs = [bench.submit() for _ in range(10)]
    for _ in range(2):
        bench.ended(bench.dispatched(), AllBusy("full", retry_after=5.0))
    while bench.jobs()["running"]:
        bench.ended(bench.dispatched(), AllBusy("full", retry_after=5.0))
    seen: set[Job] = set()
    with contextlib.suppress(queue.Empty):
        while True:
            quote(bench, asked.sought.get(timeout=1.0), start_s=30.0)
    with contextlib.suppress(queue.Empty):
        while True:
            order, _ = bench.lines["peers"].get(timeout=0.5)
            seen.add(order.job)
    assert seen == set(jobs[:4])


def test_who_stands_in_a_peers_queue_is_searched_for_and_goes_where_a_slot_is_held(
    bench: Bench, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in (
        (in_flight, "STOOD"),
        (hedging, "STOOD"),
        (market, "QUOTE_AGAIN"),
        (market, "QUOTE_ANYWAY"),
    ):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(searching, "PAUSE", 0.0)
    bench.peers(*FAR[:2])
    job = bench.submit()
    bench.ended(bench.dispatched(), AllBusy("full", retry_after=60.0))
    there = bench.dispatched()
    bench.io.call(job.stream.queued, Waits(1, 60.0))
    sought = asked.next()
    assert sought.peer != there.peer
    quote(bench, sought, start_s=60.0)
    again = asked.next()
    assert again.peer == sought.peer
    assert bench.lines["peers"].empty()
    quote(bench, again, free=1, held=1)
    order = bench.dispatched()
    assert order.peer == sought.peer
    assert order.job.twin_of is job
    assert order.job.brief


def test_a_peers_job_that_could_not_begin_in_its_time_is_refused_at_once(bench: Bench) -> None:
    bench.serve("running", 1, ServedModel("m", generate_tps=1.0))
    bench.submit()
    bench.asked()
    late = bench.submit(origin=PEER, scope="local", deadline=time.monotonic() + 1.0)
    error = bench.error(late)
    assert isinstance(error, AllBusy)
    assert error.retry_after is not None
    assert error.retry_after > 10
    bench.submit(origin=PEER, scope="local", deadline=time.monotonic() + 1000.0)
    assert bench.jobs()["queued"] == 1


# -- the ring that a crowd reaches --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crowd", "reached"),
    [
        (1, {"local": 1}),
        (8, {"local": 1, "lan": 3, "nearest": 4}),
        (16, {"local": 1, "lan": 3, "nearest": 4, "country": 4, "world": 4}),
    ],
)
def test_a_crowd_reaches_as_far_as_it_must_and_nearer_places_carry_their_share(
    bench: Bench, crowd: int, reached: dict[str, int]
) -> None:
    """tests/lab/test_rings.py is the same with whole nodes."""
    far = {"lan": (3, 1.0), "nearest": (4, 8.0), "country": (4, 70.0), "world": (4, 95.0)}
    rings = [(ring, rtt_ms) for ring, (count, rtt_ms) in far.items() for _ in range(count)]
    views = tuple(
        PeerView(NodeId(bytes([100 + n]) * 32), f"p{n}", ring, rtt_ms, 1, (ServedModel("m"),))
        for n, (ring, rtt_ms) in enumerate(rings)
    )
    bench.serve("running", 1, ServedModel("m"))
    bench.address.tell(PeersChanged(views))
    jobs = [bench.submit() for _ in range(crowd)]
    bench.asked()
    for _ in range(crowd - 1):
        bench.dispatched()
    found = Counter(
        event["ring"]
        for job in jobs
        for event in bench.address.ask(DescribeTrace(job.id)).get(timeout=PATIENCE)["events"]
    )
    assert found == reached
