"""Auditing ledgers from their exports alone. Needs PyNaCl, cbor2 and the standard library; nothing of a node.

verify        one chain: every signature, link, total, hold, price, and the other sides' halves
verify_pair   two chains: does each hold what the other signed, do they agree on what is owed
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from opengateway.ledger.audit_chain import ChainAudit
from opengateway.ledger.entry import EntryInvalid, leaf_of, read_body, read_form, signed_by_author
from opengateway.ledger.evidence import Held, reread
from opengateway.ledger.findings import Report, worst
from opengateway.ledger.ogwl import Reader, Torn, Unreadable, pieces
from opengateway.ledger.rules import Pair
from opengateway.ledger.witness import check_proof

NEVER = (
    "whether entries after the last one here exist (--evidence, or audit pair with somebody who holds more)",
    "cosignatures and checkpoints, vouchers, key rotations: not part of this version",
    "whether answers were good or tokens were counted right: no ledger holds that",
)
Progress = Callable[[int, int], None]
"""Entries done, entries in all."""


class Limits(NamedTuple):
    """What a chain is held against beyond its own rules."""

    credit: int | None = None
    """ucr that may be spent and held beyond what was earned."""
    now_ms: int | None = None
    """Nothing may be later; the clock's time if None."""


NO_LIMITS = Limits()


def verify(
    path: Path,
    *,
    evidence: Iterable[Path] = (),
    held: Mapping[int, Held] | None = None,
    limits: Limits = NO_LIMITS,
    progress: Progress | None = None,
) -> Report:
    """The audit of one export. Never raises for what is in a file: that is a finding.

    `evidence`: files with one entry `[body, signature]` each that somebody else holds; `held` the same, by
    position, already checked.
    """
    report = Report(str(path))
    started = time.perf_counter()
    try:
        with Reader(path) as reader:
            now_ms = int(time.time() * 1000) if limits.now_ms is None else limits.now_ms
            audit = ChainAudit(report, path, reader.header, now_ms=now_ms, limit=limits.credit)
            audit.evidence.update(held or {})
            for file in evidence:
                _load_evidence(file, audit)
            _read(reader, audit, progress)
    except (OSError, Unreadable) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        report.add("E_UNREADABLE", -1, -1, text or "it cannot be read")
    report.not_checked.extend(NEVER)
    if limits.credit is None:
        report.not_checked.append("a credit limit (--credit-limit CREDITS)")
    report.seconds = time.perf_counter() - started
    return report


def _read(reader: Reader, audit: ChainAudit, progress: Progress | None) -> None:
    report, header = audit.report, reader.header
    report.subject.author, report.subject.net = header.author, header.net
    report.subject.created_ms = header.created_ms
    report.checked["file"] += 1
    try:
        for done, (offset, record) in enumerate(reader.records()):
            audit.entry(offset, record)
            if progress is not None and done % 1000 == 0:
                progress(done, header.entries)
        trailer = reader.trailer()
    except Torn as error:
        audit.finish()
        report.add("E_TORN", -1, error.offset, str(error))
        return
    audit.finish()
    if not trailer.intact:
        report.add("E_DIGEST", -1, -1, "the file's digest does not fit, or something follows it")
    if trailer.vouchers or trailer.checkpoints:
        report.add("E_UNSUPPORTED", -1, -1, "vouchers or checkpoints, which this version cannot check")
    for proof in trailer.proofs:
        report.checked["file"] += 1
        try:
            guilty = check_proof(proof if type(proof) is bytes else b"", header.net)
        except ValueError as error:
            report.add("E_PROOF", -1, -1, f"an enclosed fault proof proves nothing: {error}")
            continue
        report.enclosed.append(guilty)


def _load_evidence(file: Path, audit: ChainAudit) -> None:
    try:
        found = read_form(file.read_bytes(), audit.header.net)
    except (OSError, EntryInvalid) as error:
        audit.report.add("E_EVIDENCE", -1, -1, f"{file} is no evidence: {error}")
        return
    entry = found.entry
    if entry.author != audit.header.author or not signed_by_author(entry.author, found.leaf, found.signature):
        audit.report.add("E_EVIDENCE", -1, -1, f"{file} is no evidence: not signed by this author")
        return
    audit.evidence[entry.seq] = Held(found.leaf, lambda: found)


class PairReport(NamedTuple):
    """Both chains, and what only comparing them shows."""

    first: Report
    second: Report
    between: Report

    @property
    def exit(self) -> int:
        return worst(report.exit for report in self)


def verify_pair(first: Path, second: Path, *, limits: Limits = NO_LIMITS) -> PairReport:
    """Two nodes' exports: each is audited with what the other holds of it as evidence."""
    between = Report(f"{first} and {second}")
    started = time.perf_counter()
    reports = [verify(first, held=_held(second, first), limits=limits)]
    reports.append(verify(second, held=_held(first, second), limits=limits))
    a, b = reports
    one, two = a.subject, b.subject
    if one.net != two.net:
        between.add("E_DISAGREE", -1, -1, "the two ledgers are of different networks")
    elif one.author == two.author:
        between.add("E_DISAGREE", -1, -1, "both ledgers are of the same node")
    elif one.author and two.author:
        _compare(
            between, a.pairs.get(two.author, Pair()), b.pairs.get(one.author, Pair()), ("first", "second")
        )
        _compare(
            between, b.pairs.get(one.author, Pair()), a.pairs.get(two.author, Pair()), ("second", "first")
        )
    between.seconds = time.perf_counter() - started
    return PairReport(a, b, between)


def _held(holder: Path, subject: Path) -> dict[int, Held]:
    """What one export holds of another's author, by position; only what that author really signed."""
    held: dict[int, Held] = {}
    try:
        with Reader(subject) as other:
            author = other.header.author
        with Reader(holder) as reader:
            net = reader.header.net
            for offset, record in reader.records():
                try:
                    parts = pieces(record)
                    if len(parts) != 4 or (entry := read_body(parts[2], net)).author != author:
                        continue
                except ValueError:
                    continue
                leaf = leaf_of(parts[2])
                if signed_by_author(author, leaf, parts[3]):
                    held[entry.seq] = Held(leaf, partial(reread, holder, offset, 2, net))
    except (OSError, Unreadable, Torn):
        pass  # the audit of that file reports it
    return held


def _compare(between: Report, debtor: Pair, creditor: Pair, names: tuple[str, str]) -> None:
    """The debtor signs first, so its side may be ahead; it can never be behind."""
    between.checked["pair"] += 1
    ahead = debtor.consumed - creditor.served
    if ahead > 0:
        text = f"{ahead} ucr that the {names[0]} node settled have not reached the {names[1]}"
        between.add("W_INFLIGHT", -1, -1, text)
    elif ahead < 0:
        text = f"the {names[1]} node earned {-ahead} ucr more from the {names[0]} than that one signed for"
        between.add("E_DISAGREE", -1, -1, text)
