#!/usr/bin/env python3
"""The node's own routing code over a network of 10,000 or 100,000 nodes that only exist here.

    python tools/simulate_network.py [--nodes N] [--seconds S] [--load L] [--seed N] [--png FILE] [--json]

Prints how near answers came from, what the search asked and cost, how busy the machines were, who waited, and
what earning was worth. The same seed gives the same figures, but for CPU times. Exit code 1 if a bound of
docs/SEARCH.md was broken. --png needs matplotlib. What is simulated and what is not: docs/SEARCH.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.network.run import Run, Setting  # noqa: E402

MOST_QUOTES = 12
"""At p95."""
MOST_CPU_MS = 5.0
"""At p95; the greatest is what the machine's other programs make of it."""


def text(figures: dict[str, Any]) -> str:
    rings = ", ".join(f"{ring} {part:.0%}" for ring, part in figures["rings"].items() if part >= 0.0005)
    quotes = "p50 {quotes_p50:.0f}, p95 {quotes_p95:.0f}, p99 {quotes_p99:.0f}".format(**figures)
    cpu = "p50 {cpu_ms_p50:.2f} ms, p95 {cpu_ms_p95:.2f} ms, most {cpu_ms_max:.1f} ms".format(**figures)
    capacity = "p50 {capacity_s_p50:.2f} s, p95 {capacity_s_p95:.1f} s".format(**figures)
    rows = [
        ("answered", f"{figures['answered']:,}; {figures['refused_share']:.1%} refused after 60 s"),
        ("rings", rings),
        ("median", f"{figures['median_ring']}, {figures['median_km']:,.0f} km"),
        ("quotes a request", f"{quotes} (bound: {MOST_QUOTES} at p95)"),
        ("places asked", f"{figures['places_asked_mean']:.2f} on the average"),
        ("decisions, CPU", f"{cpu} a request (bound: {MOST_CPU_MS:.0f} ms at p95)"),
        ("first place full", f"{figures['first_was_full']:.1%}; then {capacity} to a slot"),
        ("utilisation", f"{figures['utilisation']:.0%} of the slots that are there"),
        ("broken off", f"{figures['broken_off']:,} answers whose worker left"),
    ]
    lines = [f"{name:20} {words}" for name, words in rows] + ["", "waiting by balance"]
    for name, waits in figures["waiting"].items():
        lines.append(
            f"  {name:32} {waits['requests']:>9,} answered, mean {waits['mean_s']:5.2f} s, "
            f"p95 {waits['p95_s']:6.2f} s, {waits['refused']:.1%} refused"
        )
    lines += ["", "serving nodes by what they earned, lowest tenth first (credits a node: earned, received)"]
    lines += [
        f"  {group['earned'] / 1e6:9.3f}  {group['received'] / 1e6:9.3f}" for group in figures["fairness"]
    ]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    base = Setting()
    add = parser.add_argument
    add("--nodes", type=int, default=base.nodes, help="(%(default)s)")
    add("--seconds", type=float, default=base.seconds, help="of a day in time-lapse (%(default)s)")
    add("--load", type=float, default=base.load, help="of the slots there are (%(default)s)")
    add("--seed", type=int, default=base.seed, help="(%(default)s)")
    add("--json", action="store_true", help="every figure")
    add("--png", type=Path, metavar="FILE", help="draw it (needs matplotlib)")
    given = parser.parse_args(words)
    if given.nodes < 50 or given.seconds < 1 or not 0 < given.load <= 2:
        parser.error("at least 50 nodes and 1 second, and a load of at most 2")
    if given.png is not None and not _can_draw():
        parser.error("--png needs matplotlib: pip install matplotlib")
    began = time.process_time()
    figures = Run(Setting(given.nodes, given.seconds, given.load, given.seed)).run().as_json()
    figures |= {"nodes": given.nodes, "took_cpu_s": time.process_time() - began}
    print(json.dumps(figures, indent=1) if given.json else text(figures))
    print(f"{given.nodes:,} nodes in {figures['took_cpu_s']:.0f} s of CPU", file=sys.stderr)
    if given.png is not None:
        from tools.network.picture import draw

        draw(figures, given.png)
    return 0 if figures["quotes_p95"] <= MOST_QUOTES and figures["cpu_ms_p95"] <= MOST_CPU_MS else 1


def _can_draw() -> bool:
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    gc.disable()
    sys.exit(main())
