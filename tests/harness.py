"""Real nodes for end-to-end tests.

    def test_two_nodes_meet(tmp_path: Path) -> None:
        network = private_network()
        with Node(tmp_path, "a", network, engine={"kind": "pocket"}) as a, Node(
            tmp_path, "b", network, wire={"bootstrap": [a.endpoint]}
        ) as b:
            until(lambda: b.get("/node/peers")["peers"], "b sees a")

Each node is the installed program, started as a user would, with its own home and free ports; nothing of it
outlives the block, and a process that it leaves behind fails the test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tools import local_node
from tools.local_node import NodeFailed, private_network, processes_of

__all__ = ["Node", "NodeFailed", "private_network", "processes_of", "until"]

T = TypeVar("T")

PATIENCE_S = 20.0
"""For anything that a test waits for: far above what it takes, so that a busy machine fails nothing."""


class Node(local_node.LocalNode):
    """`LocalNode` that is told its settings by section and fails a test that leaves a process behind."""

    def __init__(
        self, folder: Path, name: str = "a", network: Mapping[str, Any] | None = None, **sections: Any
    ) -> None:
        """`sections`: whole sections or top-level keys of config.json, laid over `network` (a network of
        its own if None)."""
        config = private_network() if network is None else network
        super().__init__(folder, name=name, config=local_node.merged(config, sections))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is None and self.left_behind:
            raise AssertionError(f"node {self.name} left processes behind: {self.left_behind}")


def until(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The first true value of `condition`, polled; `what` names in the failure what did not come about."""
    deadline = time.monotonic() + patience_s
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s in vain until {what}; last seen: {value!r}")
        time.sleep(0.02)
