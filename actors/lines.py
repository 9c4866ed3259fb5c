"""The way out to the peers, for those who are not on the I/O loop.

Like an engine's runner it skips a mailbox: the request goes from the Ledger, who has just made its hold
durable, straight to the loop. Two thread wake-ups less, of the eight that a request to a peer cost.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.messages import Dispatch, JobEnded, LedgerMessage, SchedulerMessage, SettleHold
from actors.switchboard import Switchboard
from opengateway.errors import WorkerLost


@dataclass(slots=True)
class Lines:
    io: IoLoop
    ledger: Address[LedgerMessage]
    scheduler: Address[SchedulerMessage]
    switchboard: Switchboard | None = None
    """Of the SwarmPeer that lives now; None between two lives. Read and written on the loop."""

    def dispatch(self, order: Dispatch) -> None:
        """Ask the peer. May be called from any thread; however it ends, the Scheduler hears of it."""
        self.io.call(self._dispatch, order)

    def _dispatch(self, order: Dispatch) -> None:
        if self.switchboard is not None:
            self.switchboard.dispatch(order)
            return
        if order.entry:  # nothing was asked, so nothing is owed
            self.ledger.ask(SettleHold(order.rid, 0, 0, b""))
        lost = WorkerLost("this node's own connections are being restarted", retry_after=1.0)
        self.scheduler.tell(JobEnded(order.job, order.peer, None, lost))
