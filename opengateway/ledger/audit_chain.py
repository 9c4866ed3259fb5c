"""The audit of one chain, a chunk at a time: what must follow from what came before, and what the other
side signed. Goes on after every finding with what the entry claims, so that one lie is not reported a
thousand times. Chunks may be audited in any process; what only all of them show is audit_whole.py's."""

from __future__ import annotations

from opengateway.ledger import audit_ahead, audit_halves, ogwl
from opengateway.ledger.audit_chunk import ChunkResult, Closed, Context, Found, spot_of
from opengateway.ledger.audit_moved import check_all_moved
from opengateway.ledger.audit_rotate import check_not_after
from opengateway.ledger.entry import EARN, GENESIS, OPEN, SETTLE, VOID, Entry, EntryInvalid, Signed, leaf_of
from opengateway.ledger.evidence import genuine, read_signed, reread
from opengateway.ledger.rules import (
    Pair,
    RuleBroken,
    check_legs,
    check_release,
    check_terms,
    pair_after,
    pair_in,
    totals_after,
    totals_in,
)
from opengateway.ledger.witness import Contradiction, compare


def audit_chunk(context: Context, chunk: ogwl.Chunk) -> ChunkResult:
    audit = ChainAudit(context, chunk)
    for offset, record in ogwl.records_at(context.path, chunk.offset, chunk.entries):
        audit.entry(offset, record)
    audit.result.ahead = audit.noted.steps
    return audit.result


