"""What was earned by vouchers that no SETTLE has completed: so far a worker is ahead of its requester, and no
further. On the worker's chain that is exact at every EARN; of what a peer claims in its halves the chain of
who owes it must show that it was settled, or that it could have been vouched for.

A chunk notes what changes and what is claimed (`Step`); the sums go over all chunks (`Ahead`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from opengateway.ledger.entry import EARN, Entry, EntryInvalid
from opengateway.ledger.evidence import read_signed
from opengateway.ledger.rules import rest_rid

if TYPE_CHECKING:
    from opengateway.ledger.audit_chain import ChainAudit

VOUCHED, COMPLETED, AHEAD, CLAIMED = range(4)


class Step(NamedTuple):
    """One entry's part in it. `amount`: earned by a voucher, completed of that, `served` above the SETTLE's
    `consumed`, or `served` as the peer claims it (ucr)."""

    place: int
    offset: int
    peer: bytes
    kind: int
    amount: int
    request: tuple[bytes, int, int] = (b"", 0, 0)
    """rid, and the tokens that a voucher was for."""


class Noted:
    """What one chunk noted: of what is claimed again and again with one peer only the first."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._last: dict[bytes, int] = {}

    def change(self, step: Step) -> None:
        self._last.pop(step.peer, None)
        self.steps.append(step)

    def ahead(self, step: Step) -> None:
        if self._last.get(step.peer) != step.amount:
            self._last[step.peer] = step.amount
            self.steps.append(step)


def earned(audit: ChainAudit, earn: Entry, parts: list[bytes]) -> None:
    """Every EARN, also where no signature is checked: whether it is by a voucher, or the rest after one."""
    at = audit.place, audit.offset, earn.peer
    if len(parts) == 4:
        request = earn.rid, earn.prompt_tokens, earn.completion_tokens
        audit.noted.change(Step(*at, VOUCHED, earn.amount, request))
    elif len(parts) == 2 and earn.rid == rest_rid(earn.link):
        try:
            settle = read_signed(parts[0], parts[1], audit.context.net).entry
        except EntryInvalid:
            return  # said where halves are checked
        prompt = settle.prompt_tokens - earn.prompt_tokens
        request = settle.rid, prompt, settle.completion_tokens - earn.completion_tokens
        audit.noted.change(Step(*at, COMPLETED, settle.amount - earn.amount, request))


def compared(audit: ChainAudit, entry: Entry, half: Entry) -> None:
    """A receipt: what each side says that it earned from the other, and what that one signed for."""
    at = audit.place, audit.offset, entry.peer
    if entry.kind == EARN and half.amount:
        audit.noted.ahead(Step(*at, AHEAD, entry.served - half.consumed))
    if half.served > entry.consumed:
        audit.noted.steps.append(Step(*at, CLAIMED, half.served))


class Ahead:
    """Feed `step` with those of all chunks in their order; each answers what is wrong with it, or ""."""

    def __init__(self) -> None:
        self.amounts: Counter[bytes] = Counter()
        """ucr, by peer."""
        self.claims: list[Step] = []
        self._open: dict[tuple[bytes, bytes], tuple[bytes, int, int]] = {}

    def close(self, peer: bytes) -> None:
        """Its account went over to another key, and what was ahead is part of what that one owes."""
        self.amounts.pop(peer, None)

    def step(self, step: Step) -> str:
        peer, amount, request = step.peer, step.amount, step.request
        if step.kind == VOUCHED:
            self.amounts[peer] += amount
            self._open[peer, request[0]] = request
        elif step.kind == COMPLETED:
            self.amounts[peer] -= amount
            if self._open.pop((peer, request[0]), None) != request:
                return "earns the rest of a request without an EARN by voucher over what is missing"
        elif step.kind == CLAIMED:
            self.claims.append(step)
        elif self.amounts[peer] != amount:
            right, self.amounts[peer] = self.amounts[peer], amount
            return f"{amount} ucr ahead of what was settled, of which {right} were earned by vouchers"
        return ""
