"""A container's share of its machine: cgroup v2 limits of this process.

Docker, Podman, Kubernetes and systemd units all set them. psutil shows the host's memory and CPUs,
and a node that believed it would be killed for the first model it loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Limits:
    cpus: float = 0.0
    """CPUs' worth of time; 0 for no limit."""
    memory_bytes: int = 0
    """0 for no limit."""
    memory_folder: Path | None = None
    """The cgroup that sets the memory limit."""

    def memory_left(self) -> int | None:
        """Bytes until the limit; None without one. Cached file pages are free: they go first."""
        if self.memory_folder is None:
            return None
        used = _number(self.memory_folder / "memory.current")
        try:
            stat = (self.memory_folder / "memory.stat").read_text()
        except OSError:
            stat = ""
        cached = next(
            (int(line.split()[1]) for line in stat.splitlines() if line.startswith("inactive_file ")), 0
        )
        return max(0, self.memory_bytes - max(0, used - cached))


def limits(root: Path = ROOT, membership: Path = Path("/proc/self/cgroup")) -> Limits:
    """The tightest limits from this process's cgroup up to the root; none outside Linux or under v1."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return Limits()
    inside = next((line[3:] for line in lines if line.startswith("0::")), "")
    folder = root / inside.lstrip("/")
    cpus, memory, memory_folder = 0.0, 0, None
    # In a container the path may be the host's, which is not mounted here: then the root is ours.
    for place in [p for p in (folder, *folder.parents) if p == root or root in p.parents]:
        if (share := _cpus(place / "cpu.max")) and (not cpus or share < cpus):
            cpus = share
        if (most := _number(place / "memory.max")) and (not memory or most < memory):
            memory, memory_folder = most, place
    return Limits(cpus, memory, memory_folder)


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0  # "max" is no limit


def _cpus(path: Path) -> float:
    """cpu.max holds "QUOTA PERIOD" in microseconds, or "max PERIOD"."""
    try:
        quota, _, period = path.read_text().strip().partition(" ")
    except OSError:
        return 0.0
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0
