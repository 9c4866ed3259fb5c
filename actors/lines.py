"""The way out to the peers, for those who are not on the I/O loop.

Like an engine's runner it skips a mailbox: the request goes from the Ledger, who has just made its hold
durable, straight to the loop. Two thread wake-ups less, of the eight that a request to a peer cost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from actors.exchange import Exchange
from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.messages import (
    Dispatch,
    Job,
    JobEnded,
    KeyNews,
    LedgerMessage,
    QuoteCame,
    Received,
    SchedulerMessage,
    SeekSlots,
    SettleHolds,
    Submit,
)
from actors.stamping import Stamping
from actors.switchboard import Switchboard
from actors.tabs import Tabs
from opengateway.engines.quotation import Terms
from opengateway.errors import OpenGatewayError, WorkerLost
from opengateway.units import NodeId
from opengateway.wire.messages import Stamp


@dataclass(slots=True)
class Lines:
    io: IoLoop
    ledger: Address[LedgerMessage]
    scheduler: Address[SchedulerMessage]
    stamping: Stamping = field(init=False)
    tabs: Tabs = field(init=False)
    switchboard: Switchboard | None = None
    """Of the SwarmPeer that lives now; None between two lives. Read and written on the loop."""

    def __post_init__(self) -> None:
        self.tabs = Tabs(self.io)
        self.stamping = Stamping(self.io, self.ledger)
        self.stamping.made = self.show_stamp

    def dispatch(self, order: Dispatch) -> None:
        """Ask the peer. May be called from any thread; however it ends, the Scheduler hears of it."""
        self.io.call(self._dispatch, order)

    def _dispatch(self, order: Dispatch) -> None:
        if self.switchboard is not None:
            self.switchboard.dispatch(order)
            return
        if order.tab is not None:
            self.tabs.ended(order.tab, order.need, 0, 0, b"")
            self.tabs.gone(order.tab)
        elif order.entry:  # nothing was asked, so nothing is owed
            self.ledger.ask(SettleHolds((Received(order.rid, 0, 0, b""),)))
        lost = WorkerLost("this node's own connections are being restarted", retry_after=1.0)
        self.scheduler.tell(JobEnded(order.job, order.peer, None, lost))

    def cover(self, job: Job) -> None:
        """Give the peer what it wants for this job, our stamp, our ledger or credit, each once, and submit it
        again. The ledger is shown with the OPEN that it is asked with (actors/showing.py)."""
        if job.wants_stamp is not None and not job.stamped:
            job.stamped = True
            self.io.spawn(self._stamped(job, job.wants_stamp))
        elif job.wants_head is not None and not job.shown:
            job.shown = True
            job.tried.discard(job.wants_head)
            self.scheduler.tell(Submit(job))
        else:
            job.covered = True
            self.io.call(self._cover, job)

    async def _stamped(self, job: Job, peer: NodeId) -> None:
        try:
            stamp = await self.stamping.ready(max(0.0, job.deadline - time.monotonic()))
            if self.switchboard is not None and self.switchboard.send(peer, Stamp(stamp)):
                job.tried.discard(peer)
                job.lasting.discard(peer)
        except OpenGatewayError as error:
            job.stream.fail(error)
        finally:
            self.scheduler.tell(Submit(job))

    def _cover(self, job: Job) -> None:
        if self.switchboard is None or job.wants_credit is None:
            self.scheduler.tell(Submit(job))
        else:
            self.io.task(self._covered(self.switchboard.exchange, job, *job.wants_credit))

    async def _covered(self, exchange: Exchange, job: Job, peer: NodeId, price: int) -> None:
        try:
            if await exchange.cover(price, peer):
                job.tried.discard(peer)
                job.lasting.discard(peer)
        finally:
            self.scheduler.tell(Submit(job))

    def flood(self, proof: bytes) -> None:
        """Tell every peer of a fraud. May be called from any thread."""
        self.io.call(self._flood, proof)

    def _flood(self, proof: bytes) -> None:
        if self.switchboard is not None:
            self.switchboard.rumours.flood(proof)

    def show_stamp(self, stamp: bytes) -> None:
        """To every peer. On the loop."""
        if self.switchboard is not None:
            self.switchboard.show_stamp(stamp)

    def seek(self, sought: SeekSlots) -> None:
        """Ask a peer to hold slots; the Scheduler hears what it says. May be called from any thread."""
        self.io.call(self._seek, sought)

    def _seek(self, sought: SeekSlots) -> None:
        if self.switchboard is not None:
            self.io.task(self.switchboard.quotes.seek(sought))
        else:
            lost = WorkerLost("this node's own connections are being restarted", retry_after=1.0)
            self.scheduler.tell(QuoteCame(sought, None, lost))

    def release(self, peer: NodeId, number: int) -> None:
        """The peer holds slots that nobody needs any more. May be called from any thread."""
        self.io.call(self._release, peer, number)

    def _release(self, peer: NodeId, number: int) -> None:
        if self.switchboard is not None:
            self.switchboard.quotes.release(peer, number)

    async def quote(self, peer: NodeId, kind: str, model: str, prompt: int, completion: int) -> Terms:
        """What a peer says to a request like this. On the loop; raises `OpenGatewayError`."""
        if self.switchboard is None:
            raise WorkerLost("this node's own connections are being restarted", retry_after=1.0)
        return await self.switchboard.quotes.ask(peer, kind, model, prompt, completion)

    def agree(self, heard: KeyNews) -> None:
        """Tell a peer that its account is accepted. On the loop."""
        if self.switchboard is not None:
            self.switchboard.heirs.carry_out(heard)

    async def move(self, amount: int, via: tuple[NodeId, ...], to: NodeId) -> None:
        """One transfer that the owner asked for. On the loop; raises `OpenGatewayError`."""
        if self.switchboard is None:
            raise WorkerLost("this node's own connections are being restarted", retry_after=1.0)
        await self.switchboard.exchange.move(amount, via, to)
