"""NVIDIA's management library: who uses how much of each GPU. Through ctypes, so that nothing has to be
installed.

Only what the driver brings (libnvidia-ml.so.1) is called, and only if it is there. Structures and functions:
NVML API reference, "Device Queries" and "GPU processes".
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

SUCCESS: Final = 0
TOO_SMALL: Final = 7  # NVML_ERROR_INSUFFICIENT_SIZE: the answer is how many there are
NAMES: Final = ("libnvidia-ml.so.1", "nvml.dll", "libnvidia-ml.so")


class _Sample(ctypes.Structure):
    """nvmlProcessUtilizationSample_t."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("at_us", ctypes.c_ulonglong),
        ("sm", ctypes.c_uint),
        ("memory", ctypes.c_uint),
        ("encoder", ctypes.c_uint),
        ("decoder", ctypes.c_uint),
    )


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True, slots=True)
class Use:
    """One process on one GPU, since the last look."""

    gpu: int
    pid: int
    percent: float
    """Of the GPU's multiprocessors."""


class Nvml:
    """The library, initialised. `open_nvml` makes it; `close` lets go of it."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._since: dict[int, int] = {}
        count = ctypes.c_uint(0)
        self._must("nvmlInit_v2")
        self._must("nvmlDeviceGetCount_v2", ctypes.byref(count))
        self._devices = [self._device(index) for index in range(count.value)]

    def __len__(self) -> int:
        return len(self._devices)

    def uses(self) -> list[Use]:
        """What processes did on the GPUs since the last call; empty where the driver does not say (vGPU,
        MIG)."""
        found = []
        for index, device in enumerate(self._devices):
            latest: dict[int, _Sample] = {}
            for sample in self._samples(index, device):
                latest[sample.pid] = sample
                self._since[index] = max(self._since.get(index, 0), sample.at_us)
            found += [Use(index, pid, float(sample.sm)) for pid, sample in latest.items()]
        return found

    def free_bytes(self) -> int:
        """Of all GPUs together."""
        total = 0
        for device in self._devices:
            memory = _Memory()
            if self._call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory)) == SUCCESS:
                total += memory.free
        return total

    def close(self) -> None:
        self._call("nvmlShutdown")

    def _device(self, index: int) -> ctypes.c_void_p:
        device = ctypes.c_void_p()
        self._must("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
        return device

    def _samples(self, index: int, device: ctypes.c_void_p) -> list[_Sample]:
        count, since = ctypes.c_uint(0), ctypes.c_ulonglong(self._since.get(index, 0))
        name = "nvmlDeviceGetProcessUtilization"
        if self._call(name, device, None, ctypes.byref(count), since) != TOO_SMALL or not count.value:
            return []
        samples = (_Sample * count.value)()
        if self._call(name, device, samples, ctypes.byref(count), since) != SUCCESS:
            return []
        return list(samples[: count.value])

    def _call(self, name: str, *arguments: Any) -> int:
        function: Callable[..., int] = getattr(self._library, name)
        return int(function(*arguments))

    def _must(self, name: str, *arguments: Any) -> None:
        if (code := self._call(name, *arguments)) != SUCCESS:
            raise OSError(code, f"{name} failed with {code}")


def open_nvml(names: tuple[str, ...] = NAMES) -> Nvml | None:
    """None where there is no NVIDIA driver, or no GPU that it can see."""
    for name in names:
        try:
            found = Nvml(ctypes.CDLL(name))
        except (OSError, AttributeError):
            continue
        return found if len(found) else None
    return None
