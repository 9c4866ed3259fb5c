"""`opengateway-audit`: checks ledgers without a node. Exit codes:

0   valid: everything that was asked for was checked and is in order
1   valid, with warnings (a request still open, an EARN that has not come back)
2   tampered or inconsistent
3   fraud proven: two signed entries that convince anybody
4   incomplete: torn, or behind what others hold
5   unreadable or unsupported
64  wrong usage
70  a defect of this tool
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from opengateway.errors import IdentityUnreadable
from opengateway.identity import Identity, base32, short
from opengateway.ledger.audit import Limits, Progress, verify, verify_pair
from opengateway.ledger.audit_certificate import CertificateInvalid, certify
from opengateway.ledger.audit_export import NotALedger, export_database
from opengateway.ledger.audit_net import verify_net
from opengateway.ledger.audit_net_report import net_as_json, net_as_text
from opengateway.ledger.audit_policy import Policy, PolicyInvalid, read_policy
from opengateway.ledger.audit_proof import PROOF_LIMIT, convicts
from opengateway.ledger.audit_report import as_json, as_text, pair_as_text
from opengateway.ledger.findings import INTERNAL, PROVEN, TAMPERED, UNREADABLE, USAGE, VALID
from opengateway.units import CREDIT

COMMANDS = ("verify", "pair", "net", "prove", "export", "certify")
BIG = 20_000
"""Entries from which a second process and a progress bar are worth their start (0.3 s)."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Plain `opengateway-audit FILE` means verify."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] not in COMMANDS and not given[0].startswith("-"):
        given.insert(0, "verify")
    parser = _parser()
    try:
        asked = parser.parse_args(given)
        return _RUN[asked.command](asked)
    except PolicyInvalid as error:
        parser.exit(USAGE, f"{parser.prog}: {error}\n")
    except BrokenPipeError:
        return INTERNAL
    except Exception:
        traceback.print_exc()
        print("opengateway-audit: a defect of this tool, not a verdict; please report it", file=sys.stderr)
        return INTERNAL


def _parser() -> _Parser:
    parser = _Parser(
        prog="opengateway-audit",
        description="Check OpenGateway ledgers (OGWL1 exports). Needs no node and no network.",
        epilog=(__doc__ or "").partition("Exit codes:")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("verify", help="check one ledger: opengateway-audit FILE")
    two = commands.add_parser("pair", help="check whether two nodes' ledgers agree")
    many = commands.add_parser("net", help="check a folder of ledgers: forks, rings, what is at risk")
    word = commands.add_parser("certify", help="check one ledger and sign that it was in order")
    proof = commands.add_parser("prove", help="check one fault proof")
    out = commands.add_parser("export", help="write a ledger's database as OGWL1, without its node")
    for command in (one, two, word):
        command.add_argument("file", type=Path)
    two.add_argument("other", type=Path)
    many.add_argument("folder", type=Path)
    for command in (one, two, many, word):
        _limiting(command)
    for command in (one, word):
        _beside(command)
    word.add_argument("--key", type=Path, required=True, help="the auditor's key; made if it is not there")
    word.add_argument("--out", type=Path, required=True, help="where the certificate goes")
    proof.add_argument("file", type=Path)
    out.add_argument("database", type=Path, help="a node's ledger.db")
    out.add_argument("out", type=Path)
    for command in (one, two, many, proof):
        command.add_argument(
            "--json", type=Path, nargs="?", const=Path("-"), metavar="OUT",
            help="for programs; to this file, or here",
        )  # fmt: skip
    return parser


def _limiting(command: argparse.ArgumentParser) -> None:
    command.add_argument("--policy", type=Path, metavar="FILE", help="witnesses, quorum, limits (JSON)")
    command.add_argument(
        "--credit-limit", type=int, metavar="CREDITS",
        help="how far spending may exceed earning; not checked unless given",
    )  # fmt: skip
    command.add_argument("--jobs", type=int, metavar="N", help="processes (all cores for big files)")
    command.add_argument("--sample", type=_positive, metavar="K", help="check signatures of one entry in K")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"at least 1: {text}")
    return number


def _beside(command: argparse.ArgumentParser) -> None:
    more: dict[str, Any] = {"type": Path, "action": "append", "default": []}
    command.add_argument(
        "--evidence", metavar="ENTRY", help="a signed entry of this ledger that somebody else holds", **more
    )
    command.add_argument("--checkpoint", metavar="NOTE", help="a signed checkpoint of this ledger", **more)
    command.add_argument("--since", type=Path, metavar="CERT", help="a certificate: only what came after it")


