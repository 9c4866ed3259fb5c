"""The second verifier (tools/ogwl-verify.mjs), asked for its opinion where Node.js is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

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
