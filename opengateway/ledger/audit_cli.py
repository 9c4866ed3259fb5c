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
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from opengateway.ledger.audit import Limits, Progress, verify, verify_pair
from opengateway.ledger.audit_report import as_json, as_text, pair_as_text
from opengateway.ledger.findings import INTERNAL, USAGE
from opengateway.units import CREDIT

COMMANDS = ("verify", "pair")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Plain `opengateway-audit FILE` means verify."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] not in COMMANDS and not given[0].startswith("-"):
        given.insert(0, "verify")
    try:
        asked = _parser().parse_args(given)
        return _pair(asked) if asked.command == "pair" else _verify(asked)
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
    one.add_argument("file", type=Path)
    one.add_argument(
        "--evidence", type=Path, action="append", default=[], metavar="ENTRY",
        help="a signed entry of this ledger that somebody else holds; may be repeated",
    )  # fmt: skip
    two = commands.add_parser("pair", help="check whether two nodes' ledgers agree")
    two.add_argument("file", type=Path)
    two.add_argument("other", type=Path)
    for command in (one, two):
        command.add_argument("--json", action="store_true", help="for programs")
        command.add_argument(
            "--credit-limit", type=int, metavar="CREDITS",
            help="how far spending may exceed earning; not checked unless given",
        )  # fmt: skip
    return parser


def _limits(asked: argparse.Namespace) -> Limits:
    return Limits(None if asked.credit_limit is None else asked.credit_limit * CREDIT)


def _verify(asked: argparse.Namespace) -> int:
    report = verify(asked.file, evidence=asked.evidence, limits=_limits(asked), progress=_progress())
    print(json.dumps(as_json(report), indent=2) if asked.json else as_text(report))
    return report.exit


def _pair(asked: argparse.Namespace) -> int:
    found = verify_pair(asked.file, asked.other, limits=_limits(asked))
    if asked.json:
        first, second, between = (as_json(report) for report in found)
        print(
            json.dumps({"first": first, "second": second, "between": between, "exit": found.exit}, indent=2)
        )
    else:
        print(pair_as_text(*found))
    return found.exit


def _progress() -> Progress | None:
    """A bar on a terminal, for files that take more than a moment."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, count: int) -> None:
        if count > 50_000:
            filled = 40 * done // count
            end = "\r" if done + 1000 < count else "\r\x1b[K"
            print(f"[{'#' * filled:<40}] {done:,} of {count:,}", end=end, file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())
