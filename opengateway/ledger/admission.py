"""Whether to serve somebody, decided from this node's own ledger alone (LEDGER.md, "Admission").

    n = what we owe the requester, less what it holds open with us and what it left unpaid
    l = a quarter of the service that it really gave us, ever
    u = max(0, price - n - l), the part that nothing secures

Serve if u is 0; else only while u and the sum of everybody's u stay within the stranger line and the pool.
Receipts between third parties never enter: a ring of identities that sign for each other gains nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from opengateway.errors import LedgerRefused, NotEnoughCredit, OfferOutdated
from opengateway.ledger.entry import Entry
from opengateway.ledger.price import Price
from opengateway.ledger.rules import CLOCKS_APART_MS, GONE_AFTER_MS
from opengateway.units import CREDIT, NodeId, show_credits


@dataclass(frozen=True, slots=True)
class Policy:
    """What this node's owner allows. Amounts in ucr."""

    line_divisor: int = 4
    """1/4 of the service received is the line: a long con gains at most that, per victim."""
    stranger_line: int = 50 * CREDIT
    """L0: 7,000 completion tokens of a 7B model. Enough to try a network, too little to live from. 0 is a
    node that serves nobody on trust."""
    pool: int = 200 * CREDIT
    """4 x L0 for all strangers together, however many identities they make."""
    pool_refill_per_hour: int = CREDIT
    """What is forgiven to the pool as a whole, or strangers who never return would close it for good: about
    1 % of what a CPU node that writes 10 tokens/s of a 3B model could earn. Used until the node has measured
    what it could really earn."""
    pool_refill_percent: int = 1
    """Of what this node could earn in an hour, as measured."""
    settle_within_ms: int = GONE_AFTER_MS
    """After that an answer counts as left unpaid, and the requester's hold as forgotten."""


SECURED_LEAD = 128
"""Tokens that a requester with credit may owe beyond its last voucher: two instalments of 64, so that the
next one is on its way back while the other is being written."""
STRANGER_LEAD = 32
"""One instalment, and a short one: what it costs to be deceived by somebody new."""


class Standing(NamedTuple):
    """One requester, as this node's ledger has it (ucr)."""

    owed: int
    """n, before this request; negative: the requester owes us."""
    line: int
    """l."""

    @property
    def exposed(self) -> int:
        """What nothing secures already."""
        return max(0, -self.owed - self.line)


@dataclass(frozen=True, slots=True)
class Admission:
    """Yes. `unsecured` is served from idle capacity only, after everybody whose credit covers it."""

    requester: NodeId
    rid: bytes
    model: str
    hold: int
    """ucr: the most that this request may cost."""
    unsecured: int
    prompt_tokens: int
    """What the requester says that its prompt has; charged is what the engine counts, within the hold."""
    max_completion: int

    @property
    def secured(self) -> bool:
        return not self.unsecured

    @property
    def lead(self) -> int:
        """Tokens that are sent ahead of the last voucher at most; 0: free work needs none."""
        if not self.hold:
            return 0
        return SECURED_LEAD if self.secured else STRANGER_LEAD


class Pool:
    """The strangers' pool: how much of all exposure is forgiven, growing with time, never beyond it."""

    __slots__ = ("at_ms", "capacity", "forgiven")

    def __init__(self, forgiven: int = 0, at_ms: int = 0) -> None:
        self.capacity = 0
        """ucr that this node could earn in an hour, as measured; 0: not measured yet."""
        self.forgiven = forgiven
        self.at_ms = at_ms

    def left(self, policy: Policy, exposed: int, now_ms: int) -> int:
        """ucr that strangers may still take, `exposed` being what all of them took so far."""
        passed = max(0, now_ms - self.at_ms) if self.at_ms else 0
        refill = self.capacity * policy.pool_refill_percent // 100 or policy.pool_refill_per_hour
        self.forgiven = min(exposed, self.forgiven + refill * passed // 3_600_000)
        self.at_ms = now_ms
        return policy.pool - (exposed - self.forgiven)


def unsecured_part(
    price: int, standing: Standing, pool_left: int, policy: Policy, *, trusted: bool = True
) -> int:
    """u, if it may be served. `pool_left` leaves out this requester's own exposure; `trusted` is false for
    a node that we hold a proof of fraud against: it may still redeem what we owe it.

    Raises `NotEnoughCredit`, whose `missing` is the credit (ucr) that would make the answer yes.
    What else a stranger must show (a proof-of-work stamp, a cosigned head) is checked after this, because it
    costs more: `Worker.stranger_checks`.
    """
    if price <= 0:
        return 0
    u = max(0, price - standing.owed - standing.line)
    allowed = max(0, min(policy.stranger_line, pool_left)) if trusted else 0
    if u <= allowed:
        return u
    if not trusted:
        hint = "this node holds a proof that you signed two histories, so it serves only what it owes you"
    elif policy.stranger_line and u <= policy.stranger_line:
        hint = "others use up what this node gives to strangers: serve it first, or ask another node"
    else:
        hint = "serve this node's requests first, ask for fewer tokens, or ask a node that owes you"
    refusal = NotEnoughCredit(
        f"this request needs {show_credits(price)} credits, {show_credits(u - allowed)} more than there is",
        hint=hint,
    )
    refusal.missing = u - allowed
    raise refusal


def require_offered(entry: Entry, price: Price, model: str, offers: Collection[bytes]) -> None:
    """That it pays what this node asks for now, by one of its last offers (`offers`; none: not looked at)."""
    if offers and entry.link not in offers:
        raise OfferOutdated(
            "the OPEN names no offer of this node, or one from before its last changes",
            reason="offer",
            hint="ask for a new quote",
        )
    if (entry.price_prompt, entry.price_completion) != price:
        raise OfferOutdated(
            f"the price is {price.prompt} ucr per prompt token and {price.completion} per completion token, "
            f"not {entry.price_prompt} and {entry.price_completion}",
            reason="price",
            hint="ask for a new quote",
        )
    if model and entry.model != model:
        raise LedgerRefused(f"an OPEN for {entry.model}, not for {model}", reason="model")


def require_clock(entry: Entry, now_ms: int) -> None:
    if apart(entry.t_ms - now_ms):
        raise clocks_apart(entry.t_ms - now_ms)


def apart(ahead_ms: int) -> bool:
    """Clocks differ by more than an OPEN may."""
    return abs(ahead_ms) > CLOCKS_APART_MS


def clocks_apart(ahead_ms: int) -> LedgerRefused:
    """Why nothing is opened between two nodes. `ahead_ms`: of the one who asks."""
    return LedgerRefused(
        f"the clocks of the two nodes differ by {ahead_ms / 1000:+.0f} s",
        reason="clock",
        hint="`opengateway doctor` says whose clock is wrong",
    )
