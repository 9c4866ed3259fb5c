"""Whole nodes in this process, by the dozen: for what is about the network rather than about one node.

    with Crowd(folder) as crowd:
        a = crowd.node("a")
        b = crowd.node("b", wire={"bootstrap": [crowd.where(a)]})
        crowd.kill(b)          # as kill -9 looks to others
        b = crowd.again(b)

Each is the node that `opengateway start` runs, with a home, a thread per actor and real sockets of its own;
30 ms and 13 threads each. They share the interpreter: this shows a network's behaviour, not its speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from actors.io_loop import IoLoop
from actors.kernel import Request
from actors.messages import DescribePeers
from opengateway.app.node import Node
from opengateway.config import parse
from opengateway.home import Home
from opengateway.identity import short
from opengateway.wire.hub import Wire
from tools.local_node import merged, private_network

PATIENCE_S = 10.0
BREATH_S = 30.0
AT_EASE_S = 0.1
"""Within which a loop with little to do takes up something new."""


class Crowd:
    """Every node of it ends with the `with` block."""

    def __init__(self, folder: Path, *, one_loop: bool = False, **sections: Any) -> None:
        """`sections`: of config.json, for all of them. Nobody finds anybody by itself unless told to.
        `one_loop`: the sockets of all are on one thread: 200 of them on one interpreter would spend most of
        their time handing it to each other."""
        self.folder = folder
        self._io = IoLoop() if one_loop else None
        self.nodes: list[Node] = []
        self._settings: dict[str, Any] = merged(
            merged(private_network(), {"wire": {"map_port": False}}),
            sections,
        )
        self._written: dict[str, Mapping[str, Any]] = {}

    def __enter__(self) -> Self:
        if self._io is not None:
            self._io.start()
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            node.stop()
        if self._io is not None:
            self._io.stop()

    def node(self, name: str, **sections: Any) -> Node:
        """A new one, or one that has been stopped: then with the home that it had."""
        home = Home(self.folder / name)
        home.prepare()
        settings = merged(copy.deepcopy(self._settings), {"node_name": name, **sections})
        self._written[name] = sections
        io = IoLoop(self._io) if self._io is not None else None
        node = Node(home, parse(settings, home.config), io=io)
        node.start()
        self.nodes.append(node)
        return node

    def breathe(self) -> None:
        """Wait until those who are here have time again: 200 that start at once on one interpreter would not
        answer each other within the seconds after which a peer counts as dead."""
        deadline = time.monotonic() + BREATH_S
        while self.nodes and time.monotonic() < deadline:
            began = time.monotonic()
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                on_loop(self.nodes[-1], lambda: None)
            if time.monotonic() - began < AT_EASE_S:
                return
            time.sleep(AT_EASE_S)

    def again(self, node: Node, **changed: Any) -> Node:
        """One that is gone comes back, on the port it had."""
        name = node.config.name
        sections = merged(dict(self._written[name]), {"wire": {"port": node.port.number}})
        return self.node(name, **merged(sections, changed))

    def stop(self, node: Node) -> None:
        """It says goodbye."""
        node.stop()
        self.nodes.remove(node)

    def kill(self, node: Node) -> None:
        """It says nothing: its connections close, as the system does for a process that is killed."""
        self._lose_voice(node)
        self.stop(node)

    def forget(self, node: Node) -> None:
        """Its memory of others, while it is stopped."""
        for file in (*node.home.path.glob("peers.db*"), node.home.dht_nodes):
            file.unlink(missing_ok=True)

    def _lose_voice(self, node: Node) -> None:
        async def close() -> None:
            carrier = wire(node)._carrier  # noqa: SLF001 - nothing in the product dies without a word
            await carrier.close()

        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            node.io.run(close(), PATIENCE_S)

    @staticmethod
    def where(node: Node) -> str:
        """Its entry for `wire.bootstrap`."""
        return f"127.0.0.1:{node.port.number}"


def wire(node: Node) -> Wire:
    switchboard = node.lines.switchboard
    assert switchboard is not None, "its wire is being restarted"
    return switchboard.wire


def on_loop(node: Node, what: Callable[[], Any]) -> Any:
    """Call this where the node's sockets live."""

    async def call() -> Any:
        return what()

    return node.io.run(call(), PATIENCE_S)


def ask(node: Node, question: Request[Any]) -> Any:
    """What the Registry answers."""
    return node.registry.ask(question).get(timeout=PATIENCE_S)


def rows(node: Node) -> dict[str, dict[str, Any]]:
    """`opengateway peers`, by short id."""
    return {row["short"]: row for row in ask(node, DescribePeers())}


def up(node: Node) -> set[str]:
    """Short ids of whom it has a session with."""
    return {name for name, row in rows(node).items() if row["state"] == "up"}


def name(node: Node) -> str:
    return short(node.identity.node_id)
