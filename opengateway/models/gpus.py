"""The GPUs of this machine: NVIDIA by its own tool, AMD by the kernel, Apple by its shared memory."""

from __future__ import annotations

import contextlib
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from opengateway.units import GIB, MIB

SMI_LIMIT_S: Final = 5.0
"""nvidia-smi takes 0.05 s; some 2 s on a cold driver without persistence; a broken driver hangs it."""

UNKNOWN_SIZE: Final = "N/A"

AMD: Final = "0x1002"  # PCI vendor id


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    memory_bytes: int
    vendor: Literal["nvidia", "amd", "apple"]


def gpus(ram_bytes: int) -> tuple[Gpu, ...]:
    """Every GPU that can hold a model. `ram_bytes`: what an Apple GPU shares with the CPU."""
    return (*_nvidia(), *_amd(), *_apple(ram_bytes))


def _nvidia() -> list[Gpu]:
    tool = shutil.which("nvidia-smi")
    if not tool:
        return []
    try:
        done = subprocess.run(  # noqa: S603 - a fixed query to the tool found on PATH
            [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=SMI_LIMIT_S,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_nvidia(done.stdout)


def parse_nvidia(listing: str) -> list[Gpu]:
    """The GPUs of `nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits` (MiB)."""
    found = []
    for line in listing.splitlines():
        name, comma, size = line.rpartition(",")
        with contextlib.suppress(ValueError):
            if comma and UNKNOWN_SIZE not in size:
                found.append(Gpu(name.strip(), int(size) * MIB, "nvidia"))
    return found


def _amd(root: Path = Path("/sys/class/drm")) -> list[Gpu]:
    found = []
    for device in sorted(root.glob("card[0-9]*/device")):
        with contextlib.suppress(OSError, ValueError):
            if (device / "vendor").read_text().strip() != AMD:
                continue
            size = int((device / "mem_info_vram_total").read_text())
            # An APU's carve-out of 512 MB holds no model and is no GPU in this sense.
            if size >= GIB:
                found.append(Gpu(_text(device / "product_name") or "AMD GPU", size, "amd"))
    return found


def _apple(ram_bytes: int) -> list[Gpu]:
    """Apple's chips share their RAM; Metal lets the GPU have two thirds of it, three quarters above 36 GiB
    (its recommendedMaxWorkingSetSize)."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    share = 3 / 4 if ram_bytes > 36 * GIB else 2 / 3
    return [Gpu("Apple GPU", int(ram_bytes * share), "apple")]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
