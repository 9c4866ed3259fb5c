"""Peers' requests at this node, on the I/O loop: handed to the Scheduler, and told to the Ledger when done.

engines/answering.py reads them and sends their answers, earning.py is paid for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from actors.io_loop import IoLoop
from actors.kernel import Address, Reply
from actors.messages import Delivered, Job, LedgerMessage, SchedulerMessage, Submit, Unserved, Vouched
from actors.paying import AGAIN_S, fell_over, value_of
from actors.served_tabs import ServedTabs
from opengateway.engines.account import Account
from opengateway.engines.answering import Answerer
from opengateway.engines.incoming import Incoming
from opengateway.engines.stream import Finished
from opengateway.engines.tab import named
from opengateway.errors import AllBusy, OpenGatewayError, TabClosed
from opengateway.units import NodeId
from opengateway.wire.messages import Message


class Serving:
    def __init__(
        self,
        io: IoLoop,
        *,
        scheduler: Address[SchedulerMessage],
        ledger: Address[LedgerMessage],
        send: Callable[[NodeId, Message], bool],
        hang_up: Callable[[NodeId, str], None],
        refusal: Callable[[NodeId, int, OpenGatewayError], bytes],
        round_trip: Callable[[NodeId], float],
    ) -> None:
        self._io = io
        self._scheduler = scheduler
        self._ledger = ledger
        self.tabs = ServedTabs(io, ledger)
        self.answerer = Answerer(
            send=send,
            hang_up=hang_up,
            spawn=io.task,
            asked=self._asked,
            delivered=self._delivered,
            lead=self.tabs.lead,
            vouched=self._voucher,
            tab=self.tabs.account,
            round_trip=round_trip,
            refusal=refusal,
        )

    def lost(self, peer: NodeId) -> None:
        self.answerer.lost(peer)
        self.tabs.lost(peer)

    def close(self) -> None:
        self.tabs.close()

    def _asked(self, incoming: Incoming) -> None:
        job = Job(
            incoming.request,
            incoming.stream,
            scope="local",
            origin=incoming.peer,
            opening=incoming.opening,
            deadline=time.monotonic() + incoming.deadline_s,
        )
        if named(incoming.opening):
            try:
                self.tabs.enter(incoming, job)
            except TabClosed as error:
                incoming.stream.fail(error)
                return
        incoming.job = job
        if not self._scheduler.tell(Submit(job)):
            incoming.stream.fail(AllBusy("this node is overloaded", retry_after=2.0))

    def _voucher(self, peer: NodeId, account: Account, voucher: bytes) -> None:
        reply = self._ledger.ask(Vouched(voucher, peer), express=True)
        reply.then(lambda r: self._io.call(self._promised, peer, account, voucher, r))

    def _promised(self, peer: NodeId, account: Account, voucher: bytes, reply: Reply[int]) -> None:
        if fell_over(reply) and self.answerer.waits(peer, account):
            self._io.loop.call_later(AGAIN_S, self._voucher, peer, account, voucher)
        else:
            self.answerer.promised(peer, account, value_of(reply) or 0)

    def _delivered(self, incoming: Incoming, finished: Finished | None) -> None:
        job = incoming.job
        if not isinstance(job, Job) or not job.rid or self.tabs.ended(incoming, finished):
            return
        if finished is None:
            self._ledger.tell(Unserved(job.rid, incoming.peer))
        else:
            told = Delivered(job.rid, incoming.peer, finished.prompt_tokens, finished.completion_tokens)
            self._ledger.tell(told)
