"""What a node adds to each answer while it has time enough: milliseconds, not requests/s.

    python tools/bench/added.py [--quick] [--json FILE] [--markdown]

gateway.py measures how much can go through; here nothing is at its limit, as with a real model behind. The
engine (fake_engine.py) takes 50 ms before an answer, or 30 ms for each of 100 tokens, and what comes on top
at 16 clients and at 64 streams is the gateway's. All systems in every round, one after the other; each figure
is the median of the rounds. What is promised: p50 <= 1 ms and p99 <= 5 ms more at 16 clients, and a p99
between two tokens of at most twice the engine's own at 64 streams.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent.parent)

from tools.bench import systems  # noqa: E402
from tools.bench.gateway import MOST_BUSY_PERCENT  # noqa: E402
from tools.bench.systems import System  # noqa: E402

MODEL = "fake"
FIRST_MS = 50
"""What a small model needs for a short prompt; 16 clients are then 320 requests/s."""
PACE_MS = 30
ADDED_P50_MS, ADDED_P99_MS, GAP_TIMES = 1.0, 5.0, 2.0
"""The promises."""


@dataclass(frozen=True)
class Scene:
    name: str
    figure: str
    """Which of the load client's figures is looked at."""
    words: tuple[str, ...]
    """To the load client."""
    engine: tuple[str, ...]


SCENES = (
    Scene(
        "whole answers, 16 clients",
        "latency_ms",
        ("--clients", "16", "--tokens", "1"),
        ("--first-ms", str(FIRST_MS)),
    ),
    Scene(
        "first token, 16 clients",
        "ttft_ms",
        ("--clients", "16", "--tokens", "1", "--stream"),
        ("--first-ms", str(FIRST_MS)),
    ),
    Scene(
        "between two tokens, 64 streams",
        "gap_ms",
        ("--clients", "64", "--tokens", "100", "--stream", "--gaps"),
        ("--interval-ms", str(PACE_MS)),
    ),
)
Figures = dict[str, float]


def measure(system: System, scene: Scene, seconds: float) -> Figures:
    command = [sys.executable, str(HERE / "load.py"), system.url, "--model", MODEL, "--key", system.key]
    command += ["--seconds", str(seconds), *scene.words]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90, check=False)
    if said.returncode:
        raise RuntimeError(f"the load client failed at {system.name}:\n{said.stderr[-2000:]}")
    result = json.loads(said.stdout)
    if result["failures"] or not result["answers"]:
        raise RuntimeError(f"{system.name}: {result['failures']} requests failed; {result['said']}")
    found: Figures = result[scene.figure]
    print(
        f"  {system.name:12} {scene.name:32} p50 {found['p50']:8.2f} ms   p99 {found['p99']:8.2f} ms",
        file=sys.stderr,
    )
    return found


@contextlib.contextmanager
def standing(folder: Path, engine_options: Sequence[str]) -> Iterator[list[System]]:
    """The bare engine first."""
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(
            systems.engine(HERE / "fake_engine.py", folder / "engine.log", engine_options)
        )
        yield [
            engine,
            stack.enter_context(systems.bare_proxy(engine.url, folder / "proxy.log")),
            stack.enter_context(systems.one_node(engine.url, folder)),
            stack.enter_context(systems.two_nodes(engine.url, folder, MODEL)),
        ]


def run(*, quick: bool) -> dict[str, Any]:
    seconds, rounds = (4.0, 1) if quick else (10.0, 3)
    busy = psutil.cpu_percent(interval=2)
    if busy > MOST_BUSY_PERCENT:
        print(f"WARNING: {busy:.0f} % busy with other work; these figures say nothing", file=sys.stderr)
    found: dict[str, dict[str, list[Figures]]] = {}
    for scene in SCENES:
        with (
            tempfile.TemporaryDirectory(prefix="opengateway-added-") as folder,
            standing(Path(folder), scene.engine) as taking_part,
        ):
            for system in taking_part:
                measure(system, scene, 1.0)  # what is done once per connection and model is done
            for _ in range(rounds):
                for system in taking_part:
                    found.setdefault(scene.name, {}).setdefault(system.name, []).append(
                        measure(system, scene, seconds)
                    )
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "busy_percent_before": busy,
        "rounds": rounds,
        "seconds": seconds,
        "scenes": {
            scene: {
                name: {key: statistics.median(one[key] for one in each) for key in ("p50", "p99")}
                for name, each in per.items()
            }
            for scene, per in found.items()
        },
    }


def markdown(result: dict[str, Any]) -> str:
    rows = ["| | p50 / p99 ms | more than the engine: p50 / p99 ms | p99 / the engine's | promise |"]
    rows.append("|---|---:|---:|---:|---|")
    for scene, per in result["scenes"].items():
        own = per["bare engine"]
        for name, got in per.items():
            p50, p99 = (got[key] - own[key] for key in ("p50", "p99"))
            times = got["p99"] / own["p99"]
            kept = times <= GAP_TIMES if "tokens" in scene else p50 <= ADDED_P50_MS and p99 <= ADDED_P99_MS
            said = "" if name.startswith("bare") else "kept" if kept else "not kept"
            rows.append(
                f"| {scene}: {name} | {got['p50']:.2f} / {got['p99']:.2f} | {p50:+.2f} / {p99:+.2f} "
                f"| {times:.2f} | {said} |"
            )
    busy = f"{result['busy_percent_before']:.0f} % busy with other work before the start"
    rounds = f"median of {result['rounds']} rounds of {result['seconds']} s each"
    return f"{result['machine']}, {busy}; {rounds}.\n\n" + "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--markdown", action="store_true", help="print only the table")
    given = parser.parse_args()
    # SIGTERM too ends the nodes: an exception goes through the blocks that started them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = run(quick=given.quick)
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    print(markdown(result))


if __name__ == "__main__":
    main()
