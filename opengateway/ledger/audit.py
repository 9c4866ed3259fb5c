"""Auditing ledgers from their exports alone. Needs PyNaCl, cbor2 and the standard library; nothing of a node.

verify        one chain: every signature, link, total, hold, price, and what the other sides signed
verify_pair   two chains: does each hold what the other signed, do they agree on what is owed
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from opengateway.ledger import ogwl
from opengateway.ledger.audit_certificate import (
    Certificate,
    CertificateInvalid,
    check_prefix,
    read_certificate,
)
from opengateway.ledger.audit_chunk import Context
from opengateway.ledger.audit_policy import Policy
from opengateway.ledger.audit_pool import audit_chunks
from opengateway.ledger.audit_trailer import (
    check_notes,
    check_proofs,
    check_vouchers,
    read_notes,
    vouched_leaves,
)
from opengateway.ledger.audit_whole import WholeAudit
from opengateway.ledger.entry import GENESIS, EntryInvalid, Signed, read_form
from opengateway.ledger.evidence import Held, genuine, read_signed, reread
from opengateway.ledger.findings import Report, worst
from opengateway.ledger.ogwl import Header, Reader, Torn, Trailer, Unreadable, pieces
from opengateway.ledger.rules import CLOCKS_APART_MS, Pair

NEVER = (
    "whether entries after the last one here exist (--checkpoint, --evidence, or pair with who holds more)",
    "whether answers were good or tokens were counted right: no ledger holds that",
)
Progress = Callable[[int, int], None]
"""Entries done, entries in all."""


class Limits(NamedTuple):
    """What a chain is held against beyond its own rules, and how."""

    credit: int | None = None
    """ucr that may be spent and held beyond what was earned."""
    now_ms: int | None = None
    """Nothing may be later; the clock's time if None."""
    policy: Policy = Policy()
    jobs: int = 1
    """Processes. The result is the same."""
    sample: int | None = None
    """Signatures are checked of one entry in so many."""


NO_LIMITS = Limits()


def verify(
    path: Path,
    *,
    evidence: Iterable[Path] = (),
    checkpoints: Iterable[Path] = (),
    since: Path | None = None,
    held: Mapping[int, Held] | None = None,
    limits: Limits = NO_LIMITS,
    progress: Progress | None = None,
) -> Report:
    """The audit of one export. Never raises for what is in a file: that is a finding.

    `evidence`: files with one entry `[body, signature]` each that somebody else holds; `held` the same, by
    position, already checked. `checkpoints`: signed notes of this ledger. `since`: a certificate of an
    earlier audit, whose part is then hashed and added up but not checked again.
    """
    report = Report(str(path))
    started = time.perf_counter()
    try:
        skim = ogwl.skim(path)
    except (OSError, Unreadable) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        report.add("E_UNREADABLE", -1, -1, text or "it cannot be read")
    else:
        known = dict(held or {})
        for file in evidence:
            _load_evidence(report, file, skim.header, known)
        texts = tuple(_text(report, file) for file in checkpoints)
        _audit(report, skim, _Beside(path, known, texts, since), limits, progress)
    report.not_checked[:0] = NEVER
    if (limits.policy.credit if limits.credit is None else limits.credit) is None:
        report.not_checked.append("a credit limit (--credit-limit CREDITS)")
    report.seconds = time.perf_counter() - started
    return report


class _Beside(NamedTuple):
    """The file, and what was given with it."""

    path: Path
    evidence: Mapping[int, Held]
    notes: tuple[str, ...]
    since: Path | None


