"""Two real nodes that know each other, and an engine that takes its time."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import Node, private_network, until

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Pair:
    """`asking` serves nothing itself; `serving` has the engine."""

    asking: Node
    serving: Node


@contextlib.contextmanager
def joined(folder: Path, **engine: object) -> Iterator[Pair]:
    """Two nodes, each of which can see what the other offers."""
    network = private_network()
    with contextlib.ExitStack() as nodes:
        serving = nodes.enter_context(Node(folder, "serving", network, engine=engine))
        known = {"bootstrap": [serving.endpoint]}
        asking = nodes.enter_context(Node(folder, "asking", network, wire=known))
        until(lambda: asking.get("/node/models")["network"], "the model is offered")
        yield Pair(asking, serving)


@contextlib.contextmanager
def paced_engine(interval_ms: float = 20.0, chunks: int = 50) -> Iterator[str]:
    """The URL of an OpenAI-compatible server that gives one token every `interval_ms`, and its length by
    `max_tokens`: what tests about time need, and no model can promise."""
    command = [sys.executable, str(ROOT / "tools/bench/fake_engine.py"), "--interval-ms", str(interval_ms)]
    process = subprocess.Popen(
        [*command, "--chunks", str(chunks)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}/v1"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
