"""Parts over four whole nodes whose engines are 1, 2, 3 and 4 times as fast: how near the end comes to the
ideal one, at which all four end at the same moment. tests/swarm/test_shares.py is the same, small."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import Node, private_network, until
from paced_engines import MODEL, READS, Engines, paced_engines

from opengateway.routing.parts import TEXTS_PER_PART

SPEEDS = {"one": 1, "two": 2, "three": 3, "four": 4}
TOKENS = 40
"""Of each answer."""
SLOWEST_S = 4.0
"""What one part takes on the slowest node; on the fastest a quarter."""
LIMIT = 1.15
WORDS = READS * TOKENS / TEXTS_PER_PART
"""Of each text, so that a part of texts takes as long as an answer."""


@dataclass
class Four:
    asking: Node
    workers: dict[str, Node]
    engines: Engines
    slowest_s: float

    def ideal_s(self, parts: int) -> float:
        return parts * self.slowest_s / sum(SPEEDS.values())


@contextlib.contextmanager
def four(folder: Path, slowest_s: float) -> Iterator[Four]:
    network = private_network()
    with contextlib.ExitStack() as stack:
        rates = {name: speed * TOKENS / slowest_s for name, speed in SPEEDS.items()}
        engines = stack.enter_context(paced_engines(rates))
        workers = {
            name: Node(folder, name, network, engine={"kind": "openai", "url": engines.url(name), "slots": 1})
            for name in SPEEDS
        }
        for worker in workers.values():
            worker.launch()
            stack.callback(worker.stop)
        known = [worker.wait_ready().endpoint for worker in workers.values()]
        asking = stack.enter_context(Node(folder, "asking", network, wire={"bootstrap": known}))
        until(lambda: offered(asking) == len(SPEEDS), "all four are offered")
        yield Four(asking, workers, engines, slowest_s)


def offered(asking: Node) -> int:
    return sum(int(model["nodes"]) for model in asking.get("/node/models")["network"])


def completions(count: int) -> tuple[str, dict[str, Any]]:
    half = [f"prompt {number}" for number in range(count // 2)]
    return "/v1/completions", {"model": MODEL, "prompt": half, "n": 2, "max_tokens": TOKENS}


def embeddings(count: int) -> tuple[str, dict[str, Any]]:
    word = "word " * (int(WORDS) - 1)
    return "/v1/embeddings", {"model": MODEL, "input": [f"{word}{n}" for n in range(count * TEXTS_PER_PART)]}


def whole(path: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
    """Everything that was asked for, in order."""
    if path == "/v1/embeddings":
        assert [row["embedding"][1] for row in answer["data"]] == list(range(len(body["input"])))
    else:
        assert [choice["index"] for choice in answer["choices"]] == list(
            range(body["n"] * len(body["prompt"]))
        )
        assert {len(choice["text"].split()) for choice in answer["choices"]} == {TOKENS}


def measured(lab: Four, path: str, body: dict[str, Any]) -> tuple[float, dict[str, Counter[str]]]:
    """Seconds, and what each engine did."""
    lab.engines.served()
    began = time.monotonic()
    status, answer = lab.asking.request("POST", path, body)
    took = time.monotonic() - began
    assert status == 200, answer
    whole(path, body, answer)
    return took, lab.engines.served()


def row(what: str, took: float, ideal: float, counts: dict[str, Counter[str]]) -> str:
    shares = "  ".join(f"{name} {counts[name]['answers'] + counts[name]['embeddings']}" for name in SPEEDS)
    return f"{what:<34} {took:6.2f} s   ideal {ideal:6.2f} s   {took / ideal:5.3f} x   {shares}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", [completions, embeddings])
def test_64_parts_end_within_115_percent_of_the_ideal_time(tmp_path: Path, first: Any) -> None:
    """The first time nobody has told how fast anybody is; then all know."""
    second = embeddings if first is completions else completions
    rows = []
    with four(tmp_path, SLOWEST_S) as lab:
        for known, what in (("unknown", first), ("known", first), ("known", second)):
            took, counts = measured(lab, *what(64))
            rows.append(
                (took / lab.ideal_s(64), row(f"{what.__name__}, {known}", took, lab.ideal_s(64), counts))
            )
            print(rows[-1][1], flush=True)
    assert all(ratio <= LIMIT for ratio, _ in rows), rows