def _audit(
    report: Report, skim: ogwl.Skim, beside: _Beside, limits: Limits, progress: Progress | None
) -> None:
    header, policy = skim.header, limits.policy
    trailer = skim.trailer or Trailer([], [], [], intact=True)
    report.subject.author, report.subject.net = header.author, header.net
    report.subject.created_ms = header.created_ms
    report.checked["file"] += 1
    notes = read_notes(report, header.net, header.author, [*beside.notes, *trailer.checkpoints])
    certificate = _certificate(report, beside.since, header, policy)
    now_ms = int(time.time() * 1000) if limits.now_ms is None else limits.now_ms
    context = Context(
        beside.path,
        header.net,
        header.author,
        min(now_ms, header.created_ms) + CLOCKS_APART_MS,
        policy.credit if limits.credit is None else limits.credit,
        policy.price_cap,
        policy.tokens_per_s,
        certificate.size if certificate else 0,
        limits.sample,
        _recovery(beside.path, skim),
        vouched_leaves(trailer.vouchers),
    )
    sizes = [note.size for note in notes] + ([certificate.size] if certificate else [])
    whole = WholeAudit(report, context, skim.chunks, beside.evidence, sizes)
    for result in audit_chunks(context, skim.chunks, limits.jobs):
        whole.chunk(result)
        if progress is not None:
            progress(whole.tree.size, header.entries)
    whole.finish()
    if skim.torn:
        report.add("E_TORN", -1, skim.torn.offset, str(skim.torn))
    if certificate:
        check_prefix(whole, certificate)
    if limits.sample is not None:
        report.not_checked.append(f"signatures and halves of all but one entry in {limits.sample} (--sample)")
    check_notes(whole, notes, policy)
    if not notes:
        report.not_checked.append("the tree against a checkpoint: there is none (--checkpoint NOTE)")
    elif policy.quorum is None:
        report.not_checked.append("who cosigned the checkpoints (--policy FILE with witnesses and a quorum)")
    if not trailer.intact:
        report.add("E_DIGEST", -1, -1, "the file's digest does not fit, or something follows it")
    check_vouchers(whole, trailer.vouchers)
    check_proofs(report, trailer.proofs, header.net)


def _recovery(path: Path, skim: ogwl.Skim) -> bytes:
    """What the chain's first entry says of its recovery key."""
    try:
        first = reread(path, skim.chunks[0].offset, 0, skim.header.net).entry
    except (LookupError, ValueError):
        return b""
    return first.link if first.kind == GENESIS else b""


def _certificate(report: Report, since: Path | None, header: Header, policy: Policy) -> Certificate | None:
    if since is None:
        return None
    report.checked["certificate"] += 1
    try:
        return read_certificate(since.read_bytes(), header, policy)
    except (OSError, CertificateInvalid) as error:
        report.add("E_CERTIFICATE", -1, -1, f"{since} certifies nothing here: {error}")
        return None


def _text(report: Report, file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        report.add("E_CHECKPOINT", -1, -1, f"{file} cannot be read: {error}")
        return ""


def _load_evidence(report: Report, file: Path, header: Header, known: dict[int, Held]) -> None:
    try:
        found = read_form(file.read_bytes(), header.net)
    except (OSError, EntryInvalid) as error:
        report.add("E_EVIDENCE", -1, -1, f"{file} is no evidence: {error}")
        return
    entry = found.entry
    if entry.author != header.author or not genuine(found):
        report.add("E_EVIDENCE", -1, -1, f"{file} is no evidence: not signed by this author")
        return
    known[entry.seq] = Held(found.leaf, lambda: found)


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
        _compare(between, a, b, ("first", "second"))
        _compare(between, b, a, ("second", "first"))
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
                found = _half_by(author, record, net)
                if found:
                    part, signed = found
                    held[signed.entry.seq] = Held(signed.leaf, partial(reread, holder, offset, part, net))
    except (OSError, Unreadable, Torn):
        pass  # the audit of that file reports it
    return held


def _half_by(author: bytes, record: bytes, net: bytes) -> tuple[int, Signed] | None:
    """Which part of this record is that author's, if one is and it really signed it."""
    try:
        parts = pieces(record)
        part = len(parts) // 2 * 2 - 2  # beside a voucher stands the OPEN, last
        signed = read_signed(parts[part], parts[part + 1], net) if part else None
    except ValueError:
        return None
    if signed is None or signed.entry.author != author or not genuine(signed):
        return None
    return part, signed


def _compare(between: Report, debtor: Report, creditor: Report, names: tuple[str, str]) -> None:
    """The debtor signs first, so its side may be ahead of what its SETTLEs say here; what was earned by its
    vouchers, no SETTLE has reached."""
    between.checked["pair"] += 1
    owes = debtor.pairs.get(creditor.subject.author, Pair())
    earned = creditor.pairs.get(debtor.subject.author, Pair())
    by_voucher = creditor.ahead[debtor.subject.author]
    more = owes.consumed - (earned.served - by_voucher)
    if by_voucher:
        text = f"the {names[1]} node earned {by_voucher} ucr by voucher: no SETTLE of the {names[0]} came"
        between.add("W_INFLIGHT", -1, -1, text)
    if more > 0:
        text = f"{more} ucr that the {names[0]} node settled have not reached the {names[1]}"
        between.add("W_INFLIGHT", -1, -1, text)
    elif more < 0:
        text = f"the {names[1]} node earned {-more} ucr more from the {names[0]} than that one signed for"
        between.add("E_DISAGREE", -1, -1, text)
