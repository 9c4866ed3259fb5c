"""The ledger as people read it."""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

from opengateway.identity import base32, short
from opengateway.ledger.debts import PairTotals
from opengateway.ledger.entry import KINDS, read_body
from opengateway.ledger.journal import Journal
from opengateway.ledger.rules import Totals, totals_in
from opengateway.ledger.store import Store
from opengateway.units import NetworkId, NodeId


class Balance(NamedTuple):
    """ucr, integers."""

    balance: int
    """Earned less spent."""
    earned: int
    spent: int
    held: int
    """For our own requests in flight."""
    entries: int
    owed_to_us: int
    """By all peers that owe us, requests in flight left out."""
    owed_by_us: int
    earned_last_hour: int
    spent_last_hour: int


HOUR_MS = 3_600_000


class Line(NamedTuple):
    seq: int
    t_ms: int
    kind: str
    """GENESIS, OPEN, SETTLE, EARN or VOID."""
    peer: NodeId
    rid: bytes
    model: str
    prompt_tokens: int
    completion_tokens: int
    amount: int
    """ucr spent (SETTLE) or earned (EARN)."""
    hold: int
    """ucr held (OPEN) or released (SETTLE, VOID)."""
    countersigned: bool
    """The other side's half is here too."""


def balance(journal: Journal) -> Balance:
    chain = journal.vault.chain
    given, taken, held = chain.totals
    net = [pair.owes_us for pair in journal.debts.all()]
    before = totals_at(journal.vault.store, journal.net, journal.now_ms() - HOUR_MS)
    return Balance(
        given - taken,
        given,
        taken,
        held,
        chain.entries,
        sum(one for one in net if one > 0),
        -sum(one for one in net if one < 0),
        given - before.given,
        taken - before.taken,
    )


def totals_at(store: Store, net: NetworkId, t_ms: int) -> Totals:
    """As they were at that time. Every entry has them, so twenty reads find it among a million."""
    first, last = 0, store.count()
    found = Totals()
    while first < last:
        middle = (first + last) // 2
        row = next(store.rows(middle))
        entry = read_body(row.body, net)
        if entry.t_ms <= t_ms:
            found, first = totals_in(entry), middle + 1
        else:
            last = middle
    return found


class Moment(NamedTuple):
    """ucr, integers, as they were at `t_ms`."""

    t_ms: int
    earned: int
    spent: int


def curve(journal: Journal, span_ms: int, points: int) -> list[Moment]:
    """What was earned and spent by then, at `points` times evenly over the last `span_ms`, the newest last.

    Reads about twenty entries a point, however long the ledger is."""
    now, store = journal.now_ms(), journal.vault.store
    times = [now - span_ms * step // (points - 1) for step in reversed(range(points))]
    return [Moment(t_ms, *totals_at(store, journal.net, t_ms)[:2]) for t_ms in times]


def line_facts(line: Line) -> dict[str, Any]:
    """As JSON has it."""
    moved = line.kind in {"CARRY", "FOLLOW"}  # their token fields hold what transfers had moved
    return {
        "seq": line.seq,
        "t_ms": line.t_ms,
        "type": line.kind.lower(),
        "peer": base32(line.peer) if any(line.peer) else "",
        "name": short(line.peer) if any(line.peer) else "",
        "model": line.model,
        "prompt_tokens": None if moved else line.prompt_tokens,
        "completion_tokens": None if moved else line.completion_tokens,
        "amount": line.amount,
        "hold": line.hold,
        "countersigned": line.countersigned,
        "request": line.rid.hex(),
    }


def account_facts(pair: PairTotals) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "id": base32(pair.peer),
        "short": short(pair.peer),
        "name": short(pair.peer),
        "served": pair.served,
        "consumed": pair.consumed,
        "net": pair.owes_us,
        "holding": pair.holding,
        "reserved": pair.reserved,
        "unpaid": pair.unpaid,
        "line": pair.line,
    }


def lines(store: Store, net: NetworkId, limit: int) -> list[Line]:
    """The newest committed entries first."""
    found = []
    for row in islice(store.rows(backwards=True), limit):
        entry = read_body(row.body, net)
        found.append(
            Line(
                entry.seq,
                entry.t_ms,
                KINDS[entry.kind],
                entry.peer,
                entry.rid,
                entry.model,
                entry.prompt_tokens,
                entry.completion_tokens,
                entry.amount,
                entry.hold,
                row.peer_signature is not None,
            )
        )
    return found
