"""A relay in a process of its own. Prints its id and port as JSON; ends with its standard input."""

from __future__ import annotations

import asyncio
import json
import sys

from opengateway.identity import Identity, base32, network_id
from opengateway.transport.zmq_wire import zmq_wire
from opengateway.wire.relay import RelayLimits


class Keeps:
    """A handler that keeps whatever is said to it, as a curious relay would."""

    def __init__(self) -> None:
        self.kept: list[object] = []

    def peer_up(self, *said: object) -> None:
        self.kept.append(said)

    peer_down = message = dial_failed = peer_up


async def main() -> None:
    identity = Identity.generate()
    limits = RelayLimits(bytes_per_s=0)
    wire = zmq_wire(identity, network_id("test"), "", record=lambda: b"record", handler=Keeps(), relay=limits)
    port = await wire.start("127.0.0.1")
    wire.relaying.relay.endpoint = f"tcp://127.0.0.1:{port}"
    print(json.dumps({"id": base32(identity.node_id), "port": port}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await wire.close()


asyncio.run(main())
