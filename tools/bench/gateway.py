"""The gateway beside a bare engine, a bare proxy and LiteLLM: same machine, same run, rounds interleaved.

    python tools/bench/gateway.py [--quick] [--json FILE] [--markdown] [--litellm-python PATH]

LiteLLM takes part where it is installed (`python -m venv litellm; litellm/bin/pip install "litellm[proxy]"`,
then `--litellm-python litellm/bin/python`). Everything is on 127.0.0.1; the engine behind all of them is
fake_engine.py, which answers at once, so that what is measured is what stands before it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent.parent)

from tools.bench import systems  # noqa: E402
from tools.bench.systems import System  # noqa: E402

MODEL = "fake"
TOKENS = 100
"""Chunks of every streamed answer."""
PACE_MS = 30
"""Between two chunks of a paced stream: 33 tokens/s, what people read at and small models write at."""
MOST_BUSY_PERCENT = 10
"""Above it a round says more about the neighbours: with test suites beside it the bare proxy of one run made
7,760, 2,546 and 3,140 requests/s in three rounds."""


@dataclass(frozen=True)
class Workload:
    name: str
    clients: int
    stream: bool
    tokens: int


SHORT = Workload("short answers, 16 clients", 16, stream=False, tokens=1)
STREAM = Workload("100 chunks streamed, 16 clients", 16, stream=True, tokens=TOKENS)
PACED = Workload("64 paced streams", 64, stream=True, tokens=TOKENS)
PHASES: tuple[tuple[tuple[Workload, ...], tuple[str, ...]], ...] = (
    ((SHORT, STREAM), ()),
    ((PACED,), ("--interval-ms", str(PACE_MS))),
)
"""Workloads, and how the engine behind all systems is started for them."""

Measured = dict[str, float]


def measure(system: System, workload: Workload, seconds: float) -> Measured:
    """One round of one workload; every figure is of this round alone."""
    command = [
        *(sys.executable, str(HERE / "load.py"), system.url, "--model", MODEL, "--key", system.key),
        *("--clients", str(workload.clients), "--seconds", str(seconds), "--tokens", str(workload.tokens)),
        *(["--stream"] if workload.stream else []),
    ]
    before = system.cpu_s()
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90, check=False)
    cpu = system.cpu_s() - before
    if said.returncode:
        raise RuntimeError(f"the load client failed at {system.name}:\n{said.stderr[-2000:]}")
    result = json.loads(said.stdout)
    if result["failures"] or not result["answers"]:
        raise RuntimeError(
            f"{system.name}, {workload.name}: {result['failures']} requests failed of "
            f"{result['answers'] + result['failures']}; the last said: {result['said']}"
        )
    chunks = result["answers"] * workload.tokens
    measured = {
        "per_s": result["answers_per_s"] * (workload.tokens if workload.stream else 1),
        "p50_ms": (result["ttft_ms"] or result["latency_ms"])["p50"],
        "p99_ms": (result["ttft_ms"] or result["latency_ms"])["p99"],
        "cpu_us": cpu / chunks / max(1, len(system.processes)) * 1e6,
    }
    per_s, p50, p99, cpu_us = measured.values()
    print(
        f"  {system.name:12} {workload.name:32} {per_s:10.0f} /s"
        f"   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   {cpu_us:6.0f} us CPU",
        file=sys.stderr,
    )
    return measured


def same_answer(system: System, reference: System, workload: Workload) -> None:
    """Raises if the system's text is not the engine's: a fast wrong answer is no result."""
    texts = [_text(one, workload) for one in (reference, system)]
    if texts[0] != texts[1]:
        raise RuntimeError(
            f"{system.name} answered {texts[1][:80]!r} where the engine said {texts[0][:80]!r}"
        )


def _text(system: System, workload: Workload) -> str:
    import http.client

    connection = http.client.HTTPConnection(system.url.removeprefix("http://"), timeout=60)
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": workload.tokens,
        "temperature": 0,
        "stream": True,
    }
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {system.key}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        lines = answer.read().decode().splitlines()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{system.name} answered {answer.status}: {' '.join(lines)[:300]}")
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@contextlib.contextmanager
def everything(
    given: argparse.Namespace, folder: Path, engine_options: Sequence[str]
) -> Iterator[list[System]]:
    """All systems that take part, the bare engine first."""
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(systems.engine(given.engine, folder / "engine.log", engine_options))
        ways: dict[str, Callable[[], contextlib.AbstractContextManager[System]]] = {
            "proxy": lambda: systems.bare_proxy(engine.url, folder / "proxy.log"),
            "one": lambda: systems.one_node(engine.url, folder),
            "two": lambda: systems.two_nodes(engine.url, folder, MODEL),
            "litellm": lambda: systems.litellm(given.litellm_python, engine.url, folder, MODEL),
        }
        if not systems.has_litellm(given.litellm_python):
            print("LiteLLM is not installed here, so it takes no part (see --help)", file=sys.stderr)
            del ways["litellm"]
        yield [
            engine,
            *(stack.enter_context(way()) for name, way in ways.items() if name not in given.without),
        ]


def run(given: argparse.Namespace) -> dict[str, Any]:
    seconds, rounds = (1.5, 1) if given.quick else (4.0, 3)
    collected: dict[str, dict[str, list[Measured]]] = {}
    memory: dict[str, float] = {}
    busy_percent = psutil.cpu_percent(interval=2)
    if busy_percent > MOST_BUSY_PERCENT:
        print(
            f"WARNING: this machine is {busy_percent:.0f} % busy with other work; do not quote these figures",
            file=sys.stderr,
        )
    for workloads, engine_options in PHASES:
        with (
            tempfile.TemporaryDirectory(prefix="opengateway-bench-") as folder,
            everything(given, Path(folder), engine_options) as taking_part,
        ):
            for system in taking_part:
                same_answer(system, taking_part[0], workloads[-1])
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", file=sys.stderr)
                for workload, system in itertools.product(workloads, taking_part):
                    rounds_so_far = collected.setdefault(system.name, {}).setdefault(workload.name, [])
                    rounds_so_far.append(measure(system, workload, seconds))
            for system in taking_part:
                memory[system.name] = max(memory.get(system.name, 0.0), system.rss_mb())
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "busy_percent_before": busy_percent,
        "rounds": rounds,
        "seconds": seconds,
        "rss_mb": memory,
        "workloads": {
            name: {
                workload: {key: statistics.median(one[key] for one in found) for key in found[0]}
                for workload, found in per.items()
            }
            for name, per in collected.items()
        },
    }


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/BENCHMARKS.md: figures, then how many times LiteLLM (or the bare proxy) that is."""
    measured = result["workloads"]
    yardsticks = [name for name in ("bare proxy", "LiteLLM") if name in measured]
    head = ["", "requests/s", "p50 / p99 ms", "tokens/s", "TTFT p50 / p99 ms", "CPU us/chunk", "memory MB"]
    head += [f"x {name}: req/s, tokens/s" for name in yardsticks]
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for name, per in measured.items():
        short, stream, paced = (per[workload.name] for workload in (SHORT, STREAM, PACED))
        row = [
            name,
            f"{short['per_s']:,.0f}",
            f"{short['p50_ms']:.1f} / {short['p99_ms']:.1f}",
            f"{stream['per_s']:,.0f}",
            f"{stream['p50_ms']:.1f} / {stream['p99_ms']:.1f}",
            f"{paced['cpu_us']:.0f}",
            f"{result['rss_mb'][name]:.0f}",
        ]
        for yardstick in yardsticks:
            ratios = [
                per[workload.name]["per_s"] / measured[yardstick][workload.name]["per_s"]
                for workload in (SHORT, STREAM)
            ]
            row.append(", ".join(f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}" for ratio in ratios))
        rows.append(row)
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    busy = f"{result['busy_percent_before']:.0f} % busy with other work before the start"
    rounds = f"median of {result['rounds']} rounds of {result['seconds']} s each"
    return f"{result['machine']}, {busy}; {rounds}.\n\n{table}\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--markdown", action="store_true", help="print only the table, for docs/BENCHMARKS.md"
    )
    parser.add_argument("--litellm-python", default=sys.executable, help="the Python that has litellm[proxy]")
    parser.add_argument("--engine", type=Path, default=HERE / "fake_engine.py", help="the engine behind all")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=["proxy", "one", "two", "litellm"],
        help="leave one out",
    )
    given = parser.parse_args()
    # SIGTERM too ends the nodes: an exception goes through the blocks that started them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result = run(given)
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    print(markdown(result))


if __name__ == "__main__":
    main()
