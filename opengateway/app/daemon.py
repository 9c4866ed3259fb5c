"""The node as a background process: start, stop, restart, and the process itself.

    start ---spawns---> start --foreground ---calls---> run_node
      |                   | takes the lock of the home, logs to logs/node.log
      |                   | ready:  writes run/node.json   (run_node)
      | waits for <-------+ failed: writes run/start-error.json, exit code 1

Whether a node runs is asked of the lock alone, so nothing that a killed node left behind is in the way.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from opengateway.app.client import NodeClient, connect
from opengateway.app.node_log import bound_log
from opengateway.config import Config, load, override
from opengateway.errors import (
    DiskFull,
    HomeBusy,
    NotRunning,
    OpenGatewayError,
    PortTaken,
    SetupError,
    from_code,
)
from opengateway.home import FULL, Home, write_atomically
from opengateway.schema import Value

START_LIMIT_S: Final = 60.0
"""Until node.json is there. It takes about 1 s; a cold disk under load took 20."""

READY_LIMIT_S: Final = 20.0
"""From then until the first request is taken: an engine may load a model of many gigabytes, and that
is no reason to wait on: the node serves from others meanwhile."""

STOP_LIMIT_S: Final = 20.0
"""For a stop by itself: running answers get a few seconds, then engines and peers a goodbye."""

TERM_LIMIT_S: Final = 10.0
LOOK_S: Final = 0.02

log = logging.getLogger(__name__)


def configure(home: Home, changes: dict[str, Value]) -> Config:
    """The home's configuration with what the command line changes for this run. Raises `SetupError`."""
    config = load(home)
    return override(config, changes) if changes else config


def foreground(home: Home, changes: dict[str, Value]) -> int:
    """Be the node until it is stopped; its exit code. Raises `SetupError` if it cannot start."""
    try:
        config = configure(home, changes)
        with home.hold():
            with contextlib.suppress(OSError):
                home.start_error.unlink(missing_ok=True)
            bound_log(home.node_log)
            try:
                from opengateway.app.run import run_node

                return run_node(home, config)
            except SetupError as error:
                _remember(home, error)
                raise
            except Exception as error:
                log.exception("the node could not go on")
                named = _named(error, home)
                _remember(home, named)
                raise named from error
    except HomeBusy:
        raise  # the running node's start-error.json is not ours to write
    except SetupError as error:
        _remember(home, error)
        raise


def start(home: Home, changes: dict[str, Value], *, tell: Callable[[str], None]) -> NodeClient:
    """Start the node in the background and wait until it takes requests.

    `tell` gets a line about what is waited for, if that takes long. Raises what the node could not
    start for; `HomeBusy` if one is running.
    """
    configure(home, changes)  # a mistake in the settings is reported here, before anything is started
    home.prepare()
    if (pid := home.running_pid()) is not None:
        raise _busy(home, pid)
    home.start_error.unlink(missing_ok=True)
    child = _spawn(home, changes)
    try:
        client = _wait_until_announced(home, child)
        _wait_until_ready(client, child, tell)
    except KeyboardInterrupt:  # who takes the start back wants no node
        child.terminate()
        raise
    return client


def running(home: Home, *, tell: Callable[[str], None]) -> NodeClient | None:
    """The node that runs from `home`, awaited if somebody has only just started it; None if there is none."""
    ends, told = time.monotonic() + START_LIMIT_S, False
    while (pid := home.running_pid()) is not None and home.announced() is None and time.monotonic() < ends:
        if not told:
            told = True
            tell(f"waiting: process {pid} is starting the node, or stopping it")
        time.sleep(LOOK_S)
    return connect(home) if pid is not None else None


def _spawn(home: Home, changes: dict[str, Value]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "opengateway", "start", "--foreground", "--home", str(home.path)]
    for name, value in changes.items():
        command += ["--set", f"{name}={','.join(value) if isinstance(value, tuple) else value}"]
    try:
        with home.node_log.open("ab") as out:
            return subprocess.Popen(  # noqa: S603 - ourselves
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # it outlives the terminal and hears no Ctrl-C typed there
                cwd="/",  # or it would keep the folder's disk from being unmounted
                env=_environment(home),
            )
    except OSError as error:
        raise _named(error, home) from error


