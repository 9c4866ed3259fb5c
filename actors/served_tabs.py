"""Peers' tabs at this node, on the I/O loop: one OPEN that several requests name.

The Ledger admits the OPEN, and is told what was delivered when the SETTLE comes or the session ends. Between
the two a request on the tab costs no entry and no admission; what it may take is bounded by the OPEN here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from actors import request_ids
from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.messages import Delivered, Job, LedgerMessage, Unserved
from opengateway.engines.account import Account
from opengateway.engines.incoming import Incoming
from opengateway.engines.stream import Finished
from opengateway.engines.tab import Budget, Need, named, need_of
from opengateway.errors import TabClosed
from opengateway.ledger.entry import leaf_of_wire
from opengateway.routing.placement import plain_name
from opengateway.units import NodeId

IDLE_S: Final = 60.0
"""Seconds after which a tab that nothing goes on is over, SETTLE or not."""
PER_PEER: Final = 64
"""Tabs of one peer that are not settled yet; a new one takes the place of the oldest."""


@dataclass(eq=False, slots=True)
class ServedTab:
    peer: NodeId
    leaf: bytes
    number: int
    """The stream of the request that brought the OPEN."""
    job: Job
    """That request."""
    budget: Budget
    account: Account
    settled: bool = False
    used: float = 0.0
    """Monotonic seconds, of the last request."""
    needs: dict[int, Need] = field(default_factory=dict)
    """Of those in flight, by their streams."""


class ServedTabs:
    def __init__(self, io: IoLoop, ledger: Address[LedgerMessage]) -> None:
        self._io = io
        self._ledger = ledger
        self._tabs: dict[NodeId, dict[bytes, ServedTab]] = {}
        """By the leaves of their OPENs."""
        self.counters = {"opened": 0, "requests": 0, "closed": 0}

    def begin(self, incoming: Incoming, job: Job) -> None:
        """The answer to a request whose OPEN further ones will name is beginning."""
        need = need_of(incoming.request.kind, incoming.request.body, incoming.size)
        if job.admission is None or need is None:
            return
        leaf = leaf_of_wire(incoming.opening)
        budget = Budget(job.admission.prompt_tokens, job.admission.max_completion)
        tab = ServedTab(incoming.peer, leaf, incoming.number, job, budget, incoming.account)
        mine = self._tabs.setdefault(incoming.peer, {})
        if len(mine) >= PER_PEER:
            self._end(next(iter(mine.values())))
        mine[leaf] = tab
        self._take(tab, incoming, need)
        self.counters["opened"] += 1
        self._io.loop.call_later(IDLE_S, self._look, tab)

    def enter(self, incoming: Incoming, job: Job) -> None:
        """A request that names a tab goes on it. Raises `TabClosed`."""
        name = named(incoming.opening)
        assert name is not None
        leaf, request_id = name
        tab = self._tabs.get(incoming.peer, {}).get(leaf)
        need = need_of(incoming.request.kind, incoming.request.body, incoming.size)
        same = tab is not None and plain_name(tab.job.request.model) == plain_name(incoming.request.model)
        if tab is None or need is None or not same or not tab.budget.has_room(need):
            self.counters["closed"] += 1
            raise TabClosed("there is no such tab, or no room on it", hint="send the request with an OPEN")
        first = tab.job
        self._take(tab, incoming, need)
        job.tabbed, job.opening, job.id = True, b"", request_ids.read(request_id)
        job.rid, job.lead, job.secured = first.rid, first.lead, first.secured
        self.counters["requests"] += 1

    def _take(self, tab: ServedTab, incoming: Incoming, need: Need) -> None:
        tab.budget.take(need)
        tab.needs[incoming.number] = need
        tab.used = time.monotonic()
        incoming.tab, incoming.account = tab, tab.account

    def lead(self, incoming: Incoming) -> int:
        """Its answer begins: how far it may run ahead of what is vouched for."""
        job = incoming.job
        if not isinstance(job, Job):
            return 0
        if incoming.begins_tab:
            self.begin(incoming, job)
        return job.lead

    def ended(self, incoming: Incoming, finished: Finished | None) -> bool:
        """An answer has ended. False: it was on no tab."""
        tab = incoming.tab
        if not isinstance(tab, ServedTab):
            return False
        need = tab.needs.pop(incoming.number)
        prompt, completion = (finished.prompt_tokens, finished.completion_tokens) if finished else (0, 0)
        completion = min(completion, incoming.sent_bytes + 16)
        _, completion = tab.budget.ended(need, prompt, completion)
        tab.account.tokens += completion - incoming.tokens
        if tab.settled:
            self._tell(tab)
        return True

    def account(self, peer: NodeId, number: int) -> Account | None:
        """Of the tab that this stream has begun."""
        for tab in self._tabs.get(peer, {}).values():
            if tab.number == number:
                return tab.account
        return None

    def settled(self, peer: NodeId, number: int) -> None:
        """The SETTLE of the request on this stream has come: before it is earned, the Ledger must know what
        was delivered."""
        for tab in self._tabs.get(peer, {}).values():
            if tab.number == number:
                self._end(tab)
                return

    def lost(self, peer: NodeId) -> None:
        for tab in list(self._tabs.get(peer, {}).values()):
            self._end(tab)

    def close(self) -> None:
        for peer in list(self._tabs):
            self.lost(peer)

    def _look(self, tab: ServedTab) -> None:
        """One that its owner has forgotten holds his line no longer."""
        if tab.settled:
            return
        if not tab.budget.in_flight and time.monotonic() - tab.used > IDLE_S:
            self._end(tab)
        else:
            self._io.loop.call_later(IDLE_S, self._look, tab)

    def _end(self, tab: ServedTab) -> None:
        tab.settled = True
        mine = self._tabs.get(tab.peer, {})
        mine.pop(tab.leaf, None)
        if not mine:
            self._tabs.pop(tab.peer, None)
        self._tell(tab)

    def _tell(self, tab: ServedTab) -> None:
        budget, rid = tab.budget, tab.job.rid
        if budget.owed_prompt or budget.owed_completion:
            self._ledger.tell(Delivered(rid, tab.peer, budget.owed_prompt, budget.owed_completion))
        elif not budget.in_flight:
            self._ledger.tell(Unserved(rid, tab.peer))