class ChainAudit:
    """Feed `entry` with every record of a chunk in order."""

    def __init__(self, context: Context, chunk: ogwl.Chunk) -> None:
        self.context = context
        self.result = ChunkResult(chunk.first)
        self.noted = audit_ahead.Noted()
        self.place = chunk.first - 1
        self.offset = 0
        self.thorough = True
        """Signatures and halves of this entry are to be checked."""
        self.previous: Signed | None = None
        if chunk.before >= 0:
            try:
                self.previous = reread(context.path, chunk.before, 0, context.net)
            except ValueError:
                self.previous = None
        self._opens: dict[tuple[bytes, bytes], Signed] = {}
        self._with: dict[bytes, Signed] = {}
        """The last entry with each peer."""
        self._closed: set[bytes] = set()
        self.highest: dict[bytes, Signed] = {}
        """The highest half of each counterparty."""

    def closes(self, old: bytes, new: bytes, taken: Pair) -> None:
        """A FOLLOW: nothing more may come with the old key."""
        known = self._with.get(old)
        if known is not None:
            check_all_moved(pair_in(known.entry), taken)
        self._closed.add(old)
        self.result.pairs.pop(old, None)
        rest = Pair() if known is not None else taken
        self.result.closed.append(Closed(self.place, self.offset, old, new, rest))

    def add(self, code: str, detail: str, *, proven: bool = False) -> None:
        self.result.findings.append(Found(self.place, self.offset, code, detail, proven))

    def entry(self, offset: int, record: bytes) -> None:
        self.place += 1
        self.offset = offset
        context, result = self.context, self.result
        result.checked["encoding"] += 1
        self.thorough = self.place >= context.audited and (
            context.sample is None or self.place % context.sample == 0
        )
        try:
            parts = ogwl.pieces(record)
            signed = read_signed(parts[0], parts[1], context.net)
        except EntryInvalid as error:
            self._unreadable(f"E_{error.reason.upper()}", str(error), record)
            return
        except ValueError as error:
            self._unreadable("E_FORMAT", str(error), record)
            return
        entry = signed.entry
        result.leaves += signed.leaf
        if self.thorough:
            self._signature(signed)
        self._terms(entry)
        self._continues(signed)
        self._holds(signed)
        if entry.kind == EARN:
            audit_ahead.earned(self, entry, parts[2:])
        if self.thorough:
            audit_halves.check(self, signed, parts[2:])
        self.previous = result.last = signed
        result.kinds[entry.kind] += 1
        if entry.peer in self._closed:
            self.add("E_ROTATE", "with a key that was given up before")
        elif entry.kind != GENESIS:
            self._with[entry.peer] = signed
            result.pairs[entry.peer] = pair_in(entry), offset
            result.requests.add(bytes([entry.kind]) + entry.peer + entry.rid, signed.leaf, spot_of(offset))

    def _unreadable(self, code: str, detail: str, record: bytes) -> None:
        self.add(code, detail)
        self.result.leaves += leaf_of(record)
        self.previous = self.result.last = None

    def _signature(self, signed: Signed) -> None:
        self.result.checked["signatures"] += 1
        self.result.signatures += 1
        if signed.entry.author != self.context.author:
            self.add("E_WRONG_KEY", "by another author than the file's")
        if not genuine(signed):
            self.add("E_SIG", "the author's signature is not valid")

    def _terms(self, entry: Entry) -> None:
        context, checked = self.context, self.result.checked
        checked["terms"] += 1
        checked["time"] += 1
        try:
            check_terms(entry)
        except RuleBroken as error:
            self.add(error.code, str(error))
        if entry.t_ms > context.latest_ms:
            self.add("E_FUTURE", f"{(entry.t_ms - context.latest_ms) // 1000} s later than the file itself")
        if (
            context.price_cap is not None
            and max(entry.price_prompt, entry.price_completion) > context.price_cap
        ):
            self.add("E_PRICE", f"a price above the policy's cap of {context.price_cap} ucr per token")
        if context.credit is not None:
            checked["credit limit"] += 1
            if entry.kind == OPEN and entry.taken + entry.held - entry.given > context.credit:
                self.add("E_LIMIT", "spent and held exceed what was earned by more than the limit")

    def _continues(self, signed: Signed) -> None:
        entry, before = signed.entry, self.previous
        self.result.checked["chain"] += 1
        self.result.checked["totals"] += 1
        if self.place == 0:
            self.result.first_ms = entry.t_ms
            if entry.kind != GENESIS:
                self.add("E_HEADLESS", f"the chain starts at entry {entry.seq}, not with its GENESIS")
            return
        if before is None:
            if entry.seq != self.place:
                self.add("E_SEQ", f"entry {entry.seq} at place {self.place}")
            return
        problem = self._break(before, signed)
        if problem is not None:
            proven = self.prove(before, signed)
            if not proven and problem.code == "E_PAIR":
                proven = self.prove(self._with[entry.peer], signed)
            self.add(problem.code, str(problem), proven=proven)

    def _break(self, before: Signed, signed: Signed) -> RuleBroken | None:
        """Why this entry does not continue the one before."""
        a, b = before.entry, signed.entry
        if b.seq != a.seq + 1:
            return RuleBroken("E_SEQ", f"entry {b.seq} after entry {a.seq}")
        if b.prev != before.leaf:
            return RuleBroken("E_PREV", f"does not name entry {a.seq} as the one before it")
        if b.t_ms < a.t_ms:
            return RuleBroken("E_TIME", f"{a.t_ms - b.t_ms} ms before the entry before it")
        try:
            if totals_after(totals_in(a), b) != totals_in(b):
                return RuleBroken("E_TOTALS", f"its totals do not follow from entry {a.seq}")
        except RuleBroken as error:
            return error
        known = self._with.get(b.peer)
        if known is None:
            now, step = pair_in(b), pair_after(Pair(), b)
            must = Pair(*(total - more for total, more in zip(now, step, strict=True)))
            self.result.starts[b.peer] = self.place, self.offset, must
        elif pair_after(pair_in(known.entry), b) != pair_in(b):
            return RuleBroken("E_PAIR", "its totals with this peer do not follow from those before")
        try:
            check_legs(a, b)
            check_not_after(before)
        except RuleBroken as error:
            return error
        return None

    def prove(self, first: Signed, second: Signed) -> bool:
        """Whether these two convict who signed both. Signatures are checked last: they cost the most."""
        try:
            compare(first, second)
        except Contradiction as error:
            if first.entry.author != second.entry.author or not (genuine(first) and genuine(second)):
                return False
            self.result.proofs.append((error.kind, error.proof))
            return True
        return False

    def _holds(self, signed: Signed) -> None:
        entry, result = signed.entry, self.result
        key = (entry.peer, entry.rid)
        if entry.kind == OPEN:
            self._opens[key] = signed
            result.opens[key] = entry.seq, self.offset, entry.hold
            self.note(signed.leaf, 0)
        elif entry.kind in (SETTLE, VOID):
            result.checked["holds"] += 1
            self.note(entry.link, 0)
            opening = self._opens.pop(key, None)
            if opening is None:
                result.releases.append((self.place, self.offset, key))
                return
            del result.opens[key]
            self.release(opening, entry)

    def release(self, opening: Signed, entry: Entry) -> None:
        try:
            check_release(opening.entry, opening.leaf, entry)
        except RuleBroken as error:
            self.add(error.code, str(error))
        tokens, took_ms = entry.completion_tokens, entry.t_ms - opening.entry.t_ms
        if tokens * 1000 > self.context.tokens_per_s * (took_ms + 1000):
            self.add("W_RATE", f"{tokens} tokens in {took_ms} ms: faster than any model answers")

    def note(self, opening_leaf: bytes, part: int) -> None:
        if opening_leaf in self.context.vouched:
            self.result.vouched.setdefault(opening_leaf, []).append(spot_of(self.offset, part))
