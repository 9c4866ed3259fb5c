"""An auditor's signed word that a ledger was in order up to a size, so that the next audit starts there.

    body      = canonical CBOR ["ogw-certificate/1", net, author, size, root, [frontier],
                                [given, taken, held], exit, tool, time_ms, auditor]
    signature = Ed25519(auditor, "OGW1 certificate\\n" || SHA-256(body))
    file      = canonical CBOR [body, signature]

`frontier`: roots of the full subtrees, largest first; they make up the root, so whoever has only the
certificate and the entries after it can still compute the root of the whole.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any, NamedTuple

from opengateway.identity import Identity, short, verify
from opengateway.ledger.audit_policy import Policy
from opengateway.ledger.audit_whole import WholeAudit
from opengateway.ledger.findings import WARNINGS, Report
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.ogwl import Header
from opengateway.ledger.rules import Totals
from opengateway.wire import cbor

CERTIFICATE_LIMIT = 8192
_NAME, _TOOL = "ogw-certificate/1", "opengateway-audit 1"
_DOMAIN = b"OGW1 certificate\n"
_TYPES = [str, bytes, bytes, int, bytes, list, list, int, str, int, bytes]


class CertificateInvalid(ValueError):
    """The text says why."""


class Certificate(NamedTuple):
    net: bytes
    author: bytes
    size: int
    root: bytes
    frontier: tuple[bytes, ...]
    totals: Totals
    exit: int
    tool: str
    time_ms: int
    auditor: bytes


def certify(report: Report, auditor: Identity) -> bytes:
    """For a report with no worse than warnings. Raises `CertificateInvalid`."""
    if report.exit > WARNINGS:
        raise CertificateInvalid("what is not in order is not certified")
    if any("--sample" in text for text in report.not_checked):
        raise CertificateInvalid("a sample is not the whole")
    subject = report.subject
    body = cbor.encode(
        [
            _NAME, subject.net, subject.author, subject.entries, subject.root, subject.frontier,
            list(report.totals),
            report.exit, _TOOL, time.time_ns() // 1_000_000, auditor.node_id,
        ]
    )  # fmt: skip
    return cbor.encode([body, auditor.sign(_DOMAIN + hashlib.sha256(body).digest())])


def read_certificate(data: bytes, header: Header, policy: Policy) -> Certificate:
    """Raises `CertificateInvalid` unless it is for this ledger and by an auditor that the policy names."""
    body, signature = _list(data, [bytes, bytes])
    name, *fields = _list(body, _TYPES)
    certificate = Certificate._make(fields)
    certificate = certificate._replace(frontier=tuple(fields[4]), totals=_totals(fields[5]))
    if name != _NAME or any(type(node) is not bytes or len(node) != 32 for node in certificate.frontier):
        raise CertificateInvalid("not a certificate")
    if not verify(certificate.auditor, _DOMAIN + hashlib.sha256(body).digest(), signature):
        raise CertificateInvalid("it is not signed by its auditor")
    if (certificate.net, certificate.author) != (header.net, header.author):
        raise CertificateInvalid("it is about another ledger")
    if policy.auditors and certificate.auditor not in policy.auditors:
        raise CertificateInvalid(f"the policy does not trust {short(certificate.auditor)}")
    edge = Frontier()
    edge.size, edge.edge = certificate.size, list(certificate.frontier)
    if certificate.size.bit_count() != len(edge.edge) or edge.root() != certificate.root:
        raise CertificateInvalid("its frontier does not make up its root")
    return certificate


def _totals(value: list[Any]) -> Totals:
    if len(value) != 3 or any(type(total) is not int for total in value):
        raise CertificateInvalid("not a certificate")
    return Totals._make(value)


def _list(data: bytes, types: list[type]) -> list[Any]:
    try:
        value: Any = cbor.decode(data, limit=CERTIFICATE_LIMIT)
    except cbor.NotCanonical as error:
        raise CertificateInvalid("not a certificate") from error
    if type(value) is not list or [type(item) for item in value] != types:
        raise CertificateInvalid("not a certificate")
    return value


def check_prefix(whole: WholeAudit, certificate: Certificate) -> None:
    """That the file still begins with exactly what was certified."""
    report, size = whole.report, certificate.size
    by = f"{short(certificate.auditor)} certified {size:,} entries"
    if size > whole.tree.size:
        report.add("E_ROLLBACK", -1, -1, f"{by}, and this file has {whole.tree.size:,}")
    elif size and whole.roots[size] != certificate.root:
        report.add("E_CERTIFIED", size - 1, -1, f"{by} with another root: history was rewritten")
    else:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(certificate.time_ms / 1000))
        report.not_checked.append(f"signatures and halves of the first {size:,} entries: {by} on {when}")
