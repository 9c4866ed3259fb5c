"""What other people's suites are run against: a bare engine, and two nodes in front of the same engine."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opengateway.engines import llama_child
from tools.local_node import LocalNode, merged, private_network

KEY = "My API Key"
"""What openai's tests send."""
NAMES = ("gpt-6-astra", "gpt-3.5-turbo-instruct", "text-embedding-3-small", "model", "gpt-4o-mini")
"""Models that the suites ask for; llama.cpp answers to any name, a node by its aliases."""
CONTEXT = 1024
SLOTS = 4


@contextlib.contextmanager
def bare_engine(model: Path, *, embedding: bool = False) -> Iterator[str]:
    """llama.cpp as the node runs it, with the key that the tests send. Yields its base URL."""
    order: dict[str, Any] = {"model": str(model), "alias": "pocket", "slots": SLOTS, "threads": 1}
    order |= {"context": CONTEXT, "embedding": embedding, "key": KEY}
    process = subprocess.Popen(
        [sys.executable, "-P", llama_child.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}/v1"
    finally:
        process.stdin.close()
        process.wait(10)


@contextlib.contextmanager
def two_nodes(model: Path) -> Iterator[str]:
    """One serves the file, and the other, whose base URL is yielded, only asks."""
    engine = {"kind": "llama_server", "model": str(model), "slots": SLOTS, "threads": 1, "context": CONTEXT}
    network = private_network() | {"aliases": dict.fromkeys(NAMES, model.stem)}
    with (
        tempfile.TemporaryDirectory(prefix="opengateway-compat-") as folder,
        LocalNode(Path(folder), name="serving", config=merged(network, {"engine": engine})) as server,
        LocalNode(
            Path(folder),
            name="asking",
            config=merged(network, {"wire": {"bootstrap": [server.endpoint]}, "engine": {"kind": "none"}}),
        ) as asking,
    ):
        deadline = time.monotonic() + 30
        while not asking.get("/v1/models")["data"]:
            if time.monotonic() > deadline:
                raise RuntimeError("the two nodes did not meet")
            time.sleep(0.05)
        yield f"{asking.http}/v1"
