"""PyPI's kademlia: 40 nodes in one process on loopback, values put by one and got by another. One JSON line.

Run with a Python that has kademlia.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import statistics
import time

from kademlia.network import Server
from kademlia.utils import digest

NODES = 40
VALUE = "x" * 400


async def measure(values: int) -> dict[str, float]:
    nodes = [Server() for _ in range(NODES)]
    for node in nodes:
        await node.listen(0, interface="127.0.0.1")
    first = nodes[0].transport.get_extra_info("sockname")
    for node in nodes[1:]:
        await node.bootstrap([first])
    puts, gets = [], []
    for number in range(values):
        began = time.perf_counter()
        await nodes[1].set(f"key {number}", VALUE)
        puts.append(time.perf_counter() - began)
        # One that has no copy itself: where it has, the library does not ask anybody.
        asker = next(node for node in nodes if node.storage.get(digest(f"key {number}")) is None)
        began = time.perf_counter()
        assert await asker.get(f"key {number}") == VALUE
        gets.append(time.perf_counter() - began)
    for node in nodes:
        node.stop()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "put_ms": statistics.median(puts) * 1000,
        "get_ms": statistics.median(gets) * 1000,
        "cpu_ms_pair": (used.ru_utime + used.ru_stime) / values * 1000,
    }


if __name__ == "__main__":
    asked = argparse.ArgumentParser()
    asked.add_argument("--values", type=int, default=200)
    logging.disable(logging.ERROR)
    print(json.dumps(asyncio.run(measure(asked.parse_args().values))))
