"""The second verifier (tools/ogwl-verify.mjs), asked for its opinion where Node.js is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from opengateway.ledger import audit_whole, ogwl
from opengateway.ledger.audit import Limits, verify
from opengateway.ledger.findings import Report

NODE = shutil.which("node")
VERIFIER = Path(__file__).parents[1] / "tools" / "ogwl-verify.mjs"


def second_opinion(path: Path, report: Report, *options: str) -> None:
    """Both verifiers must come to the same exit code. Without Node.js the first one stands alone; a test
    of its own says that it was skipped."""
    if NODE is None:
        return
    done = subprocess.run(
        [NODE, str(VERIFIER), str(path), *options], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == report.exit, (done.stdout, done.stderr, report.findings[:5])


def second_findings(path: Path) -> set[str]:
    """The codes of all that it finds."""
    assert NODE is not None
    done = subprocess.run(
        [NODE, str(VERIFIER), str(path), "--json"], capture_output=True, text=True, check=False, timeout=60
    )
    return {finding["code"] for finding in json.loads(done.stdout)["findings"]}


_MANY = """
import { audit } from %s;
for (const file of process.argv.slice(1)) console.log(audit({ file }).exit);
"""


def second_opinions(paths: list[Path]) -> list[int]:
    """Exit codes of many files by one process."""
    assert NODE is not None
    program = _MANY % json.dumps((VERIFIER.parent / "verify_js" / "audit.mjs").as_uri())
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", program, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [int(line) for line in done.stdout.split()]


def audited(path: Path, limits: Limits) -> Report:
    """By both verifiers, and in chunks of any size: none may find more or less."""
    report = verify(path, limits=limits)
    found = {finding.code for finding in report.findings}
    second_opinion(path, report)
    if NODE is not None:
        assert second_findings(path) == found
    for chunk in (1, 3, 8):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ogwl, "CHUNK", chunk)
            patch.setattr(audit_whole, "CHUNK", chunk)
            again = verify(path, limits=limits)
        assert again.exit == report.exit
        assert {finding.code for finding in again.findings} == found
        assert again.ahead == report.ahead
    return report
