"""Where the nodes live: hosts of a small internet if this may be root, else all on loopback.

The internet is the one that the tests use (tests/lab): a network namespace each, and a process that carries
packets between them, late or not at all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

ROOT: Final = Path(__file__).parents[2]
if str(ROOT / "tests") not in sys.path:
    sys.path.append(str(ROOT / "tests"))

from lab.hosts import Lab  # noqa: E402
from lab.internet import AMERICA, EUROPE, ONE_WAY_MS, Internet, tun_unavailable  # noqa: E402
from lab.namespaces import FOLDER, unavailable  # noqa: E402

from tools.chaos.plan import KINDS  # noqa: E402

_NEW_NET: Final = 0x40000000  # CLONE_NEWNET
DISK_MIB: Final = 192
"""A node takes no new request with less than 72 free (ledger/space.py)."""
MOUNTS: Final = "OPENGATEWAY_CHAOS_MOUNTS"
"""Set where this process has a mount namespace of its own: what it mounts goes with it, however it ends."""


class Place(Protocol):
    missing: dict[str, str]
    """Kinds of faults that cannot be made here, and why."""

    def settle(self, name: str) -> Spot: ...
    def weather(self, kind: str, targets: Sequence[str], amount: float) -> Callable[[], None]:
        """Makes it, and returns what ends it."""

    def close(self) -> None: ...


class Spot:
    """One node's place."""

    listens = "127.0.0.1"
    """Its `wire.host`."""

    def __init__(self, address: str, region: str, folder: Path) -> None:
        self.address, self.region, self.folder = address, region, folder

    def command(self, words: Sequence[str]) -> list[str]:
        return list(words)

    def enter(self) -> None:
        """The calling thread lives here from now on."""


class Loopback:
    def __init__(self, folder: Path, reason: str) -> None:
        self.missing = {name: reason for name, kind in KINDS.items() if kind.network}
        self._disks = _Disks(folder, self.missing)

    def settle(self, name: str) -> Spot:
        return Spot("127.0.0.1", EUROPE, self._disks.of(name))

    def weather(self, kind: str, targets: Sequence[str], amount: float) -> Callable[[], None]:
        raise ValueError(f"there is no {kind} on loopback, among {targets} ({amount})")

    def close(self) -> None:
        self._disks.close()


class Namespaces:
    """Half of the nodes in Frankfurt, half in Virginia, each with a public address."""

    def __init__(self, folder: Path) -> None:
        self.missing: dict[str, str] = {}
        self._disks = _Disks(folder, self.missing)
        self._lab = Lab()
        self._lock = threading.Lock()
        try:
            self._net = Internet(self._lab)
            self._lab.take(self._net)
            self._delay(0)
        except BaseException:
            self.close()
            raise

    def settle(self, name: str) -> Spot:
        region = AMERICA if len(self._net.sites) % 2 else EUROPE
        site = self._net.server(name, region)
        return _HostSpot(site.host.namespace, site.host.command, site.address, region, self._disks.of(name))

    def weather(self, kind: str, targets: Sequence[str], amount: float) -> Callable[[], None]:
        with self._lock:
            if kind == "delay":
                self._delay(amount)
                return lambda: self._locked(lambda: self._delay(0))
            cuts = self._cuts(kind, targets)
            for source, target in cuts:
                self._net.lose(source, target, amount or 1.0)
            return lambda: self._locked(lambda: self._mend(cuts))

    def _cuts(self, kind: str, targets: Sequence[str]) -> list[tuple[str, str]]:
        if kind == "one_way":
            return [(targets[0], targets[1])]
        if kind == "loss":
            return [(targets[0], "*"), ("*", targets[0])]
        far = [name for name in self._net.sites if name not in targets]
        return [pair for one in targets for other in far for pair in ((one, other), (other, one))]

    def _mend(self, cuts: Sequence[tuple[str, str]]) -> None:
        for source, target in cuts:
            self._net.lose(source, target, 0.0)

    def _locked(self, what: Callable[[], object]) -> None:
        with self._lock:
            what()

    def _delay(self, more_ms: float) -> None:
        for (one, other), ms in ONE_WAY_MS.items():
            self._net.delay(one, other, ms + more_ms)

    def close(self) -> None:
        try:
            self._lab.close()
        finally:
            self._disks.close()


class _HostSpot(Spot):
    listens = "*"

    def __init__(
        self,
        namespace: str,
        command: Callable[[Sequence[str]], list[str]],
        address: str,
        region: str,
        folder: Path,
    ) -> None:
        super().__init__(address, region, folder)
        self._namespace, self._command = namespace, command

    def command(self, words: Sequence[str]) -> list[str]:
        return self._command(words)

    def enter(self) -> None:
        # A thread's network is its own, and ends with it. os.setns came with Python 3.12 only.
        there = os.open(FOLDER / self._namespace, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(there, _NEW_NET):
                raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(there)


class _Disks:
    """A folder for each node; a small file system of its own where mounts are our own affair."""

    def __init__(self, folder: Path, missing: dict[str, str]) -> None:
        self._folder = folder
        self._mounted: list[Path] = []
        self._may = os.environ.get(MOUNTS) == "1"
        if not self._may:
            missing["disk"] = "file systems cannot be mounted here"

    def of(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(parents=True)
        if self._may:
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "chaos", str(folder)]
            subprocess.run(command, check=True)
            self._mounted.append(folder)
        return folder

    def close(self) -> None:
        while self._mounted:
            with contextlib.suppress(subprocess.CalledProcessError):  # its namespace takes it along then
                subprocess.run(["umount", str(self._mounted.pop())], check=True)


def build(folder: Path) -> Place:
    if reason := unavailable() or tun_unavailable():
        return Loopback(folder, reason)
    return Namespaces(folder)


def with_own_mounts(arguments: Iterable[str]) -> None:
    """Begins this program anew in a mount namespace of its own; returns only where that is not to be had."""
    command = ["unshare", "--mount"]
    if MOUNTS in os.environ or not shutil.which(command[0]):
        return
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        return
    os.environ[MOUNTS] = "1"
    os.execvp(command[0], [*command, sys.executable, "-m", "tools.chaos", *arguments])
