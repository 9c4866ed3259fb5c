"""This project: two nodes in a private DHT of 10 on loopback. One announces itself under a topic, the other
looks for it, dials what it finds, and has a sealed session; two processes. One JSON line: ms from the
question to the session, signatures and handshake included.
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

ROOT = Path(__file__).resolve().parents[3]
sys.path[0] = str(ROOT)

import uvloop  # noqa: E402

from opengateway.discovery.dht import Announced, Dht  # noqa: E402
from opengateway.discovery.topics import topic  # noqa: E402
from opengateway.identity import Identity  # noqa: E402
from opengateway.transport.zmq_wire import zmq_wire  # noqa: E402
from opengateway.units import NodeId  # noqa: E402
from tools.bench.beside.our_dht import NET, SETTINGS, Swarm  # noqa: E402

NODES = 10


class Meets:
    """A wire's handler that waits for one peer."""

    def __init__(self) -> None:
        self.up: asyncio.Future[NodeId] = asyncio.get_running_loop().create_future()

    def peer_up(self, peer: NodeId, *_: object) -> None:
        if not self.up.done():
            self.up.set_result(peer)

    def peer_down(self, peer: NodeId, reason: str) -> None: ...

    def dial_failed(self, _: str, reason: str) -> None:
        raise SystemExit(reason)

    def message(self, peer: NodeId, message: Any) -> None: ...


def make_wire(handler: Meets) -> Any:
    return zmq_wire(Identity.generate(), NET, "", record=lambda: b"record", handler=handler)


def answering(pipe: Connection) -> None:
    async def live() -> None:
        wire = make_wire(Meets())
        pipe.send(await wire.start("127.0.0.1"))
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await wire.close()

    uvloop.run(live())


async def meet(asker: Dht, name: bytes) -> float:
    """ms from the question to the session."""
    loop = asyncio.get_running_loop()
    handler = Meets()
    wire = make_wire(handler)
    await wire.start("127.0.0.1")
    found: asyncio.Future[str] = loop.create_future()

    def heard() -> None:
        asker.drain()
        for event in asker.poll(time.time_ns() // 1_000_000):
            if isinstance(event, Announced) and event.topic == name and not found.done():
                found.set_result(event.endpoints[0])

    loop.add_reader(asker.wake.fileno(), heard)
    began = time.perf_counter()
    asker.seek(name)
    wire.dial(await asyncio.wait_for(found, 10))
    await asyncio.wait_for(handler.up, 10)
    took = (time.perf_counter() - began) * 1000
    loop.remove_reader(asker.wake.fileno())
    await wire.close()
    return took


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--meetings", type=int, default=10)
    meetings = asked.parse_args().meetings
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=answering, args=(theirs,))
    child.start()
    swarm = Swarm(NODES)
    try:
        port = ours.recv()
        swarm.join()
        name = topic(NET, "world", "", "a model")
        swarm.nodes[1].announce(name, port)
        swarm.found(NODES - 2, name)  # it has spread: another than the asker has heard of it
        asker = Dht(NET, SETTINGS)
        swarm.add(asker)
        taken = [uvloop.run(meet(asker, name)) for _ in range(meetings)]
        print(json.dumps({"connect_ms": taken[0], "again_ms": statistics.median(taken[1:])}))
    finally:
        swarm.close()
        ours.send("end")
        child.join(10)
        child.kill()


if __name__ == "__main__":
    main()
