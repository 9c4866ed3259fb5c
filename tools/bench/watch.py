"""What nodes hold while they work: memory, file descriptors, threads and CPU time of each, sampled."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    rss_mb: float
    descriptors: int
    threads: int
    cpu_s: float


@dataclass(slots=True)
class Watched:
    name: str
    process: psutil.Process
    samples: list[Sample] = field(default_factory=list)

    def growth(self, what: str) -> float:
        """Of the last quarter's median over that of the second: 0.05 is 5 % more. The first quarter is
        left out, in which caches fill."""
        values = [float(getattr(sample, what)) for sample in self.samples]
        quarter = len(values) // 4
        if quarter < 1:
            return 0.0
        early, late = values[quarter : 2 * quarter], values[-quarter:]
        return statistics.median(late) / max(statistics.median(early), 1e-9) - 1


class Watch:
    """Samples while the block runs, on a thread of its own."""

    def __init__(self, nodes: Sequence[tuple[str, int]], every_s: float) -> None:
        """`nodes`: (name, pid) of each; the children (engines) are not counted."""
        self.nodes = [Watched(name, psutil.Process(pid)) for name, pid in nodes]
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _live(self) -> None:
        began = time.monotonic()
        while True:
            for node in self.nodes:
                with contextlib.suppress(psutil.Error):  # it has ended: the load says so
                    node.samples.append(_look(node.process, time.monotonic() - began))
            if self._over.wait(self._every_s):
                return


def _look(process: psutil.Process, at_s: float) -> Sample:
    with process.oneshot():
        times = process.cpu_times()
        return Sample(
            at_s,
            process.memory_info().rss / 1e6,
            process.num_fds(),
            process.num_threads(),
            times.user + times.system,
        )
