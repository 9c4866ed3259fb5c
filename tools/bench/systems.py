"""What the gateway benchmark compares, each started for real and ended with the block.

bare engine      the fake engine itself: what the client and two cores can do at all
bare proxy       aiohttp in, aiohttp out, nothing looked at
one node         OpenGateway, the engine behind it
two nodes        OpenGateway, asked at a node without an engine; wire, sealing and ledger between
LiteLLM          `litellm` with one model and no database, where it is installed
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tools.local_node import LocalNode, merged, private_network

HERE = Path(__file__).resolve().parent
READY_S = 120.0
"""LiteLLM needs 10 to 25 s to import."""
SLOTS = 128
"""Requests that a node's engine takes at once: more than the 64 streams, so that nothing queues."""


@dataclass
class System:
    name: str
    url: str
    """Where chat requests go, without /v1."""
    processes: list[psutil.Process] = field(default_factory=list)
    """What is measured beside the engine, one process per node."""
    key: str = "none"

    def cpu_s(self) -> float:
        """CPU seconds spent so far, user and system, of all its processes and their children."""
        total = 0.0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def rss_mb(self) -> float:
        """Resident memory of the largest node, engine not included."""
        return max((process.memory_info().rss / 1e6 for process in self.processes), default=0.0)

    def _family(self) -> list[psutil.Process]:
        return [
            member for process in self.processes for member in (process, *process.children(recursive=True))
        ]


@contextlib.contextmanager
def child(command: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process of ours; what it prints first is on its `stdout`, its complaints go to `log`."""
    with log.open("a") as complaints:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, env=os.environ | environment
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def script(path: Path, *arguments: str, log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """(URL, process) of a Python script that prints `{"port": N}` on its first line."""
    with child([sys.executable, str(path), *arguments], log) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            raise RuntimeError(f"{path.name} did not start:\n{log.read_text()[-2000:]}")
        yield f"http://127.0.0.1:{json.loads(first)['port']}", psutil.Process(process.pid)


@contextlib.contextmanager
def engine(path: Path, log: Path, options: Sequence[str] = ()) -> Iterator[System]:
    with script(path, "--port", "0", *options, log=log) as (url, process):
        yield System("bare engine", url, [process])


@contextlib.contextmanager
def bare_proxy(upstream: str, log: Path) -> Iterator[System]:
    with script(HERE / "bare_proxy.py", upstream, log=log) as (url, process):
        yield System("bare proxy", url, [process])


@contextlib.contextmanager
def one_node(upstream: str, folder: Path) -> Iterator[System]:
    with LocalNode(folder, name="single", config=_worker(private_network(), upstream)) as node:
        yield System("one node", node.http, [psutil.Process(node.pid)])


@contextlib.contextmanager
def two_nodes(upstream: str, folder: Path, model: str) -> Iterator[System]:
    network = private_network()
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(LocalNode(folder, name="worker", config=_worker(network, upstream)))
        asking = merged(network, {"wire": {"bootstrap": [worker.endpoint]}})
        asker = stack.enter_context(LocalNode(folder, name="asker", config=asking))
        _wait_until_listed(f"{asker.http}/v1/models", model)
        yield System("two nodes", asker.http, [psutil.Process(asker.pid), psutil.Process(worker.pid)])


@contextlib.contextmanager
def litellm(python: str, upstream: str, folder: Path, model: str) -> Iterator[System]:
    """The proxy as its documentation starts it: one worker, no database, no logging of requests."""
    upstream_model = {"model": f"openai/{model}", "api_base": f"{upstream}/v1", "api_key": "none"}
    listed = [{"model_name": model, "litellm_params": upstream_model}]
    config = folder / "litellm.yaml"  # JSON is YAML
    config.write_text(json.dumps({"model_list": listed, "litellm_settings": {"telemetry": False}}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [
        str(Path(python).parent / "litellm"),
        *("--config", str(config), "--host", "127.0.0.1", "--port", port, "--num_workers", "1"),
    ]
    log = folder / "litellm.log"
    key = f"sk-{secrets.token_hex(16)}"  # it does not start without one
    environment = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it first asks the network for the prices of models
        "LITELLM_LOG": "ERROR",
    }
    with child(command, log, **environment) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_listed(f"{url}/v1/models", model, process, key)
        except RuntimeError as error:
            raise RuntimeError(f"LiteLLM did not start: {error}\n{log.read_text()[-2000:]}") from error
        yield System("LiteLLM", url, [psutil.Process(process.pid)], key)


def has_litellm(python: str) -> bool:
    """Whether that Python has the proxy: `pip install "litellm[proxy]"`."""
    if not (Path(python).parent / "litellm").exists():
        return False
    found = subprocess.run(
        [python, "-c", "import importlib.util as u, sys; sys.exit(not u.find_spec('litellm'))"], check=False
    )
    return found.returncode == 0


def _worker(network: dict[str, Any], upstream: str) -> dict[str, Any]:
    """A node with the engine behind it. It asks for 1 % of the usual price: at 100 % the asking node had used
    up its credit, some 50 credits, after 450 streams, and was rightly refused (402)."""
    engine_behind = {"kind": "openai", "url": f"{upstream}/v1", "slots": SLOTS}
    return merged(network, {"engine": engine_behind, "price": {"multiplier_percent": 1}})


def _wait_until_listed(
    url: str, model: str, process: subprocess.Popen[str] | None = None, key: str = "none"
) -> None:
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    deadline = time.monotonic() + READY_S
    seen = "no answer"
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"ended with exit {process.returncode}")
        with contextlib.suppress(OSError, urllib.error.URLError, ValueError):
            with urllib.request.urlopen(asked, timeout=10) as answer:
                seen = str([listed["id"] for listed in json.loads(answer.read())["data"]])
            if f"'{model}'" in seen:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not list {model} after {READY_S:.0f} s; it has {seen}")
