"""Network namespaces by name: made, entered, deleted with everything in them, and reaped.

Their names begin with the pid and start time of the process that made them: tests in parallel do not
meet, and what a killed test run left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

RUN_LIMIT_S = 20
FOLDER = Path("/run/netns")

_reason: str | None = None


def unavailable() -> str:
    """Why no lab can be built here; empty if one can. Tries once, and clears up after dead test runs."""
    global _reason
    if _reason is None:
        _reason = _try()
        if not _reason:
            reap()
    return _reason


def nat_unavailable() -> str:
    if unavailable():
        return unavailable()
    return "" if shutil.which("nft") or shutil.which("iptables") else "neither nft nor iptables is installed"


def _try() -> str:
    if not (shutil.which("ip") and shutil.which("nsenter")):
        return "`ip` (iproute2) or `nsenter` (util-linux) is not installed"
    probe = f"{owner()}-probe"
    try:
        ip(f"netns add {probe}")
        ip(
            "link add name bridge type bridge",
            "link add name probe0 type veth peer name probe1",
            inside=probe,
        )
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted here: {error.stderr.strip() or error}"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            delete(probe)
    return ""


def reap() -> list[str]:
    """Removes what test runs that were killed have left, processes included. The names removed."""
    dead = [namespace for namespace in ours("oglab-") if not _lives(namespace)]
    for namespace in dead:
        with contextlib.suppress(subprocess.CalledProcessError):  # another run may be reaping it as well
            for pid in _processes_in(namespace):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            delete(namespace)
    return dead


def owner() -> str:
    return f"oglab-{os.getpid()}-{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When the process began, in clock ticks since boot: tells a pid from the same number used again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _lives(namespace: str) -> bool:
    _, pid, started, *_ = namespace.split("-")
    return _started(int(pid)) == started


def ours(prefix: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):
        yield from [path.name for path in FOLDER.iterdir() if path.name.startswith(prefix)]


def _processes_in(namespace: str) -> list[int]:
    found = subprocess.run(
        ["ip", "netns", "pids", namespace], check=True, capture_output=True, text=True, timeout=RUN_LIMIT_S
    )
    return [int(pid) for pid in found.stdout.split()]


def delete(namespace: str) -> None:
    """Whatever still runs inside is killed: a grandchild that a test did not know of."""
    deadline = time.monotonic() + RUN_LIMIT_S
    if not (FOLDER / namespace).exists():
        return
    while (pids := _processes_in(namespace)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    ip(f"netns delete {namespace}")


def ip(*commands: str, inside: str = "") -> None:
    """`ip -batch`: one process for many commands. Raises `CalledProcessError`, with ip's words noted."""
    where = ["-netns", inside] if inside else []
    script = "".join(command + "\n" for command in commands)
    done = subprocess.run(
        ["ip", *where, "-batch", "-"],
        input=script,
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
    )
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        error.add_note(f"{script}{done.stderr}")
        raise error
