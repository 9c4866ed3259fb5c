"""What a relay costs: a round trip and a stream of bytes, direct and through a relay, side by side.

    python tools/bench/relay.py [--json] [--messages N] [--megabytes N]

Three processes on loopback: who asks, the relay, and who answers, each the product's own Wire on uvloop.
`added` is the median round trip through the relay less the direct one, halved: what one passage through
the relay takes, both of its sessions' sealing and opening included. The relay's quota is off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

import uvloop  # noqa: E402

from opengateway.identity import Identity, network_id  # noqa: E402
from opengateway.transport.zmq_wire import zmq_wire  # noqa: E402
from opengateway.units import NodeId  # noqa: E402
from opengateway.wire.hub import Wire  # noqa: E402
from opengateway.wire.messages import Chunks, Grant, Message  # noqa: E402
from opengateway.wire.relay import RelayLimits  # noqa: E402
from opengateway.wire.relay_endpoint import RelayEndpoint  # noqa: E402
from opengateway.wire.relay_messages import Reserved  # noqa: E402

NET = network_id("bench")
PIECE = "x" * 60_000
WARM_UP = 100


class Node:
    """A handler that answers every Grant with it, and counts bytes."""

    def __init__(self) -> None:
        self.identity = Identity.generate()
        self.up: set[NodeId] = set()
        self.bytes = 0
        self.reserved = False
        self.wire: Wire = zmq_wire(
            self.identity, NET, "", record=lambda: b"", handler=self, relay=RelayLimits(bytes_per_s=0)
        )
        self.answer: asyncio.Future[None] | None = None

    def peer_up(self, peer: NodeId, *_: object) -> None:
        self.up.add(peer)

    def peer_down(self, peer: NodeId, *_: object) -> None:
        self.up.discard(peer)

    def dial_failed(self, *why: str) -> None:
        raise SystemExit(": ".join(why))

    def message(self, peer: NodeId, message: Message) -> None:
        if isinstance(message, Reserved):
            self.reserved = True
        elif isinstance(message, Chunks):
            self.bytes += len(message.items[0])
        elif isinstance(message, Grant):
            if self.answer is not None:
                self.answer.set_result(None)
            else:
                self.wire.send(peer, message)


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110 - a benchmark's start, and the receiver's millisecond of 2 s
        await asyncio.sleep(0.001)


def relay_process(pipe: Connection) -> None:
    async def main() -> None:
        node = Node()
        port = await node.wire.start("127.0.0.1")
        node.wire.relaying.relay.endpoint = f"tcp://127.0.0.1:{port}"
        pipe.send((node.identity.node_id, port))
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        pipe.send(time.process_time())
        await node.wire.close()

    uvloop.run(main())


def answering_process(pipe: Connection) -> None:
    async def main() -> None:
        node = Node()
        port = await node.wire.start("127.0.0.1")
        relay, where = pipe.recv()
        node.wire.dial(f"tcp://127.0.0.1:{where}", relay)
        await until(lambda: relay in node.up)
        node.wire.relaying.reserve(relay)
        await until(lambda: node.reserved)
        pipe.send((node.identity.node_id, port))
        wanted = await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        while wanted:
            await until(lambda wanted=wanted: node.bytes >= wanted)
            pipe.send(time.perf_counter())
            node.bytes = 0
            wanted = await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await node.wire.close()

    uvloop.run(main())


async def round_trips(node: Node, peer: NodeId, count: int) -> float:
    """Median in ms."""
    taken = []
    for n in range(count + WARM_UP):
        node.answer = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        node.wire.send(peer, Grant(1, n))
        await node.answer
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken[WARM_UP:])


async def stream(node: Node, peer: NodeId, megabytes: int, pipe: Connection) -> float:
    """MB/s, to the last byte at the receiver."""
    pieces = megabytes * 1_000_000 // len(PIECE)
    pipe.send(pieces * len(PIECE))
    began = time.perf_counter()
    for n in range(pieces):
        while not node.wire.send(peer, Chunks(1, n, [PIECE])):  # noqa: ASYNC110 - until it has room
            await asyncio.sleep(0.0005)
        if n % 8 == 0:
            await asyncio.sleep(0)
    ended: float = await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    return pieces * len(PIECE) / (ended - began) / 1e6


async def measure(messages: int, megabytes: int, pipes: list[Connection]) -> dict[str, float]:
    relay_pipe, far_pipe = pipes
    relay, relay_port = relay_pipe.recv()
    far_pipe.send((relay, relay_port))
    far, far_port = far_pipe.recv()
    found: dict[str, float] = {}
    for name in ("direct", "relayed"):
        node = Node()
        await node.wire.start("127.0.0.1")
        through = RelayEndpoint(relay, f"tcp://127.0.0.1:{relay_port}", far)
        node.wire.dial(str(through) if name == "relayed" else f"tcp://127.0.0.1:{far_port}", far)
        await until(lambda node=node: far in node.up)
        found[f"{name}_ms"] = await round_trips(node, far, messages)
        found[f"{name}_mb_per_s"] = await stream(node, far, megabytes, far_pipe)
        await node.wire.close()
        await asyncio.sleep(0.5)
    far_pipe.send(0)
    relay_pipe.send(None)
    found["relay_cpu_s_per_gb"] = relay_pipe.recv() / megabytes * 1000
    found["added_ms"] = (found["relayed_ms"] - found["direct_ms"]) / 2
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="What a relay costs.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--megabytes", type=int, default=200)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes, children = [], []
    for target in (relay_process, answering_process):
        ours, theirs = context.Pipe()
        child = context.Process(target=target, args=(theirs,), daemon=True)
        child.start()
        pipes.append(ours)
        children.append(child)
    found = uvloop.run(measure(arguments.messages, arguments.megabytes, pipes))
    for child in children:
        child.join(5)
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:20} {value:10.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
