"""Jobs in flight: finds each a place, and another one if that place fails it.

The Scheduler owns every job of the node, our users' and the peers', and counts the slots of the local
engines, so the queue is in one place. A job of a peer is admitted by the Ledger first and is only ever
served here: nobody's request is passed on behind his back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from actors import holds, quotes
from actors.io_loop import IoLoop
from actors.kernel import Actor, Address
from actors.messages import (
    Abandoned,
    Admitted,
    DescribeJobs,
    DescribeModels,
    Dispatch,
    FindQuote,
    Job,
    JobEnded,
    LedgerMessage,
    Overcharged,
    PeersChanged,
    RegistryMessage,
    SchedulerMessage,
    Submit,
    TellPeers,
    Tick,
    Unserved,
    WorkerChanged,
)
from actors.runner import Runner
from actors.standstill import end_the_stalled
from actors.waiting import WaitingRoom
from opengateway.errors import AllBusy, DeadlinePassed, EngineUnavailable, OpenGatewayError, RequestError
from opengateway.ledger.admission import Admission
from opengateway.routing.market import Choice, Market
from opengateway.routing.views import FREE, WorkerView
from opengateway.units import NodeId

TICK = 0.25
"""Seconds between looks at deadlines and at queued jobs."""
PEER_QUEUE = 2
"""Jobs of peers that may wait per slot; beyond that a peer does better to ask the next node."""
SETTLING = 4.0
"""Seconds after the start in which "nobody serves this" may only mean that peers are still being met."""


class Scheduler(Actor[SchedulerMessage]):
    def __init__(
        self,
        io: IoLoop,
        *,
        runners: Mapping[str, Runner],
        dispatch: Callable[[Dispatch], None],
        cover: Callable[[Job], None] | None = None,
        registry: Address[RegistryMessage],
        ledger: Address[LedgerMessage],
        views: Mapping[str, WorkerView],
        market: Market | None = None,
        closed: Callable[[], str],
        lend: int = 0,
        private: bool,
        stranger_met: Callable[[], None] = lambda: None,
    ) -> None:
        """`stranger_met`: somebody is a peer who will trust us only with an identity stamp."""
        super().__init__()
        self._io = io
        self._runners = runners
        self._dispatch, self._cover = dispatch, cover
        self._registry = registry
        self._ledger = ledger
        self._views = views
        self._closed = closed
        self._lend = lend or sys.maxsize
        self._private, self._stranger_met = private, stranger_met
        self._market = market or Market()
        self._waiting = WaitingRoom()
        self._in_hand: tuple[Job, ...] = ()
        self._running: dict[Job, str | NodeId] = {}
        self._done = self._failed = 0
        self._born = time.monotonic()

    def on_start(self) -> None:
        for view in list(self._views.values()):
            self._market.worker_changed(view)
        self._registry.tell(TellPeers())
        self.address.tell_later(TICK, Tick(), replace=True)

    def on_exit(self) -> None:
        """Nobody will ever place these: say so instead of leaving their callers to wait."""
        for job in (*self._waiting, *self._in_hand):
            self._io.call(job.stream.fail, RequestError("the scheduler was restarted; ask again"))

    def on_receive(self, message: SchedulerMessage) -> Any:
        match message:
            case Submit(job):
                self._submit(job)
            case JobEnded():
                self._ended(message)
            case Admitted(job, admission, error):
                self._admitted(job, admission, error)
            case Abandoned(job):
                if self._waiting.leave(job):
                    self._unserved(job)
            case WorkerChanged(view):
                self._market.worker_changed(view)
                self._drain()
            case PeersChanged(peers):
                self._market.peers_changed(peers, now=time.monotonic())
                if not self._private and any(peer.ring != "lan" for peer in peers):
                    self._stranger_met()
                self._drain()
            case Overcharged(peer, times):
                self._market.overcharged(peer, times, time.monotonic())
            case Tick():
                self.address.tell_later(TICK, Tick(), replace=True)
                self._expire()
                end_the_stalled(self._running, self._io, time.monotonic())
                self._drain()
            case DescribeJobs():
                counts = {"running": len(self._running), "queued": len(self._waiting)}
                return counts | {"done": self._done, "failed": self._failed} | self._market.counts()
            case FindQuote():
                return quotes.appraise(self._market, message, private=self._private)
            case DescribeModels():
                return self._market.describe()
        return None

    # -- a job comes in ----------------------------------------------------------------

    def _submit(self, job: Job) -> None:
        if job.origin is None:
            self._place(job)
            return
        if why := self._closed():
            self._refuse(job, EngineUnavailable(why, hint="ask another node"))
            return
        choice = self._market.choose_here(job.request.model, job.origin, private=self._private)
        room = PEER_QUEUE * max(1, self._market.slots())
        if isinstance(choice, AllBusy) and self._waiting.of_peers() < room:
            price = self._market.local_price(job.request.model)
        elif isinstance(choice, OpenGatewayError):
            self._refuse(job, choice)
            return
        else:
            price = choice.model.price
        if price == FREE and not job.opening:
            self._place(job)
            return
        near = self._private or self._market.on_link(job.origin)
        holds.admit(self._ledger, self.address, job, price, near=near)

    def _admitted(self, job: Job, admission: Admission | None, error: OpenGatewayError | None) -> None:
        if admission is None:
            self._refuse(job, error or RequestError("the ledger did not answer", retry_after=1.0))
        else:
            job.rid, job.lead, job.secured = admission.rid, admission.lead, admission.secured
            self._place(job)

    # -- a job finds a place -------------------------------------------------------------

    def _place(self, job: Job) -> None:
        before, self._in_hand = self._in_hand, (*self._in_hand, job)
        self._find_place(job)
        self._in_hand = before

    def _find_place(self, job: Job) -> None:
        if job.stream.done:  # the caller went away
            self._unserved(job)
            return
        now, here = time.monotonic(), job.origin is not None
        if here and sum(1 for other in self._running if other.origin is not None) >= self._lend:
            self._queue(job, AllBusy("all slots that are for others are busy", retry_after=1.0))
            return
        choice = self._market.choose(
            job.request.model,
            job.scope,
            now=now,
            tried=frozenset(job.tried),
            here=here,
            patient=isinstance(job.why, AllBusy),
        )
        if isinstance(choice, AllBusy):
            self._queue(job, choice)
        elif isinstance(choice, OpenGatewayError):
            if now - self._born < SETTLING and not here and job.why is None:
                self._wait(job)
            else:
                self._refuse(job, choice if isinstance(job.why, AllBusy) else job.why or choice)
        else:
            self._send(job, choice)

    def _queue(self, job: Job, busy: AllBusy) -> None:
        if job.why is not None and not isinstance(job.why, AllBusy):
            # Everyone who is left to try has failed it for another reason than being busy.
            self._refuse(job, job.why)
            return
        job.why, job.tried = busy, set()
        self._wait(job)

    def _send(self, job: Job, choice: Choice) -> None:
        if choice.model.name != job.request.model:
            job.request = replace(job.request, model=choice.model.name)
        self._running[job], job.begun = choice.place, time.monotonic()
        self._market.took(choice.place)
        if isinstance(choice.place, str):
            runner = self._runners.get(choice.place)
            if runner is None:  # its WorkerChanged is on the way
                gone = AllBusy("the engine is being restarted", retry_after=1.0)
                self._ended(JobEnded(job, choice.place, None, gone))
            else:
                self._io.call(runner.begin, job)
            return
        order = holds.order_for(job, choice.place, choice.model, self._market.peer(choice.place))
        holds.hold(self._ledger, self.address, order, choice.model, dispatch=self._dispatch)

    def _wait(self, job: Job) -> None:
        if full := self._waiting.join(job):
            self._refuse(job, full)
        else:
            self._io.call(self._watch, job)

    def _watch(self, job: Job) -> None:
        """On the loop: hear of a caller who leaves the queue."""
        job.stream.on_cancel = lambda: self.address.tell(Abandoned(job))
        if job.stream.done:
            self.address.tell(Abandoned(job))

    # -- a job leaves --------------------------------------------------------------------

    def _ended(self, end: JobEnded) -> None:
        job = end.job
        if self._running.pop(job, None) is None:
            if end.error is not None:  # placed by a former life of this actor
                self._io.call(job.stream.fail, end.error)
            return
        self._market.gave_back(end.place)
        if end.error is None:
            self._market.succeeded(end.place)
            self._done += 1
        elif self._may_retry(job, end.error) and holds.outdated(end):
            self.address.tell_later(holds.REQUOTE, Submit(job))
        elif self._may_retry(job, end.error):
            self._market.failed(end.place, end.error, time.monotonic())
            job.tried.add(end.place)
            job.why = end.error
            holds.note_shortage(end)
            self._place(job)
        else:
            self._failed += 1
            self._io.call(job.stream.fail, end.error)
        self._drain()

    def _may_retry(self, job: Job, error: OpenGatewayError) -> bool:
        """Somebody else may still answer: nothing was shown yet, and it is not the request's own fault."""
        return (
            job.stream.first_at is None
            and not job.stream.done
            and job.origin is None
            and (error.status >= 500 or error.status in (402, 404))
        )

    def _refuse(self, job: Job, error: OpenGatewayError) -> None:
        if self._cover is not None and holds.may_cover(job):
            self._cover(job)  # what others owe us may become credit there; then it is submitted again
            return
        self._failed += 1
        self._unserved(job)
        self._io.call(job.stream.fail, error)

    def _unserved(self, job: Job) -> None:
        if job.origin is not None and job.rid:
            self._ledger.tell(Unserved(job.rid, job.origin))

    # -- the queue -----------------------------------------------------------------------

    def _drain(self) -> None:
        """Give every waiting job another try, in order. Once one has found everyone busy, the others
        that want the same model would, too."""
        stuck: set[tuple[str, str, bool]] = set()
        for job in tuple(self._waiting):
            kind = (job.request.model, job.scope, job.origin is None)
            if kind not in stuck and self._waiting.leave(job):
                self._place(job)
                if job in self._waiting:
                    stuck.add(kind)

    def _expire(self) -> None:
        now = time.monotonic()
        for job in self._waiting.expired(now):
            waited = f"nobody had a free slot within {now - job.created:.0f} s"
            self._refuse(job, job.why or DeadlinePassed(waited, retry_after=10.0))
