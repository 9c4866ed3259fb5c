"""The machine is lent as its owner allows, and the Gauge notices him with real programs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from actors import gauge as gauge_module
from actors.gauge import Gauge
from actors.kernel import Address
from actors.messages import DescribeMachine, GaugeMessage
from opengateway.models.idle import Policy
from opengateway.models.machine import LoadMeter

BURN = "import itertools\nfor _ in itertools.count(): pass"


@contextmanager
def burner() -> Iterator[psutil.Process]:
    """A program that uses one core as fully as it gets it, and is no child of ours: the process that has
    started it ends at once."""
    quiet = "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL"
    starter = (
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {BURN!r}], {quiet}).pid)"
    )
    done = subprocess.run([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, check=True)
    process = psutil.Process(int(done.stdout))
    try:
        yield process
    finally:
        process.kill()
        deadline = time.monotonic() + 5
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_another_program_burns_is_the_owners_and_what_our_child_burns_is_not(tmp_path: Path) -> None:
    """By the CPU time that each really got: the machine may be busy with other things."""
    meter = LoadMeter(tmp_path)
    with burner() as theirs, subprocess.Popen([sys.executable, "-c", BURN]) as child:
        try:
            meter.read()  # a child's time before it is first seen is left out
            ours, started = psutil.Process(child.pid), time.monotonic()
            before, mine = theirs.cpu_times().user, ours.cpu_times().user
            while min(theirs.cpu_times().user - before, ours.cpu_times().user - mine) < 0.3:
                assert time.monotonic() - started < 30
                time.sleep(0.02)
            load = meter.read()
            passed = (time.monotonic() - started) * (psutil.cpu_count() or 1)
            burnt = 100 * (theirs.cpu_times().user - before) / passed
            own = 100 * (ours.cpu_times().user - mine) / passed
        finally:
            child.kill()
    meter.close()
    assert load.owner_cpu_percent > burnt * 0.7
    assert load.owner_cpu_percent < load.cpu_percent - own * 0.7


def gauge(folder: Path, told: list[str], **policy: object) -> Address[GaugeMessage]:
    made = Policy(**policy)  # type: ignore[arg-type]
    return Address("gauge", lambda: Gauge(folder, measured=lambda _: None, policy=made, paused=told.append))


def test_a_burning_program_pauses_the_machine_within_five_seconds(tmp_path: Path) -> None:
    told: list[str] = []
    address = gauge(tmp_path, told, when="idle", busy_percent=1.0)
    with burner():
        started = time.monotonic()
        address.start()
        try:
            while not told:
                assert time.monotonic() - started < 5
                time.sleep(0.02)
        finally:
            address.close()
    assert told[0].startswith("you use it (")
    assert "% of its CPU)" in told[0]


def test_the_gauge_says_why_nothing_is_lent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauge_module, "LOAD_PERIOD", 0.05)
    told: list[str] = []
    address = gauge(tmp_path, told, when="never")
    address.start()
    try:
        assert address.ask(DescribeMachine()).get(timeout=10)["paused"] == "you lend it to nobody"
    finally:
        address.close()
    assert told == ["you lend it to nobody"]
