"""The audit of one chain, entry by entry: what must follow from what came before, and what the other side
signed. Goes on after every finding with what the entry claims, so that one lie is not reported a thousand
times."""

from __future__ import annotations

from pathlib import Path

from opengateway.ledger.entry import (
    ADJ,
    EARN,
    GENESIS,
    OPEN,
    SETTLE,
    VOID,
    Entry,
    EntryInvalid,
    Signed,
    leaf_of,
    read_body,
    signed_by_author,
)
from opengateway.ledger.evidence import Columns, Held, reread
from opengateway.ledger.findings import Report
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.ogwl import Header, pieces
from opengateway.ledger.rules import (
    CLOCKS_APART_MS,
    HALVES_APART_MS,
    Pair,
    RuleBroken,
    check_counter_leg,
    check_halves,
    check_legs,
    check_release,
    check_terms,
    pair_after,
    pair_in,
    totals_after,
    totals_in,
)
from opengateway.ledger.witness import Contradiction, compare


class ChainAudit:
    """Feed `entry` with every record in order, then `finish`."""

    def __init__(self, report: Report, path: Path, header: Header, *, now_ms: int, limit: int | None) -> None:
        self.report = report
        self._path = path
        self.header = header
        self._latest_ms = min(now_ms, header.created_ms) + CLOCKS_APART_MS
        self._limit = limit
        self._previous: Signed | None = None
        self._sound = False
        """The previous entry's signature is good, so it can stand in a proof."""
        self._index = -1
        self._offset = 0
        self._opens: dict[tuple[bytes, bytes], Signed] = {}
        self._requests = Columns()
        self._places = Columns()
        self._latest: dict[bytes, Signed] = {}
        """The highest half of each counterparty."""
        self._tree = Frontier()
        self.evidence: dict[int, Held] = {}
        """Entries by this author that others hold, by position."""

    def _add(self, code: str, detail: str, *, proven: bool = False) -> None:
        self.report.add(code, self._index, self._offset, detail, proven=proven)

    def entry(self, offset: int, record: bytes) -> None:
        self._index += 1
        self._offset = offset
        checked = self.report.checked
        checked["encoding"] += 1
        try:
            parts = pieces(record)
            body, signature = parts[:2]
            entry = read_body(body, self.header.net)
        except EntryInvalid as error:
            self._unreadable(f"E_{error.reason.upper()}", str(error), record)
            return
        except ValueError as error:
            self._unreadable("E_FORMAT", str(error), record)
            return
        signed = Signed(entry, body, leaf_of(body), signature)
        self._tree.append(signed.leaf)
        sound = self._signature(signed)
        self._terms(entry)
        self._continues(signed, sound)
        self._holds(signed)
        self._halves(signed, parts[2:])
        self._compare_evidence(signed, sound)
        self._previous, self._sound = signed, sound
        self.report.kinds[entry.kind] += 1
        if entry.kind != GENESIS:
            self.report.pairs[entry.peer] = pair_in(entry)
            self._requests.add(bytes([entry.kind]) + entry.peer + entry.rid, signed.leaf, offset)

    def _unreadable(self, code: str, detail: str, record: bytes) -> None:
        self._add(code, detail)
        self._tree.append(leaf_of(record))
        self._previous, self._sound = None, False

    def _signature(self, signed: Signed) -> bool:
        self.report.checked["signatures"] += 1
        self.report.signatures += 1
        if signed.entry.author != self.header.author:
            self._add("E_WRONG_KEY", "by another author than the file's")
        if signed_by_author(signed.entry.author, signed.leaf, signed.signature):
            return True
        self._add("E_SIG", "the author's signature is not valid")
        return False

    def _terms(self, entry: Entry) -> None:
        self.report.checked["terms"] += 1
        self.report.checked["time"] += 1
        try:
            check_terms(entry)
        except RuleBroken as error:
            self._add(error.code, str(error))
        if entry.t_ms > self._latest_ms:
            self._add("E_FUTURE", f"{(entry.t_ms - self._latest_ms) // 1000} s later than the file itself")
        if self._limit is not None:
            self.report.checked["credit limit"] += 1
            if entry.kind == OPEN and entry.taken + entry.held - entry.given > self._limit:
                self._add("E_LIMIT", "spent and held exceed what was earned by more than the limit")

    def _continues(self, signed: Signed, sound: bool) -> None:
        entry, before = signed.entry, self._previous
        self.report.checked["chain"] += 1
        self.report.checked["totals"] += 1
        if self._index == 0:
            self.report.subject.first_ms = entry.t_ms
            if entry.kind != GENESIS:
                self._add("E_HEADLESS", f"the chain starts at entry {entry.seq}, not with its GENESIS")
            return
        if before is None:
            if entry.seq != self._index:
                self._add("E_SEQ", f"entry {entry.seq} at place {self._index}")
            return
        problem = self._break(before, signed)
        if problem is not None:
            proven = sound and self._sound and self._prove(before, signed)
            self._add(problem.code, str(problem), proven=proven)

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
        known = self.report.pairs.get(b.peer, Pair())
        if pair_after(known, b) != pair_in(b):
            return RuleBroken("E_PAIR", "its totals with this peer do not follow from those before")
        try:
            check_legs(a, b)
        except RuleBroken as error:
            return error
        return None

    def _prove(self, first: Signed, second: Signed) -> bool:
        try:
            compare(first, second)
        except Contradiction as error:
            self.report.proofs.append((error.kind, error.proof))
            return True
        return False

    def _holds(self, signed: Signed) -> None:
        entry = signed.entry
        key = (entry.peer, entry.rid)
        if entry.kind == OPEN:
            self._opens[key] = signed
        elif entry.kind in (SETTLE, VOID):
            self.report.checked["holds"] += 1
            opening = self._opens.pop(key, None)
            if opening is None:
                self._add("E_NOOPEN", "releases a hold that no OPEN took")
                return
            try:
                check_release(opening.entry, opening.leaf, entry)
            except RuleBroken as error:
                self._add(error.code, str(error))

    def _halves(self, signed: Signed, parts: list[bytes]) -> None:
        entry = signed.entry
        if entry.kind == ADJ and entry.amount:
            self._leg(entry, parts)
            return
        if entry.kind not in (SETTLE, EARN):
            if parts:
                self._add("E_PEERKIND", "a counterparty's half where there is none to have")
            return
        self.report.checked["halves"] += 1
        if not parts:
            if entry.kind == EARN:
                self._add("E_ONESIDED", "earned without the debtor's signature")
            else:
                self._add("W_NOCOUNTER", "the worker's EARN has not come back")
            return
        half = self._half(entry, parts)
        if half is None:
            return
        settle, earn = (half, signed) if entry.kind == EARN else (signed, half)
        try:
            check_halves(settle.entry, settle.leaf, earn.entry)
        except RuleBroken as error:
            self._add("E_PEERLINK" if error.code == "E_LINK" else error.code, str(error))
        if earn.entry.t_ms > settle.entry.t_ms + HALVES_APART_MS:
            late = (earn.entry.t_ms - settle.entry.t_ms) // 1000
            self._add("W_PAIRTIME", f"earned {late} s after it was settled")

    def _leg(self, entry: Entry, parts: list[bytes]) -> None:
        """A debt that a transfer took away: its creditor must have signed that it gave the claim up."""
        self.report.checked["transfers"] += 1
        half = self._half(entry, parts) if parts else None
        if not parts:
            self._add("W_NOCOUNTER", "the creditor's side of this transfer has not come back")
        elif half is not None:
            try:
                check_counter_leg(entry, half.entry)
            except RuleBroken as error:
                self._add(error.code, str(error))

    def _half(self, entry: Entry, parts: list[bytes]) -> Signed | None:
        """The counterparty's entry if it is one and really signed."""
        body, signature = parts
        self.report.signatures += 1
        try:
            half = Signed(read_body(body, self.header.net), body, leaf_of(body), signature)
        except EntryInvalid as error:
            self._add("E_PEERFORMAT", str(error))
            return None
        if not signed_by_author(half.entry.author, half.leaf, signature):
            self._add("E_PEERSIG", "the counterparty's signature is not valid")
            return None
        try:
            check_terms(half.entry)
        except RuleBroken as error:
            self._add("E_PEERTERMS", f"the counterparty's half breaks a rule: {error}")
        if half.entry.author == entry.peer:
            self._witness(half)
        return half

    def _witness(self, half: Signed) -> None:
        """A counterparty's entries must make one honest chain too, as far as they are to be seen here."""
        self.report.checked["counterparties"] += 1
        author = half.entry.author
        self._places.add(author + half.entry.seq.to_bytes(8, "big"), half.leaf, self._offset)
        latest = self._latest.setdefault(author, half)
        if latest.entry.seq != half.entry.seq and self._prove(latest, half):
            self._add(
                "E_PEERHISTORY", f"{author.hex()[:16]} signed entries that do not follow from each other"
            )
        if latest.entry.seq < half.entry.seq:
            self._latest[author] = half

    def _compare_evidence(self, signed: Signed, sound: bool) -> None:
        held = self.evidence.pop(signed.entry.seq, None)
        if held is None:
            return
        self.report.checked["evidence"] += 1
        if held.leaf != signed.leaf:
            proven = sound and self._prove(signed, held.read())
            self._add(
                "E_FORK" if proven else "E_EVIDENCE",
                "somebody holds another entry for this place",
                proven=proven,
            )

    def finish(self) -> None:
        """Everything that needs the whole chain."""
        report, last = self.report, self._previous
        self._index, self._offset = -1, -1
        report.subject.entries = self._tree.size
        report.subject.root = self._tree.root()
        if last is not None:
            report.totals = totals_in(last.entry)
            report.subject.head, report.subject.last_ms = last.leaf, last.entry.t_ms
            report.subject.position = last.entry.seq
        for opening in self._opens.values():
            if opening.entry.hold:
                report.add("W_UNSETTLED", opening.entry.seq, -1, f"{opening.entry.hold} ucr are still held")
        for seq in sorted(self.evidence):
            report.checked["evidence"] += 1
            report.add("E_TRUNCATED", seq, -1, f"somebody holds entry {seq}, which is not in this file")
        report.checked["request ids"] += len(self._requests)
        for first, second in self._requests.twice():
            pair = self._reread(first, 0), self._reread(second, 0)
            sound = all(signed_by_author(one.entry.author, one.leaf, one.signature) for one in pair)
            proven = sound and self._prove(*pair)
            report.add(
                "E_DUPRID",
                pair[1].entry.seq,
                second,
                f"the same request as entry {pair[0].entry.seq}",
                proven=proven,
            )
        for first, second in self._places.twice():
            pair = self._reread(first, 2), self._reread(second, 2)
            if self._prove(*pair):
                entry = pair[0].entry
                text = f"{entry.author.hex()[:16]} signed two different entries {entry.seq}"
                report.add("E_PEERFORK", -1, second, text)

    def _reread(self, offset: int, first: int) -> Signed:
        return reread(self._path, offset, first, self.header.net)
