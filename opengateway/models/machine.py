"""This machine: what it has, how busy it is, how fast it computes.

Plain synchronous measurements; none takes longer than about a second, and none raises: what cannot be
measured is absent. Inside a container the container's limits count, not the host's size.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from opengateway.models.gpus import Gpu, gpus
from opengateway.models.limits import Limits, limits
from opengateway.models.nvml import open_nvml

ENGINES: Final = frozenset(
    {"ollama", "ollama_llama_se", "llama-server", "vllm", "vllm::enginecor", "lm studio", "lms"}
)
"""Names of processes, in lower case. The kernel cuts them after 15 characters."""
FIRST_LOOK_S: Final = 0.1
"""Ten ticks of the kernel's CPU clock: the least over which a percentage means something."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine has. Sizes in bytes."""

    cores: int
    """Logical CPUs this process may use; a container's quota rounds down, to at least 1."""
    physical_cores: int
    cpu: str
    ram_bytes: int
    gpus: tuple[Gpu, ...]
    disk_total_bytes: int
    disk_free_bytes: int
    system: str
    """Such as "Linux 6.8 x86_64"."""
    contained: bool = False
    """A container limits CPU or memory below what the machine has."""

    @property
    def gpu_bytes(self) -> int:
        """Memory of all GPUs: llama.cpp and Ollama spread a model's layers over them."""
        return sum(gpu.memory_bytes for gpu in self.gpus)

    @classmethod
    def measure(cls, home: Path) -> Machine:
        """Measure this machine; the disk is the one that holds (or will hold) `home`."""
        bound = limits()
        logical = _logical_cpus()
        cores = max(1, min(logical, int(bound.cpus))) if bound.cpus else logical
        physical = min(psutil.cpu_count(logical=False) or logical, cores)
        ram = psutil.virtual_memory().total
        total, free = disk(home)
        return cls(
            cores=cores,
            physical_cores=physical,
            cpu=_cpu_name(),
            ram_bytes=min(ram, bound.memory_bytes) if bound.memory_bytes else ram,
            gpus=gpus(ram),
            disk_total_bytes=total,
            disk_free_bytes=free,
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            contained=cores < logical or 0 < bound.memory_bytes < ram,
        )

    def as_json(self) -> dict[str, Any]:
        """For the command line and `/node/resources`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Machine:
        """The pair of `as_json`; unknown keys are left out, as a newer node may send more."""
        known = {item.name for item in dataclasses.fields(cls)}
        facts = {name: value for name, value in written.items() if name in known}
        facts["gpus"] = tuple(Gpu(**gpu) for gpu in facts.get("gpus", ()))
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a machine is. Percentages are of the whole machine: 100 is every core busy."""

    cpu_percent: float
    owner_cpu_percent: float
    """What neither this node nor its engines use: the owner's own work."""
    ram_free_bytes: int
    disk_free_bytes: int
    battery_percent: float | None
    """None where there is no battery."""
    plugged: bool | None
    owner_gpu_percent: float | None = None
    """The same of the GPU that he uses most; None where nobody can say (NVIDIA's driver can)."""

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class LoadMeter:
    """Reads the load since its last reading; the first is since it was made.

    Our own part is this process and its children. A child's time before it was first seen is left out,
    so a fresh engine is never taken for the owner's work (the opposite error corrects itself one
    reading later).
    """

    def __init__(self, home: Path, *, engines_elsewhere: bool = False) -> None:
        """`engines_elsewhere`: programs named as engines count as ours, whoever has started them."""
        self._home = home
        self._engines_elsewhere = engines_elsewhere
        self._limits: Limits = limits()
        self._nvml = open_nvml()
        psutil.cpu_percent(interval=None)  # its first answer is always 0
        self._clock = psutil.cpu_times()
        self._ours = self._own_seconds()

    def read(self) -> Load:
        clock, ours = psutil.cpu_times(), self._own_seconds()
        passed = sum(clock[:8]) - sum(self._clock[:8])  # all CPUs, all states, without guest twice
        used = sum(max(0.0, now - self._ours.get(pid, now)) for pid, now in ours.items())
        self._clock, self._ours = clock, ours
        busy = psutil.cpu_percent(interval=None)
        own = 100.0 * used / passed if passed > 0 else 0.0
        battery, plugged = _battery()
        return Load(
            cpu_percent=round(busy, 1),
            owner_cpu_percent=round(min(100.0, max(0.0, busy - own)), 1),
            ram_free_bytes=self._ram_free(),
            disk_free_bytes=disk(self._home)[1],
            battery_percent=battery,
            plugged=plugged,
            owner_gpu_percent=self._owner_gpu(ours),
        )

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.close()
            self._nvml = None

    def _owner_gpu(self, ours: Mapping[int, float]) -> float | None:
        if self._nvml is None:
            return None
        used: Counter[int] = Counter()
        for use in self._nvml.uses():
            if use.pid not in ours:
                used[use.gpu] += round(use.percent)
        return float(max(used.values(), default=0))

    def _ram_free(self) -> int:
        free = psutil.virtual_memory().available
        left = self._limits.memory_left()
        return free if left is None else min(free, left)

    def _own_seconds(self) -> dict[int, float]:
        found: dict[int, float] = {}
        try:
            me = psutil.Process()
            elsewhere = _engines() if self._engines_elsewhere else []
            for process in (me, *me.children(recursive=True), *elsewhere):
                try:
                    times = process.cpu_times()
                except psutil.Error:  # gone meanwhile
                    continue
                found[process.pid] = times.user + times.system
        except psutil.Error:
            pass
        return found


def _engines() -> list[psutil.Process]:
    """Programs that answer for us without being our children: Ollama's, vLLM's, llama.cpp's, LM Studio's."""
    return [one for one in psutil.process_iter(["name"]) if (one.info["name"] or "").lower() in ENGINES]


_meter: LoadMeter | None = None


def measure_machine(home: Path) -> Machine:
    return Machine.measure(home)


def measure_load(home: Path | None = None) -> Load:
    """The load since the last call in this process; the first call takes a tenth of a second."""
    global _meter
    if _meter is None:
        _meter = LoadMeter(home or Path.home())
        time.sleep(FIRST_LOOK_S)
    return _meter.read()


def disk(path: Path) -> tuple[int, int]:
    """(total, free) bytes of the disk that holds `path`, or would; (0, 0) if nobody can say."""
    for place in (path, *path.parents):
        try:
            usage = shutil.disk_usage(place)
        except OSError:
            continue
        return usage.total, usage.free
    return 0, 0


def _logical_cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith(("model name", "Model\t", "Hardware")):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _battery() -> tuple[float | None, bool | None]:
    try:
        battery = psutil.sensors_battery()
    except Exception:  # AttributeError, OSError and parse errors of odd firmware, all mean "unknown"
        return None, None
    return (round(battery.percent, 1), battery.power_plugged) if battery else (None, None)
