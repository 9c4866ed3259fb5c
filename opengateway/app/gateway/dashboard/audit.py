"""The audit of this node's own ledger, as anybody would do it: the export, and the audit tool on it.

In another process: checking a million signatures takes minutes of a core, and the node must go on answering.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from actors.kernel import Address, answer
from actors.messages import Export, LedgerMessage
from opengateway.errors import AllBusy, DeadlinePassed, OpenGatewayError

EXPORT_S = 60.0
AUDIT_S = 600.0
"""Seconds: about 3 million entries on one slow core."""
NICENESS = 10
PREFIX = "audit-"


class OwnAudit:
    """One at a time. Lives on the I/O loop."""

    def __init__(self, ledger: Address[LedgerMessage], folder: Path) -> None:
        """`folder`: where the export lies while it is audited."""
        for left in folder.glob(f"{PREFIX}*"):  # of a node that was killed in the middle of one
            shutil.rmtree(left, ignore_errors=True)
        self._ledger = ledger
        self._folder = folder
        self._running = False

    async def run(self) -> dict[str, Any]:
        """The audit tool's report, as its --json has it. Raises `AllBusy`, `DeadlinePassed`."""
        if self._running:
            raise AllBusy("an audit is running already", hint="wait for it to end", retry_after=5.0)
        self._running = True
        try:
            exported = await answer(self._ledger.ask(Export()), EXPORT_S)
            with tempfile.TemporaryDirectory(prefix=PREFIX, dir=self._folder) as scratch:
                file = Path(scratch) / "own.ledger"
                await asyncio.to_thread(file.write_bytes, exported)
                return await self._audit(file)
        finally:
            self._running = False

    async def _audit(self, file: Path) -> dict[str, Any]:
        command = (sys.executable, "-m", "opengateway", "audit", str(file), "--json", "--jobs", "1")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        try:
            said, complained = await asyncio.wait_for(process.communicate(), AUDIT_S)
        except TimeoutError as error:
            raise DeadlinePassed(
                f"the audit was not done after {AUDIT_S:.0f} s",
                hint="opengateway ledger export FILE, then opengateway-audit FILE",
            ) from error
        finally:
            if process.returncode is None:  # the page was closed, or it took too long
                process.kill()
                await process.wait()
        try:
            report: dict[str, Any] = json.loads(said)
        except ValueError as error:
            words = complained.decode(errors="replace").strip()[-300:]
            raise OpenGatewayError(f"the audit tool failed: {words}") from error
        return report
