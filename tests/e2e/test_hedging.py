"""What asking a second place is worth to the reader: a worker whose first token is now and then seconds late,
alone and beside another."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import pytest
from harness import Node, private_network, until
from paced_engines import Engines, paced_engines
from sse import Streamed, chat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SPEEDS = {"often": 200.0, "other": 100.0}
"""Tokens/s. The one that is late is the faster one: everybody is sent there first."""
LATE_S, EVERY = 6.0, 15
REQUESTS = 75
TOKENS = 10


def offered(node: Node) -> int:
    return sum(int(model["nodes"]) for model in node.get("/node/models")["network"])


def first_tokens(asking: Node) -> list[float]:
    """Seconds until each."""
    waits = []
    for number in range(REQUESTS):
        began = time.monotonic()
        with Streamed(asking, chat(f"number {number}", max_tokens=TOKENS)) as answer:
            events = answer.events()
            next(event for event in events if event["choices"][0]["delta"].get("content"))
            waits.append(time.monotonic() - began)
            assert "[DONE]" in list(events)
    return waits


def at(waits: list[float], share: float) -> float:
    return sorted(waits)[math.ceil(share * len(waits)) - 1]


def measured(folder: Path, network: dict[str, Any], engines: Engines, workers: list[Node]) -> list[float]:
    """By a node that knows nothing of them yet."""
    known = [worker.endpoint for worker in workers]
    with Node(folder, f"asking{len(workers)}", network, wire={"bootstrap": known}) as asking:
        until(lambda: offered(asking) == len(workers), "all are offered")
        for name in SPEEDS:
            engines.late(name, LATE_S if name == "often" else 0.0, EVERY)
        waits = first_tokens(asking)
        counts = asking.get("/node/status")["jobs"]["failover"]
    shown = "  ".join(f"p{100 * share:.0f} {at(waits, share):5.2f} s" for share in (0.5, 0.9, 0.95, 0.99))
    print(f"{len(workers)} workers: {shown}  max {max(waits):5.2f} s  asked twice {counts['hedged']},"
          f" of which the second won {counts['hedges_won']}", flush=True)  # fmt: skip
    return waits


def test_a_second_place_takes_the_seconds_out_of_the_tail(tmp_path: Path) -> None:
    network = private_network()
    with contextlib.ExitStack() as stack:
        engines = stack.enter_context(paced_engines(SPEEDS))
        workers = []
        waits = {}
        for name in SPEEDS:
            engine = {"kind": "openai", "url": engines.url(name), "slots": 4}
            workers.append(stack.enter_context(Node(tmp_path, name, network, engine=engine)))
            # Its speed is known, so that everybody is sent to the faster one.
            workers[-1].post("/v1/completions", {"model": "paced", "prompt": "x", "max_tokens": 40})
            waits[len(workers)] = measured(tmp_path, network, engines, workers)
    assert at(waits[1], 0.95) > LATE_S
    assert at(waits[2], 0.95) < LATE_S / 2
