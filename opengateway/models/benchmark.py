"""How fast this machine computes, in under a second, without an engine or a model.

Generating tokens is bound by memory (each token reads every weight once), reading a prompt by
arithmetic. So two numbers: bytes copied, and BLAKE2b bytes hashed, per second on one core. BLAKE2b
and not SHA-256: its 64-bit additions and rotations have no instruction of their own on any CPU, while
SHA-256 runs 4 x faster on those that have one and says nothing about the rest.

Fixed work and the best of several rounds: a background task makes some rounds slower and none faster.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

COPY_BYTES: Final = 64 * 1024 * 1024
"""Larger than the last-level cache of any desktop CPU: memory is measured, not the cache."""

HASH_BYTES: Final = 8 * 1024 * 1024
ROUNDS: Final = 12
BUDGET_S: Final = 0.4
"""For each of the two: slow machines do fewer rounds."""

REFERENCE_COPY_GBPS: Final = 17.0
REFERENCE_HASH_GBPS: Final = 1.2
"""A score of 100: one core of the 2-core EPYC cloud machine on which docs/BENCHMARKS.md was measured."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    copy_gbps: float
    """Gigabytes (10^9) a second, read and written once each."""
    hash_gbps: float
    score: int
    """Geometric mean of both against the reference, which has 100."""

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def benchmark() -> Benchmark:
    """Measure, for at most about 0.9 s."""
    # Filled, not zeroed: a zeroed block is one shared page until written, and would be read from cache.
    source, view = b"\x55" * COPY_BYTES, memoryview(bytearray(COPY_BYTES))

    def copy() -> None:
        view[:] = source

    copy_gbps = COPY_BYTES / _best(copy) / 1e9
    text = bytes(HASH_BYTES)
    hash_gbps = HASH_BYTES / _best(lambda: hashlib.blake2b(text).digest()) / 1e9
    score = 100 * math.sqrt(copy_gbps / REFERENCE_COPY_GBPS * hash_gbps / REFERENCE_HASH_GBPS)
    return Benchmark(round(copy_gbps, 2), round(hash_gbps, 3), round(score))


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest round; the first, which pays for page faults, does not count."""
    work()
    best, ends = math.inf, time.perf_counter() + BUDGET_S
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - began)
        if now > ends:
            break
    return best
