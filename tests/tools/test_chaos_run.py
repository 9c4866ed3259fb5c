"""Chaos on real nodes: that its faults are faults, that it takes them back, and that it leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from harness import private_network, until
from lab.namespaces import ours
from sse import chat

from tools.chaos.inject import Injector
from tools.chaos.load import Busy, wholes
from tools.chaos.node import ChaosNode
from tools.chaos.place import ROOT, Loopback
from tools.chaos.plan import Fault
from tools.local_node import merged

NOTHING_MISSING = "network faults need namespaces"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ChaosNode]:
    place = Loopback(tmp_path, NOTHING_MISSING)
    with contextlib.closing(place):
        config = merged(private_network(), {"engine": {"kind": "pocket", "threads": 1}})
        with contextlib.closing(ChaosNode(place.settle("worker0"), "worker0", config)) as one:
            one.begin()
            yield one
        assert not one.left_behind


def created(node: ChaosNode) -> int:
    """When it says that it answered."""
    return int(node.post("/v1/chat/completions", chat())["created"])


def test_faults_break_a_node_and_are_taken_back(node: ChaosNode, tmp_path: Path) -> None:
    began = time.monotonic()
    place = Loopback(tmp_path / "more", NOTHING_MISSING)
    injector = Injector({"worker0": node}, place, lambda: time.monotonic() - began, Busy())
    process = node.running()
    assert process is not None
    limits = [process.rlimit(which) for which in (psutil.RLIMIT_NOFILE, psutil.RLIMIT_AS)]
    injector.start()
    try:
        for fault in (
            Fault(0, "crash", ("worker0",), actor="registry"),
            Fault(0, "files", ("worker0",), 0.1),
            Fault(0, "memory", ("worker0",), 0.1, 64),
            Fault(0, "freeze", ("worker0",), 0.1),
            Fault(0, "clock", ("worker0",), 0.1, -3600),
            Fault(0, "disk", ("worker0",), 0.1),
        ):
            injector.strike(fault)
            injector.wait()
        assert process.is_running()
        node.order("clock -86400")
        until(lambda: created(node) < time.time() - 80_000, "its clock is a day behind")
        assert [process.rlimit(which) for which in (psutil.RLIMIT_NOFILE, psutil.RLIMIT_AS)] == limits
        injector.strike(Fault(0, "kill", ("worker0",)))
        injector.wait()
        assert not process.is_running()
        again = node.running()
        assert again is not None
        again.kill()
        until(lambda: injector.gone and node.running() not in (None, again), "it is started again")
        until(lambda: node.life.acquire(blocking=False), "it is ready")
        node.life.release()
    finally:
        injector.stop()
    crash, *others, disk, kill = injector.struck
    assert crash.recovered_s is not None
    assert disk.skipped == "file systems cannot be mounted here"
    assert not any(one.skipped for one in (*others, kill))
    assert [gone.code for gone in injector.gone] == [-9]
    assert [whole.finish for whole in wholes(node, time.monotonic)] == ["stop"] * 3 + ["length"] + [
        "stop"
    ] * 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_minute_of_chaos_violates_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("OPENGATEWAY_SEED") or random.SystemRandom().randrange(1, 10**6))
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tools.chaos", "--seed", str(seed), "--nodes", "5", "--seconds", "60"]
    done = subprocess.run(
        [*command, "--report", str(report)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"OPENGATEWAY_SEED={seed}\n{done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["requests"]["endings"]["answer"] > 100
    assert sum(told["faults"].values()) > 10
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("chaos-")]
    left = [process for process in psutil.process_iter() if str(tmp_path) in " ".join(_words(process))]
    assert not left
    assert not [name for name in ours("oglab-") if f"-{os.getpid()}-" in name]


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return [*process.cmdline(), process.environ().get("OPENGATEWAY_HOME", "")]
    return []