def _environment(home: Home) -> dict[str, str]:
    """Ours, for a child in another folder: PYTHONPATH absolute, and the checkout in it if we run from one.

    Never site-packages: on PYTHONPATH they would come before the standard library.
    """
    paths = [
        str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path
    ]
    here = Path(__file__).resolve().parents[2]
    if here not in {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}:
        paths.append(str(here))
    # The home, too: `ps e` then tells whose an engine is.
    found = {**os.environ, "OPENGATEWAY_HOME": str(home.path), "PYTHONUNBUFFERED": "1"}
    return found | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def _wait_until_announced(home: Home, child: subprocess.Popen[bytes]) -> NodeClient:
    ends = time.monotonic() + START_LIMIT_S
    while time.monotonic() < ends:
        if (code := child.poll()) is not None:
            raise _why_it_ended(home, code)
        facts = home.announced()
        if facts is not None and facts.get("pid") == child.pid:
            return connect(home)
        time.sleep(LOOK_S)
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(TERM_LIMIT_S)
    child.kill()
    raise SetupError(
        f"the node did not come up within {START_LIMIT_S:.0f} s and was stopped",
        hint="see what it was doing with `opengateway logs`",
    )


def _wait_until_ready(
    client: NodeClient, child: subprocess.Popen[bytes], tell: Callable[[str], None]
) -> None:
    ends, told = time.monotonic() + READY_LIMIT_S, ""
    while time.monotonic() < ends and child.poll() is None:
        with contextlib.suppress(OpenGatewayError):
            ready, why = client.ready()
            if ready:
                return
            if why and why[0] != told:
                told = why[0]
                tell(f"waiting: {told}")
        time.sleep(LOOK_S * 2)


def _busy(home: Home, pid: int) -> HomeBusy:
    return HomeBusy(
        f"a node is already running from {home.path}: process {pid}",
        hint="look at it with `opengateway status`; `opengateway restart` starts it anew",
    )


def _why_it_ended(home: Home, code: int) -> OpenGatewayError:
    if (pid := home.running_pid()) is not None:  # two starts at once, and the other was faster
        return _busy(home, pid)
    try:
        kept = json.loads(home.start_error.read_bytes())
        return from_code(kept["code"], kept["message"], hint=kept["hint"])
    except (OSError, ValueError, KeyError, TypeError):
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return SetupError(
            f"the node {how} while it was starting",
            hint="see its last words with `opengateway logs`",
        )


def stop(home: Home) -> int:
    """Stop the node and wait until its process is gone; its pid. Raises `NotRunning`.

    First it is asked; only a node that does not answer in time is ended by signal, and only while the
    process that its home names still holds the home's lock: a reused pid is never hit.
    """
    pid = home.running_pid()
    if pid is None:
        raise NotRunning("no node is running here", hint="start it with `opengateway start`")
    asked = False
    with contextlib.suppress(OpenGatewayError):
        connect(home).post("/node/stop", limit_s=5.0)
        asked = True
    if asked and _gone(home, pid, STOP_LIMIT_S):
        return pid
    for sign, limit_s in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, TERM_LIMIT_S)):
        if pid and home.running_pid() == pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        if _gone(home, pid, limit_s):
            return pid
    raise SetupError(
        f"the node (pid {pid}) does not end",
        hint="it may belong to another user: look with `ps`, and stop it as that user",
    )


def _gone(home: Home, pid: int, limit_s: float) -> bool:
    ends = time.monotonic() + limit_s
    while home.running_pid() is not None or _lives(pid):
        if time.monotonic() > ends:
            return False
        time.sleep(LOOK_S)
    return True


def _lives(pid: int) -> bool:
    """Whether the process exists, also as another user's; one that only waits to be reaped does not."""
    if not pid:
        return False
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _remember(home: Home, error: OpenGatewayError) -> None:
    facts = {"code": error.code, "message": error.message, "hint": error.hint}
    with contextlib.suppress(OSError, SetupError):  # a full disk may be the very reason
        write_atomically(home.start_error, json.dumps(facts).encode() + b"\n")


def _named(error: Exception, home: Home) -> SetupError:
    """An error that nobody named while starting, as one sentence."""
    if isinstance(error, OSError) and error.errno in FULL:
        return DiskFull(
            f"no space left on the disk of {home.path}",
            hint="free some space (at least 100 MB), or choose another disk with --home FOLDER",
        )
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return PortTaken(
            "a port of this node is in use by another program",
            hint="choose others: `opengateway config set http.port 0` and `wire.port 0` take free ones",
        )
    return SetupError(
        f"the node failed: {type(error).__name__}: {error}",
        hint="the whole story is in `opengateway logs`; `opengateway doctor` looks for causes",
    )
