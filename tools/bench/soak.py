"""Load and soak with the pocket model: one node, and four of which three serve.

    .venv/bin/python tools/bench/soak.py load [--seconds 8] [--clients 1 8 64 256 512] [--rates 5 20]
    .venv/bin/python tools/bench/soak.py soak [--minutes 60] [--clients 16] [--png FILE]

`load` prints a table a network: clients that ask again at once (closed), requests at random times (open),
long prompts and many short ones. `soak` runs four nodes under the same load all along and samples memory,
file descriptors and threads of each; exit 1 if one grew by more than a twentieth or an answer was wrong. A
request that is refused with 429 or 503 is counted as that, a broken or missing one as a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

from tools.bench.watch import Watch, Watched  # noqa: E402
from tools.local_node import LocalNode, merged, private_network  # noqa: E402

SLOTS = 4
WORKERS = 3
SHORT = ("short", "What is 2+2?", 8)
LONG = ("long prompt", "Tell me about the fox. " * 40, 32)
MAY_GROW = 0.05
POCKET = {"engine": {"kind": "pocket", "slots": SLOTS}}
READY_S = 60.0
LOAD_HEAD = """\
| work | load | answers/s | tokens/s | TTFT p50 / p99 ms | refused | failed | MB | CPU % of each |
|---|---|---:|---:|---:|---:|---:|---:|---:|"""
SOAK_HEAD = """\
| node | MB at the end | grew | descriptors | grew | threads | grew |
|---|---:|---:|---:|---:|---:|---:|"""
MEASURED = ("rss_mb", "descriptors", "threads")


@contextlib.contextmanager
def network(folder: Path, workers: int) -> Iterator[list[LocalNode]]:
    """The first is asked. Without workers it serves itself, else the workers do."""
    config = private_network()
    with contextlib.ExitStack() as stack:
        if not workers:
            yield [stack.enter_context(LocalNode(folder, name="single", config=merged(config, POCKET)))]
            return
        serving = [
            stack.enter_context(LocalNode(folder, name=f"worker-{n}", config=merged(config, POCKET)))
            for n in range(workers)
        ]
        knows = {"wire": {"bootstrap": [node.endpoint for node in serving]}}
        asker = stack.enter_context(LocalNode(folder, name="asker", config=merged(config, knows)))
        _until_served(asker, workers)
        yield [asker, *serving]


def _until_served(node: LocalNode, workers: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        peers = node.get("/node/peers")["peers"]
        if sum(peer["state"] == "up" and bool(peer["models"]) for peer in peers) >= workers:
            return
        time.sleep(0.1)
    raise SystemExit("the nodes did not find each other")


def ask(url: str, work: tuple[str, str, int], seconds: float, *more: object) -> dict[str, Any]:
    _, text, tokens = work
    command = [sys.executable, str(ROOT / "tools/bench/load.py"), url, "--model", "pocket", "--stream"]
    command += ["--text", text, "--tokens", str(tokens), "--seconds", str(seconds), *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def load(given: argparse.Namespace) -> int:
    failures = 0
    for workers in (0, WORKERS):
        print(f"\n{'one node' if not workers else f'four nodes, {WORKERS} serve'}, {SLOTS} slots each\n")
        print(LOAD_HEAD)
        cases: list[tuple[tuple[str, str, int], str, tuple[object, ...]]] = [
            (SHORT, f"{clients} clients", ("--clients", clients)) for clients in given.clients
        ]
        cases.append((LONG, "16 clients", ("--clients", 16)))
        cases += [(SHORT, f"{rate:g}/s at random", ("--rate", rate)) for rate in given.rates]
        with tempfile.TemporaryDirectory() as folder, network(Path(folder), workers) as nodes:
            for work, name, options in cases:
                with Watch([(node.name, node.pid) for node in nodes], 0.5) as watch:
                    found = ask(nodes[0].http, work, given.seconds, *options)
                failures += found["failures"]
                print(_row(work[0], name, found, watch.nodes), flush=True)
                if found["failures"]:
                    print(f"  failed: {found['said']}", file=sys.stderr)
    return failures


def _row(work: str, name: str, found: dict[str, Any], nodes: Sequence[Watched]) -> str:
    ttft = found["ttft_ms"]
    ends = f"{ttft['p50']:.0f} / {ttft['p99']:.0f} | {found['refused']} | {found['failures']}"
    most = max(sample.rss_mb for node in nodes for sample in node.samples)
    cpu = ", ".join(f"{_cpu(node):.0f}" for node in nodes)
    return (
        f"| {work} | {name} | {found['answers_per_s']:.1f} | {found['events'] / found['seconds']:.0f} "
        f"| {ends} | {most:.0f} | {cpu} |"
    )


def _cpu(node: Watched) -> float:
    first, last = node.samples[0], node.samples[-1]
    return 100 * (last.cpu_s - first.cpu_s) / max(last.at_s - first.at_s, 1e-9)


def soak(given: argparse.Namespace) -> int:
    seconds = given.minutes * 60
    with tempfile.TemporaryDirectory() as folder, network(Path(folder), WORKERS) as nodes:
        pids = [(node.name, node.pid) for node in nodes]
        with Watch(pids, max(1.0, seconds / 600)) as watch:
            found = ask(nodes[0].http, SHORT, seconds, "--clients", given.clients)
    grown = 0
    print(SOAK_HEAD)
    for node in watch.nodes:
        last, growth = node.samples[-1], {what: node.growth(what) for what in MEASURED}
        grown += sum(value > MAY_GROW for value in growth.values())
        cells = " | ".join(f"{getattr(last, what):.0f} | {growth[what]:+.1%}" for what in MEASURED)
        print(f"| {node.name} | {cells} |")
    print(
        f"\n{found['answers']} answers in {found['seconds'] / 60:.1f} min, {found['refused']} refused, "
        f"{found['failures']} failed {found['said'][:200]}"
    )
    if given.png:
        _draw(watch.nodes, given.png)
    return grown + int(found["failures"])


def _draw(nodes: Sequence[Watched], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(MEASURED), 1, sharex=True, figsize=(8, 7), layout="constrained")
    for axis, what in zip(axes, MEASURED, strict=True):
        for node in nodes:
            axis.plot(
                [sample.at_s / 60 for sample in node.samples],
                [getattr(sample, what) for sample in node.samples],
                label=node.name,
            )
        axis.set_ylabel({"rss_mb": "resident MB", "descriptors": "file descriptors"}.get(what, what))
        axis.set_ylim(bottom=0)
    axes[0].legend(frameon=False, ncols=len(nodes))
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=120)
    print(f"drawn: {path}")


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    kinds = asked.add_subparsers(dest="kind", required=True)
    loads = kinds.add_parser("load")
    loads.add_argument("--seconds", type=float, default=8.0)
    loads.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 256, 512])
    loads.add_argument("--rates", type=float, nargs="*", default=[5.0, 20.0])
    soaks = kinds.add_parser("soak")
    soaks.add_argument("--minutes", type=float, default=60.0)
    soaks.add_argument("--clients", type=int, default=16)
    soaks.add_argument("--png", type=Path)
    given = asked.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    return 1 if (load if given.kind == "load" else soak)(given) else 0


if __name__ == "__main__":
    sys.exit(main())
