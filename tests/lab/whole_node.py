"""The installed program on a host of the lab: nothing is typed but `opengateway`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.hosts import Host

COMMAND_LIMIT_S = 40


class Node:
    """A home of its own; its defaults, but for the sections of config.json that are given."""

    def __init__(
        self, host: Host, home: Path, engine: str | dict[str, Any] = "none", **sections: Any
    ) -> None:
        """`engine`: its kind, or the whole section."""
        self.host, self.home, self.name = host, home, host.name
        home.mkdir(exist_ok=True)
        chosen = {"kind": engine} if isinstance(engine, str) else engine
        config = {"node_name": host.name, "engine": chosen} | sections
        (home / "config.json").write_text(json.dumps(config))
        self.environment = os.environ | {"OPENGATEWAY_HOME": str(home)}

    def type(self, *words: str) -> str:
        """What `opengateway WORDS` prints; it must succeed."""
        done = self._run(words)
        assert done.returncode == 0, f"opengateway {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def type_anyway(self, *words: str) -> str:
        """What it prints, errors included."""
        done = self._run(words)
        return done.stdout + done.stderr

    def _run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "opengateway", *words]
        return self.host.run(command, env=self.environment, check=False, timeout=COMMAND_LIMIT_S)

    def start(self) -> subprocess.Popen[str]:
        """`opengateway start`, which ends when the node is ready."""
        command = [sys.executable, "-m", "opengateway", "start"]
        return self.host.popen(command, env=self.environment, stdout=subprocess.DEVNULL)

    def peers(self) -> dict[str, dict[str, Any]]:
        """Those it has a session with, by name."""
        listed = json.loads(self.type("peers", "--json"))["peers"]
        return {peer["name"]: peer for peer in listed if peer["state"] == "up"}

    @property
    def pid(self) -> int:
        return int(json.loads(self.type("status", "--json"))["pid"])

    def tell(self) -> str:
        """What a failed test should show of it."""
        logs = [log.read_text()[-8000:] for log in sorted((self.home / "logs").glob("*"))]
        return "\n".join([f"\n{self.name}: {self.type_anyway('peers', '--json')}", *logs])


def until(condition: Callable[[], object], what: str, within_s: float) -> float:
    """Seconds until it came about."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s, f"{what}: not within {within_s} s"
        time.sleep(0.05)
    return time.monotonic() - start
