#!/usr/bin/env python3
"""What the ledger costs a streamed answer: two nodes, the same prompts with it and without it, in turns.

    python tools/bench/accounting.py [--seconds 5] [--rounds 5] [--clients 4] [--interval-ms 5] [--json FILE]

"Without" is the same pair of nodes at a price of nothing: free work opens no hold, sends no voucher and
writes no entry. The engine is fake_engine.py, paced as a fast GPU writes, because an engine without limits
measures how busy two cores can be and no answer that anybody reads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent.parent)

from tools.local_node import LocalNode, merged, private_network  # noqa: E402

TOKENS = 400
"""Of every answer: six instalments."""
PATIENCE_S = 30.0


@contextlib.contextmanager
def engine(interval_ms: float) -> Iterator[str]:
    command = [sys.executable, str(HERE / "fake_engine.py"), "--interval-ms", str(interval_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}/v1"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def pair(folder: Path, url: str, clients: int, percent: int) -> Iterator[list[LocalNode]]:
    """The asking one of two nodes whose price is `percent` of the reference, and the serving one."""
    network = private_network()
    serves = {
        "engine": {"kind": "openai", "url": url, "slots": clients},
        "price": {"multiplier_percent": percent},
    }
    with LocalNode(folder, name="serving", config=merged(network, serves)) as serving:
        known = {"wire": {"bootstrap": [serving.endpoint]}}
        with LocalNode(folder, name="asking", config=merged(network, known)) as asking:
            deadline = time.monotonic() + PATIENCE_S
            while not asking.get("/node/models")["network"]:
                if time.monotonic() > deadline:
                    raise RuntimeError("the model was never offered")
                time.sleep(0.05)
            yield [asking, serving]


def cpu_s(nodes: list[LocalNode]) -> float:
    """Of both nodes so far, without the engine: seconds."""
    times = [psutil.Process(node.process.pid).cpu_times() for node in nodes if node.process is not None]
    return sum(one.user + one.system for one in times)


def measure(nodes: list[LocalNode], clients: int, seconds: float) -> dict[str, float]:
    node, before = nodes[0], cpu_s(nodes)
    command = [
        *(sys.executable, str(HERE / "load.py"), node.http, "--model", "fake"),
        *("--clients", str(clients), "--seconds", str(seconds), "--tokens", str(TOKENS), "--stream"),
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90, check=False)
    if said.returncode:
        raise RuntimeError(f"the load client failed:\n{said.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(said.stdout)
    if result["failures"] or not result["answers"]:
        raise RuntimeError(f"{result['failures']} requests failed; the last said: {result['said']}")
    return {
        "tokens_per_s": result["answers_per_s"] * TOKENS,
        "ttft_ms": result["ttft_ms"]["p50"],
        "cpu_us": (cpu_s(nodes) - before) / result["answers"] * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4, help="answers at once")
    parser.add_argument("--interval-ms", type=float, default=5.0, help="between two tokens of one answer")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(engine(given.interval_ms))
        nodes = {
            name: stack.enter_context(pair(folder / name, url, given.clients, percent))
            for name, percent in (("with", 1), ("without", 0))
        }
        for _ in range(given.rounds):
            for name, both in nodes.items():
                rounds[name].append(measure(both, given.clients, given.seconds))
        entries = {name: both[0].get("/node/ledger/balance")["entries"] for name, both in nodes.items()}
    if entries["without"] != 1:
        raise RuntimeError(f"the free pair wrote {entries['without']} entries: this compares nothing")
    middle = {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for name, found in rounds.items()
    }
    for name, figures in middle.items():
        print(
            f"{name:8} {figures['tokens_per_s']:9.0f} tokens/s   first token {figures['ttft_ms']:6.1f} ms   "
            f"CPU of both nodes {figures['cpu_us']:7.0f} us an answer"
        )
    less = 1 - middle["with"]["tokens_per_s"] / middle["without"]["tokens_per_s"]
    print(f"accounting takes {less * 100:.1f} % of the tokens/s; {entries['with']} entries were written")
    if given.json:
        given.json.write_text(
            json.dumps({"rounds": rounds, "median": middle, "takes": less}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
