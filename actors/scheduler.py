"""Jobs in flight: finds each a place, and another one if that place fails it.

The Scheduler owns every job of the node, our users' and the peers', and counts the slots of the local
engines, so the queue is in one place. A job of a peer is admitted by the Ledger first and is only ever
served here: nobody's request is passed on behind his back. This file is its mailbox and its door;
placing.py, ending.py and queueing.py are what it does with a job.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from actors import holds, request_ids
from actors.appraising import Appraising
from actors.ending import Ending
from actors.failover import Failover
from actors.hedging import Hedging
from actors.in_flight import InFlight, Turns
from actors.io_loop import IoLoop
from actors.jobs_seen import jobs_seen
from actors.kernel import Actor, Address, Reply
from actors.messages import (
    Abandoned,
    Admitted,
    Claims,
    DescribeJobs,
    DescribeModels,
    DescribeTrace,
    DescribeTraces,
    Dispatch,
    FindQuote,
    Job,
    JobEnded,
    LedgerMessage,
    ListJobs,
    Overcharged,
    OwedToUs,
    PeersChanged,
    QuoteCame,
    RegistryMessage,
    SchedulerMessage,
    SlotsReleased,
    Submit,
    TellPeers,
    Tick,
    WorkerChanged,
)
from actors.placing import Placing
from actors.queueing import Queueing
from actors.runner import Runner
from actors.searching import Quoting, Searching
from actors.standstill import end_the_stalled
from actors.tabs import Tabs
from opengateway.engines.prompt_size import sure_prompt_tokens
from opengateway.errors import AllBusy, EngineUnavailable, OpenGatewayError, RequestError
from opengateway.ledger.admission import Admission
from opengateway.routing.market import Market
from opengateway.routing.priority import Service
from opengateway.routing.trace import Trace, Traces
from opengateway.routing.views import FREE, WorkerView
from opengateway.units import NodeId

TICK = 0.25
"""Seconds between looks at deadlines and at queued jobs."""
IDLE_TICK = 2.0
"""The same while there is no job: four looks at nothing a second were a tenth of what an idle node does."""
CLAIMS_EVERY = 10.0
"""Seconds between looks at who owes us, while something runs: of two equal places the debtor is asked."""


STIRRING = frozenset({Submit, Admitted, FindQuote, QuoteCame})
"""With these there may be a job soon."""


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
        friends: frozenset[NodeId] = frozenset(),
        private: bool,
        stranger_met: Callable[[], None] = lambda: None,
        quoting: Quoting | None = None,
        tabs: Tabs | None = None,
    ) -> None:
        """`stranger_met`: somebody is a peer who will trust us only with an identity stamp. `quoting`: how
        peers are asked to hold slots; without it nobody is asked."""
        super().__init__()
        self._io = io
        self._runners = runners
        self._dispatch, self._cover = dispatch, cover
        self._registry = registry
        self._ledger = ledger
        self._views = views
        self._closed = closed
        self._lend, self._friends = lend, friends
        self._private, self._stranger_met = private, stranger_met
        self._quoting, self._tabs = quoting, tabs
        self._market = market or Market()
        self._traces = Traces()
        self._resting = False
        self._claims_at = 0.0

    def on_start(self) -> None:
        self._assemble()
        for view in list(self._views.values()):
            self._market.worker_changed(view)
        self._registry.tell(TellPeers())
        self.address.tell_later(TICK, Tick(), replace=True)

    def _assemble(self) -> None:
        """The parts; each reaches the others through `turns`."""
        flight = self._flight = InFlight(self._io, self.address, self._ledger, self._market)
        self._failover = Failover(flight)
        self._placing = Placing(
            flight,
            runners=self._runners,
            dispatch=self._dispatch,
            searching=self._quoting is not None,
            failover=self._failover,
            tabs=self._tabs,
        )
        self._hedging = Hedging(
            flight, elsewhere=self._placing.elsewhere, send=self._placing.send, failover=self._failover
        )
        self._ending = Ending(flight, cover=self._cover, failover=self._failover, hedging=self._hedging)
        self._queueing = Queueing(flight, lend=self._lend)
        self._searching = Searching(flight, self._quoting)
        self._appraising = Appraising(flight, closed=self._closed, lend=self._lend, private=self._private)
        flight.turns = Turns(
            place=self._placing.place,
            queue=self._queueing.queue,
            wait=self._queueing.wait,
            seek=self._searching.wanted,
            drain=self._queueing.drain,
            held_back=self._queueing.held_back,
            ended=self._ending.ended,
            answered=self._queueing.forecast.ended,
            refuse=self._ending.refuse,
            unserved=self._ending.unserved,
        )

    def on_exit(self) -> None:
        """Nobody will ever place these: say so instead of leaving their callers to wait."""
        for job in (*self._flight.waiting, *self._flight.in_hand):
            self._io.call(job.stream.fail, RequestError("the scheduler was restarted; ask again"))

    def on_receive(self, message: SchedulerMessage) -> Any:
        if self._resting and type(message) in STIRRING:
            self._resting = False
            self.address.tell_later(TICK, Tick(), replace=True)
        match message:
            case Submit(job):
                self._submit(job)
            case JobEnded():
                self._ending.ended(message)
            case Admitted(job, admission, error):
                self._admitted(job, admission, error)
            case Abandoned(job):
                self._queueing.abandoned(job)
            case WorkerChanged(view):
                self._market.worker_changed(view)
                self._queueing.drain()
            case PeersChanged(peers):
                self._market.peers_changed(peers, now=time.monotonic())
                if not self._private and any(peer.ring != "lan" for peer in peers):
                    self._stranger_met()
                self._queueing.drain()
            case Overcharged(peer, times):
                self._market.overcharged(peer, times, time.monotonic())
            case SlotsReleased():
                self._appraising.released(message)
            case QuoteCame():
                self._searching.came(message)
            case OwedToUs(claims):
                self._market.owing(peer for peer, owed in claims.items() if owed > 0)
            case Tick():
                self._tick()
            case DescribeJobs():
                return (
                    self._flight.counts()
                    | self._searching.describe()
                    | {"failover": self._failover.counters | self._hedging.counters}
                )
            case ListJobs():
                return jobs_seen(self._flight)
            case FindQuote():
                return self._appraising.appraise(message)
            case DescribeTrace(request):
                found = self._traces.find(request)
                return found.as_json() if found is not None else None
            case DescribeTraces(limit, failed):
                return [trace.summary() for trace in self._traces.newest(limit, failed=failed)]
            case DescribeModels():
                return self._market.describe()
        return None

    def _tick(self) -> None:
        now = time.monotonic()
        self._queueing.expire()
        end_the_stalled(self._flight.running, self._io, now)
        self._market.reserved.expire(now)
        if len(self._flight.waiting) and (why := self._closed()):
            self._queueing.closed(EngineUnavailable(why, hint="ask another node"))
        self._queueing.drain()
        self._searching.tick()
        self._hedging.tick(now)
        if now - self._claims_at > CLAIMS_EVERY and self._flight.running:
            self._claims_at = now
            self._ledger.ask(Claims()).then(self._claims)
        flight = self._flight
        self._resting = not (flight.running or flight.in_hand or len(flight.waiting))
        self.address.tell_later(IDLE_TICK if self._resting else TICK, Tick(), replace=True)

    def _submit(self, job: Job) -> None:
        job.least = max(job.least, sure_prompt_tokens(job.request.body))
        if job.origin is None:
            self._trace(job)
            if job.stream.shown is None:
                job.stream.shown = []
            self._placing.place(job)
            return
        if why := self._closed():
            self._ending.refuse(job, EngineUnavailable(why, hint="ask another node"))
            return
        request, on_link = job.request, self._market.on_link(job.origin)
        job.service = Service.FRIEND if on_link or job.origin in self._friends else Service.SECURED
        choice = self._market.choose_here(
            request.model, job.origin, private=self._private, needs=request.needs, least=job.least
        )
        if isinstance(choice, AllBusy):
            if full := self._queueing.turned_away(job):
                self._ending.refuse(job, full)
                return
            price = self._market.local_price(job.request.model)
        elif isinstance(choice, OpenGatewayError):
            self._ending.refuse(job, choice)
            return
        else:
            price = choice.model.price
        if job.tabbed or (price == FREE and not job.opening):
            if job.service is Service.SECURED and not job.secured:
                job.service = Service.STRANGER
            self._placing.place(job)
            return
        holds.admit(self._ledger, self.address, job, price, near=self._private or on_link)

    def _claims(self, reply: Reply[dict[NodeId, int]]) -> None:
        with contextlib.suppress(Exception):  # the ledger is restarted: next time
            self.address.tell(OwedToUs(reply.get(timeout=0)))

    def _trace(self, job: Job) -> None:
        if job.trace is None:
            request = job.request
            at_ms = time.time_ns() // 1_000_000
            job.trace = Trace(job.id, request.kind, request.model, job.scope, job.created, at_ms)
        self._traces.keep(job.trace)

    def _admitted(self, job: Job, admission: Admission | None, error: OpenGatewayError | None) -> None:
        if admission is None:
            self._ending.refuse(job, error or RequestError("the ledger did not answer", retry_after=1.0))
        else:
            job.rid, job.lead, job.secured = admission.rid, admission.lead, admission.secured
            job.admission = admission
            job.id = request_ids.read(job.rid)
            if job.service is Service.SECURED and not admission.secured:
                job.service = Service.STRANGER
            self._placing.place(job)