def _limits(asked: argparse.Namespace, file: Path) -> Limits:
    credit = None if asked.credit_limit is None else asked.credit_limit * CREDIT
    policy = read_policy(asked.policy) if asked.policy else Policy()
    return Limits(credit, None, policy, _jobs(asked.jobs, file), asked.sample)


def _jobs(given: int | None, file: Path) -> int:
    big = file.is_file() and file.stat().st_size > BIG * 400
    return given or ((os.cpu_count() or 1) if big else 1)


def _say(asked: argparse.Namespace, text: str, data: dict[str, Any]) -> None:
    if asked.json is None:
        print(text)
    elif asked.json == Path("-"):
        print(json.dumps(data, indent=2))
    else:
        asked.json.write_text(json.dumps(data, indent=2) + "\n")
        print(text)


def _verify(asked: argparse.Namespace) -> int:
    report = verify(
        asked.file,
        evidence=asked.evidence,
        checkpoints=asked.checkpoint,
        since=asked.since,
        limits=_limits(asked, asked.file),
        progress=_progress(),
    )
    _say(asked, as_text(report), as_json(report))
    return report.exit


def _pair(asked: argparse.Namespace) -> int:
    found = verify_pair(asked.file, asked.other, limits=_limits(asked, asked.file))
    first, second, between = (as_json(report) for report in found)
    data = {"first": first, "second": second, "between": between, "exit": found.exit}
    _say(asked, pair_as_text(*found), data)
    return found.exit


def _net(asked: argparse.Namespace) -> int:
    found = verify_net(asked.folder, limits=_limits(asked, asked.folder))
    _say(asked, net_as_text(found), net_as_json(found))
    return found.exit


def _prove(asked: argparse.Namespace) -> int:
    """3 if it proves what it says, 2 if it proves nothing."""
    try:
        with asked.file.open("rb") as file:
            found = convicts(file.read(PROOF_LIMIT + 1), None)
    except OSError as error:
        _say(asked, f"UNREADABLE: {error}", {"exit": UNREADABLE, "detail": str(error)})
        return UNREADABLE
    except ValueError as error:
        _say(asked, f"PROVES NOTHING: {error}", {"exit": TAMPERED, "detail": str(error)})
        return TAMPERED
    node = base32(found.key)
    text = f"FRAUD PROVEN: {found.kind}\n\n  by        {short(found.key)}  ({node})\n  what      {found.text}"
    _say(asked, text, {"exit": PROVEN, "kind": found.kind, "node": node, "detail": found.text})
    return PROVEN


def _export(asked: argparse.Namespace) -> int:
    try:
        count = export_database(asked.database, asked.out)
    except (NotALedger, OSError) as error:
        print(f"opengateway-audit: {error}", file=sys.stderr)
        return UNREADABLE
    print(f"{count:,} entries written to {asked.out}")
    return VALID


def _certify(asked: argparse.Namespace) -> int:
    asked.json = None
    try:
        auditor = Identity.load_or_create(asked.key)
    except (IdentityUnreadable, OSError) as error:
        print(f"opengateway-audit: {error}", file=sys.stderr)
        return USAGE
    report = verify(
        asked.file,
        evidence=asked.evidence,
        checkpoints=asked.checkpoint,
        since=asked.since,
        limits=_limits(asked, asked.file),
        progress=_progress(),
    )
    print(as_text(report))
    try:
        asked.out.write_bytes(certify(report, auditor))
    except CertificateInvalid as error:
        print(f"\nNo certificate: {error}.")
    else:
        print(f"\nCertified up to entry {report.subject.position} by {short(auditor.node_id)}: {asked.out}")
    return report.exit


_RUN = {
    "verify": _verify, "pair": _pair, "net": _net, "prove": _prove, "export": _export, "certify": _certify,
}  # fmt: skip


def _progress() -> Progress | None:
    """A bar on a terminal, for files that take more than a moment."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, count: int) -> None:
        if count > BIG:
            filled = 40 * done // count
            end = "\r" if done < count else "\r\x1b[K"
            print(f"[{'#' * filled:<40}] {done:,} of {count:,}", end=end, file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())
