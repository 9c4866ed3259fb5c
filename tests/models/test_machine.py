import json
import os
import time
from pathlib import Path

import pytest

from opengateway.models import gpus
from opengateway.models.benchmark import benchmark
from opengateway.models.gpus import Gpu, parse_nvidia
from opengateway.models.limits import limits
from opengateway.models.machine import LoadMeter, Machine, disk, measure_machine
from opengateway.units import GIB, MIB


def test_this_machine_has_cores_memory_and_a_disk(tmp_path: Path) -> None:
    found = measure_machine(tmp_path / "not" / "there" / "yet")
    assert 1 <= found.physical_cores <= found.cores <= (os.cpu_count() or 1)
    assert found.ram_bytes > 100 * MIB
    assert found.disk_total_bytes >= found.disk_free_bytes > 0
    assert found.cpu and found.system


def test_a_machine_survives_the_wire_and_unknown_facts(tmp_path: Path) -> None:
    found = Machine(4, 2, "cpu", 8, (Gpu("card", 5, "nvidia"),), 3, 2, "Linux")
    written = json.loads(json.dumps(found.as_json())) | {"from_the_future": 1}
    assert Machine.from_json(written) == found


def test_the_load_tells_our_work_from_the_owners(tmp_path: Path) -> None:
    meter = LoadMeter(tmp_path)
    ends = time.process_time() + 0.3
    while time.process_time() < ends:
        pass
    load = meter.read()
    assert load.cpu_percent > 0
    assert load.owner_cpu_percent < load.cpu_percent
    assert load.ram_free_bytes > 0


def test_nobody_knows_the_disk_of_nowhere() -> None:
    assert disk(Path("/nowhere/at/all"))[0] > 0  # the root's


def test_nvidia_smi_is_read_and_its_odd_lines_are_left_out() -> None:
    listing = """NVIDIA GeForce RTX 3070, 8192
NVIDIA GB10, [N/A]
Name, with comma, 1024
Failed to initialize NVML

"""
    assert parse_nvidia(listing) == [
        Gpu("NVIDIA GeForce RTX 3070", 8192 * MIB, "nvidia"),
        Gpu("Name, with comma", 1024 * MIB, "nvidia"),
    ]


@pytest.mark.parametrize(("script", "count"), [("echo 'Card, 100'", 1), ("exit 9", 0), ("exec sleep 60", 0)])
def test_a_broken_or_hanging_nvidia_smi_means_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, count: int
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpus, "SMI_LIMIT_S", 0.3 if "sleep" in script else 10.0)
    assert len(gpus._nvidia()) == count


def test_an_amd_card_is_read_from_the_kernel_and_a_carve_out_is_none(tmp_path: Path) -> None:
    for number, (vendor, size) in enumerate([("0x1002", 16 * GIB), ("0x1002", 512 * MIB), ("0x8086", GIB)]):
        device = tmp_path / f"card{number}" / "device"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "mem_info_vram_total").write_text(f"{size}\n")
    assert gpus._amd(tmp_path) == [Gpu("AMD GPU", 16 * GIB, "amd")]


@pytest.mark.parametrize(("ram", "share"), [(16, 2 / 3), (64, 3 / 4)])
def test_an_apple_gpu_has_its_share_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, ram: int, share: float
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    (found,) = gpus._apple(ram * GIB)
    assert found.memory_bytes == int(ram * GIB * share)


def test_a_containers_tightest_limits_count(tmp_path: Path) -> None:
    root, inner = tmp_path / "cgroup", tmp_path / "cgroup" / "a" / "b"
    inner.mkdir(parents=True)
    (root / "memory.max").write_text("max\n")
    (root / "a" / "memory.max").write_text("2000\n")
    (inner / "memory.max").write_text("3000\n")
    (root / "a" / "cpu.max").write_text("150000 100000\n")
    (inner / "cpu.max").write_text("max 100000\n")
    (root / "a" / "memory.current").write_text("1500\n")
    (root / "a" / "memory.stat").write_text("anon 900\ninactive_file 600\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/a/b\n")
    found = limits(root, membership)
    assert (found.cpus, found.memory_bytes) == (1.5, 2000)
    assert found.memory_left() == 1100


@pytest.mark.parametrize("membership", ["", "0::/\n", "0::/host/path/not/mounted\n", "1:name=x:/y\n"])
def test_no_limits_are_no_limits(tmp_path: Path, membership: str) -> None:
    (tmp_path / "membership").write_text(membership)
    found = limits(tmp_path, tmp_path / "membership")
    assert (found.cpus, found.memory_bytes, found.memory_left()) == (0.0, 0, None)


def test_the_benchmark_is_quick_and_says_something() -> None:
    began = time.perf_counter()
    found = benchmark()
    assert time.perf_counter() - began < 3  # 0.25 s alone; other tests share the cores
    assert found.score > 0 and found.copy_gbps > 0 and found.hash_gbps > 0
