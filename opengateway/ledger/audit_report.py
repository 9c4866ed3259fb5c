"""What an audit found, for people and for programs."""

from __future__ import annotations

import base64
import time
from typing import Any

from opengateway.identity import base32, short
from opengateway.ledger.entry import KINDS
from opengateway.ledger.findings import CODES, VALID, VERDICTS, Finding, Report
from opengateway.units import show_credits

VERSION = "1"
TOP_PEERS = 10
TOP_FINDINGS = 20
CHECKS = tuple(dict.fromkeys(check for check, _ in CODES.values()))


def as_text(report: Report) -> str:
    """One verdict line first, then whose chain it is, what it adds up to, what was checked, what was found,
    and what was not checked."""
    lines = [f"{VERDICTS[report.exit]}: {report.path}"]
    subject = report.subject
    if subject.author:
        lines += [
            "",
            f"  node      {short(subject.author)}  ({base32(subject.author)})",
            f"  network   {subject.net.hex()}",
            f"  entries   {subject.entries:,}  ({_kinds(report)})",
            f"  period    {_time(subject.first_ms)} to {_time(subject.last_ms)}",
            f"  head      {subject.position}  {subject.head.hex()}",
            f"  root      {subject.root.hex()}",
        ]
        lines += ["", *_totals(report)]
    lines += ["", *_checks(report)]
    if report.findings:
        lines += ["", *_findings(report)]
    if report.not_checked:
        lines += ["", "  Not checked:", *(f"    - {text}" for text in report.not_checked)]
    return "\n".join(lines)


def _kinds(report: Report) -> str:
    return ", ".join(f"{count:,} {KINDS[kind]}" for kind, count in sorted(report.kinds.items()))


def _time(t_ms: int) -> str:
    if t_ms > 253_402_300_799_000:
        return f"{t_ms} ms"  # after the year 9999
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(t_ms / 1000))


def _totals(report: Report) -> list[str]:
    given, taken, held = report.totals
    lines = [
        f"  earned    {show_credits(given):>16} credits",
        f"  spent     {show_credits(taken):>16}",
        f"  held      {show_credits(held):>16}",
        f"  balance   {show_credits(given - taken):>16}",
    ]
    if report.pairs:
        busiest = sorted(report.pairs.items(), key=lambda item: -(item[1].served + item[1].consumed))
        lines += ["", f"  {'with':<12}{'earned':>16}{'spent':>16}{'owes this node':>18}"]
        for peer, pair in busiest[:TOP_PEERS]:
            owes = show_credits(-pair.owed_to_peer)
            earned, spent = show_credits(pair.served), show_credits(pair.consumed)
            lines.append(f"  {short(peer):<12}{earned:>16}{spent:>16}{owes:>18}")
        if len(busiest) > TOP_PEERS:
            lines.append(f"  and {len(busiest) - TOP_PEERS:,} more")
    return lines


def _checks(report: Report) -> list[str]:
    lines = [f"  {'check':<16}{'done':>12}{'bad':>8}"]
    for check in CHECKS:
        if report.checked[check] or report.bad[check]:
            mark = "" if not report.bad[check] else "  <-"
            lines.append(f"  {check:<16}{report.checked[check]:>12,}{report.bad[check]:>8,}{mark}")
    rate = f", {report.subject.entries / report.seconds:,.0f} entries/s" if report.subject.entries else ""
    lines.append(f"  {report.signatures:,} signatures in {report.seconds:.1f} s{rate}")
    return lines


def _findings(report: Report) -> list[str]:
    """Roots, each with what follows from it counted, worst first."""
    roots: dict[tuple[str, str], list[Finding]] = {}
    follows: dict[int, int] = {}
    for finding in report.findings:
        if finding.cascade_of is None:
            same = "" if finding.code[0] == "E" else "many"
            roots.setdefault((finding.code, same or str(finding.seq) + finding.detail), []).append(finding)
        else:
            follows[finding.cascade_of] = follows.get(finding.cascade_of, 0) + 1
    ordered = sorted(roots.values(), key=lambda group: -group[0].severity)
    lines = ["  Found:"]
    for group in ordered[:TOP_FINDINGS]:
        first = group[0]
        where = f"entry {first.seq}" if first.seq >= 0 else "the file"
        more = f" (and {len(group) - 1:,} more like it)" if len(group) > 1 else ""
        after = follows.pop(first.seq, 0) if first.seq >= 0 else 0
        drag = f"; {after:,} more findings follow from it" if after else ""
        lines.append(f"    {first.code:<14} {where}: {first.detail}{more}{drag}")
    if len(ordered) > TOP_FINDINGS:
        lines.append(f"    and {len(ordered) - TOP_FINDINGS:,} more (--json lists all)")
    if report.proofs:
        lines.append(f"    {len(report.proofs):,} fault proofs that convince anybody (--json holds them)")
    return lines


def as_json(report: Report) -> dict[str, Any]:
    subject = report.subject
    given, taken, held = report.totals
    return {
        "tool": "opengateway-audit",
        "version": VERSION,
        "format": "OGWL1",
        "file": report.path,
        "subject": {
            "node": base32(subject.author) if subject.author else "",
            "network": subject.net.hex(),
            "entries": subject.entries,
            "created_ms": subject.created_ms,
            "first_ms": subject.first_ms,
            "last_ms": subject.last_ms,
            "position": subject.position,
            "head": subject.head.hex(),
            "root": subject.root.hex(),
        },
        "totals": {"given": given, "taken": taken, "held": held, "net": given - taken},
        "peers": [
            {"node": base32(peer), **pair._asdict(), "owes_this_node": -pair.owed_to_peer}
            for peer, pair in report.pairs.items()
        ],
        "checks": {
            check: {
                "ok": max(0, report.checked[check] - report.bad[check]),
                "bad": report.bad[check],
                "skipped": not report.checked[check],
            }
            for check in CHECKS
        },
        "findings": [finding._asdict() for finding in report.findings],
        "proofs": [
            {"kind": kind, "base64": base64.b64encode(proof).decode()} for kind, proof in report.proofs
        ],
        "enclosed_proofs_against": [base32(guilty) for guilty in report.enclosed],
        "checkpoints": [
            {
                "size": size,
                "root": root.hex(),
                "cosigned_by": [base32(witness) for witness in witnesses],
                "quorum": quorum,
            }
            for size, root, witnesses, quorum in report.checkpoints
        ],
        "not_checked": report.not_checked,
        "verdict": VERDICTS[report.exit],
        "exit": report.exit,
        "perf": {
            "seconds": round(report.seconds, 3),
            "signatures": report.signatures,
            "entries_per_s": round(subject.entries / report.seconds) if report.seconds else 0,
        },
    }


def pair_as_text(first: Report, second: Report, between: Report) -> str:
    """Both audits, and whether the two nodes agree."""
    agreed = not between.findings and first.exit == second.exit == VALID
    verdict = "THEY AGREE" if agreed else "THEY AGREE, WITH WARNINGS"
    if max(between.exit, first.exit, second.exit) > 1:
        verdict = "THEY DO NOT AGREE"
    lines = [verdict, "", as_text(first), "", as_text(second), "", "Between them:"]
    lines += [f"    {finding.code:<14} {finding.detail}" for finding in between.findings]
    if not between.findings:
        lines.append("    each holds exactly what the other signed, and both say the same about what is owed")
    return "\n".join(lines)
