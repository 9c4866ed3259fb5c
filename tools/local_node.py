"""A real node on this machine as a child process, for the quickstart, the benchmarks and the tests.

    with LocalNode(folder, name="a", config=private_network()) as node:
        node.get("/node/status")["peers"]

The node gets its own home inside `folder`, free ports on 127.0.0.1 and its own process group. However the
block ends, the whole group is gone afterwards.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import psutil

READY_S = 60.0
"""A node is ready in about 1 s; on a machine that runs a test suite on every core it took 15 s."""
STOP_S = 15.0
POLL_S = 0.02
LOG_TAIL = 40
"""Lines of the log that go into an error message."""

Json = Any
Connection: TypeAlias = http.client.HTTPConnection


class NodeFailed(RuntimeError):
    """The node did not start, or did not answer as it should. The message ends with its log."""


def private_network() -> dict[str, Json]:
    """Settings of a network that nobody else is in: free ports, loopback only, an own secret."""
    return {
        "region": "eu-central-1",
        "network": {"name": f"local-{secrets.token_hex(4)}", "secret": secrets.token_hex(16)},
        "http": {"host": "127.0.0.1", "port": 0},
        "wire": {"host": "127.0.0.1", "port": 0},
        "lan": {"enabled": False},
        "dht": {"enabled": False},
        "engine": {"kind": "none"},
    }


def merged(config: Mapping[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """`config` with `changes` laid over it, section by section."""
    result = dict(config)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


class LocalNode:
    """One node. `start` and `stop`, or a `with` block."""

    def __init__(self, folder: Path, *, name: str, config: Mapping[str, Json]) -> None:
        self.name = name
        self.home = folder / name / ".opengateway"
        self.config = merged(config, {"node_name": name})
        self.process: subprocess.Popen[bytes] | None = None
        self.info: dict[str, Json] = {}
        """run/node.json: pid, http, wire_port, node_id, version."""
        self.left_behind: list[str] = []
        """Processes that `stop` had to kill: a tidy node leaves none."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            error.add_note(f"log of node {self.name}:\n{self.log_tail()}")
        self.stop()

    def launch(self) -> Self:
        """Start the process and return at once; `wait_ready` is the second half of `start`."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "config.json").write_text(json.dumps(self.config, indent=2))
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command("start", "--foreground"),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own group: engine children end with it, and Ctrl-C is ours
            )
        return self

    def start(self) -> Self:
        """Raises `NodeFailed` with the log's end if the node is not ready within `READY_S`."""
        self.launch()
        try:
            return self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self) -> Self:
        assert self.process is not None
        deadline = time.monotonic() + READY_S
        why: Json = "run/node.json is not there"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise NodeFailed(
                    f"node {self.name} ended with exit {self.process.returncode}\n{self.log_tail()}"
                )
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                self.info = json.loads((self.home / "run" / "node.json").read_text())
                if self.info["pid"] == self.process.pid:
                    status, why = self.request("GET", "/readyz")
                    if status == http.HTTPStatus.OK:
                        return self
            time.sleep(POLL_S)
        raise NodeFailed(f"node {self.name} was not ready after {READY_S:.0f} s: {why}\n{self.log_tail()}")

    def stop(self) -> None:
        """Ask the node to end, wait, and kill whatever is left of it; `left_behind` says what that was."""
        if self.process is None:
            return
        group = self.process.pid
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        if self.process.poll() is None:
            self.left_behind.append(f"{self.name} itself, {STOP_S:.0f} s after it was asked to end")
        self.left_behind += [
            _describe(process) for process in processes_of(self.home) if process.pid != group
        ]
        _kill_group(group)
        for process in processes_of(self.home):
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(STOP_S)
        self.process.wait()
        self.process = None

    def kill9(self) -> None:
        """The node alone, as the kernel's memory killer would; its children are not touched."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def http(self) -> str:
        """`http://127.0.0.1:PORT`"""
        return str(self.info["http"])

    @property
    def endpoint(self) -> str:
        """What other nodes dial: `127.0.0.1:PORT`, as `wire.bootstrap` wants it."""
        return f"127.0.0.1:{self.info['wire_port']}"

    @property
    def token(self) -> str:
        return (self.home / "run" / "control.token").read_text().strip()

    @property
    def output(self) -> Path:
        """What the process itself printed; its log is `logs/node.log` in the home."""
        return self.home.parent / "output.txt"

    @property
    def environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith("OPENGATEWAY_HOME")}
        return own | {"HOME": str(self.home.parent), "OPENGATEWAY_HOME": str(self.home), "NO_COLOR": "1"}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "opengateway", *words]

    def cli(
        self, *words: str, stdin: str | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """`opengateway WORDS` as this node's owner would type it; never raises for an exit code."""
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def get(self, path: str) -> Json:
        return self._checked("GET", path, None)

    def post(self, path: str, body: Json = None) -> Json:
        return self._checked("POST", path, body if body is not None else {})

    def request(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        """(HTTP status, answer); the answer is parsed if it is JSON, bytes if binary, else text."""
        connection = self._connection()
        given = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            **(headers or {}),
        }
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, given)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        kind = answer.headers.get_content_type()
        if kind == "application/json":
            return answer.status, json.loads(data)
        return answer.status, data.decode() if kind.startswith("text/") else data

    def _connection(self) -> Connection:
        scheme, _, rest = self.http.partition("://")
        host, _, port = rest.partition(":")
        if scheme == "http":
            return http.client.HTTPConnection(host, int(port), timeout=60)
        from opengateway.app.gateway.tls import client_context

        context = client_context(str(self.info["certificate"]))
        return http.client.HTTPSConnection(host, int(port), timeout=60, context=context)

    def children(self) -> list[psutil.Process]:
        """The node's own child processes: its engine, if that is one of ours."""
        return psutil.Process(self.pid).children(recursive=True)

    def log_tail(self) -> str:
        lines: list[str] = []
        for path in (self.output, self.home / "logs" / "node.log"):
            with contextlib.suppress(OSError):
                lines += path.read_text(errors="replace").splitlines()[-LOG_TAIL:]
        return "\n".join(lines) or "(nothing was logged)"

    def _checked(self, method: str, path: str, body: Json) -> Json:
        status, answer = self.request(method, path, body)
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise NodeFailed(f"{method} {path} of node {self.name} answered {status}: {answer}")
        return answer


def _kill_group(group: int) -> None:
    """Every process of the group, and not before it is truly gone."""
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-group, os.WNOHANG)
        time.sleep(POLL_S)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process on this machine whose node home is `folder` or lies in it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            home = process.environ().get("OPENGATEWAY_HOME", "")
            if process.pid != os.getpid() and home and Path(home).is_relative_to(folder):
                found.append(process)
    return found


def _describe(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    return f"{process.pid}"
