"""What an audit of many ledgers found, for people and for programs."""

from __future__ import annotations

import base64
from typing import Any

from opengateway.identity import base32, short
from opengateway.ledger.audit_net import NetReport
from opengateway.ledger.audit_report import as_json
from opengateway.ledger.findings import VERDICTS
from opengateway.units import show_credits

TOP = 20


def net_as_text(found: NetReport) -> str:
    lines = [f"{VERDICTS[found.exit]}: {len(found.files):,} ledgers in {found.between.path}", ""]
    for report in sorted(found.files, key=lambda one: -one.exit)[:TOP]:
        subject = report.subject
        node = short(subject.author) if subject.author else "?"
        lines.append(f"  {node:<12}{subject.entries:>10,} entries  {VERDICTS[report.exit]}: {report.path}")
        lines += [f"      {one.code:<14} entry {one.seq}: {one.detail}" for one in report.findings[:3]]
    if len(found.files) > TOP:
        lines.append(f"  and {len(found.files) - TOP:,} more (--json lists all)")
    lines += [f"  {one.code:<14} {one.detail}" for one in found.between.findings]
    lines += ["", *_rings(found), "", *_exposure(found)]
    lines += ["", "  Not checked:", *(f"    - {text}" for text in found.between.not_checked)]
    return "\n".join(lines)


def _rings(found: NetReport) -> list[str]:
    if not found.rings:
        return ["  No group serves itself ten times more than it serves others."]
    lines = ["  Groups that serve themselves ten times more than others (a report, not a verdict):"]
    for ring in found.rings[:TOP]:
        names = ", ".join(short(node) for node in ring.members[:4])
        more = f" and {len(ring.members) - 4} more" if len(ring.members) > 4 else ""
        inside, outside = show_credits(ring.inside), show_credits(ring.outside)
        spendable, owed = show_credits(ring.spendable), show_credits(ring.owed)
        line, pools = show_credits(ring.line), show_credits(ring.pools)
        lines += [
            f"    {len(ring.members)} nodes: {names}{more}",
            f"      service to each other {inside} credits, to all others {outside}",
            f"      can spend outside at most {spendable}: {owed} owed, {line} on trust, {pools} in pools",
        ]
    return lines


def _exposure(found: NetReport) -> list[str]:
    lines = ["  Given beyond what is owed in return (lost if those nodes never come back):"]
    ordered = sorted(found.exposure.items(), key=lambda item: -item[1])
    lines += [f"    {short(node):<12}{show_credits(amount):>16} credits" for node, amount in ordered[:TOP]]
    return lines


def net_as_json(found: NetReport) -> dict[str, Any]:
    between = found.between
    return {
        "tool": "opengateway-audit",
        "format": "OGWL1",
        "folder": between.path,
        "files": [as_json(report) for report in found.files],
        "findings": [finding._asdict() for finding in between.findings],
        "proofs": [
            {"kind": kind, "base64": base64.b64encode(proof).decode()} for kind, proof in between.proofs
        ],
        "rings": [
            {
                **ring._asdict(),
                "members": [base32(node) for node in ring.members],
                "spendable": ring.spendable,
            }
            for ring in found.rings
        ],
        "exposure": {base32(node): amount for node, amount in found.exposure.items()},
        "not_checked": between.not_checked,
        "verdict": VERDICTS[found.exit],
        "exit": found.exit,
    }
