"""A process that runs only a Lan, for tests: prints one JSON line per event, ends with a goodbye when
its standard input is closed. Arguments: seed of the identity, network name, port, [asyncio]."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

import uvloop

from opengateway.discovery.lan import Lan
from opengateway.discovery.sightings import Sighting
from opengateway.identity import Identity, network_id, short
from opengateway.units import NodeId


def say(**event: object) -> None:
    print(json.dumps({"t": time.monotonic(), **event}), flush=True)


async def main(seed: str, net: str, port: str) -> None:
    def found(sighting: Sighting) -> None:
        say(event="found", node=short(sighting.node_id), endpoints=sighting.endpoints)

    def lost(node_id: NodeId) -> None:
        say(event="lost", node=short(node_id))

    identity = Identity(seed.encode().ljust(32, b"."))
    lan = Lan(identity.node_id, network_id(net), int(port), found=found, lost=lost)
    say(event="starting")
    await lan.start()
    say(event="ready", problem=lan.problem)
    closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    problem, ignored = lan.problem, Counter[str]()
    while not closed.done():
        await asyncio.wait([closed], timeout=0.05)
        if lan.problem != problem:
            problem = lan.problem
            say(event="problem", problem=problem)
        if lan.ignored != ignored:
            ignored = lan.ignored.copy()
            say(event="ignored", ignored=ignored)
    await lan.close()
    say(event="closed", ignored=lan.ignored)


if __name__ == "__main__":
    (asyncio.run if sys.argv[4:] == ["asyncio"] else uvloop.run)(main(*sys.argv[1:4]))
