"""pyipv8's TrustChain: co-signed blocks between two processes on loopback, 64 in flight. One JSON line.

Run with a Python that has pyipv8 2.4.0 and cryptography 45. Each receipt is a half block of the one and the
counter-signed half block of the other, each in both SQLite files, as its own `sign_block` does it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.trustchain.listener import BlockListener
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

IN_FLIGHT = 64
KIND = b"receipt"


class SignsAll(BlockListener):
    def should_sign(self, block: Any) -> bool:  # noqa: ARG002
        return True

    def received_block(self, block: Any) -> None:
        pass


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def overlay(folder: Path) -> tuple[TrustChainCommunity, UDPEndpoint]:
    (folder / "sqlite").mkdir(parents=True)
    endpoint = UDPEndpoint(port=0, ip="127.0.0.1")
    await endpoint.open()
    me = Peer(default_eccrypto.generate_key("curve25519"), endpoint.get_address())
    settings = TrustChainSettings()
    settings.block_types_bc_disabled = {KIND}
    chain = TrustChainCommunity(me, endpoint, Network(), working_directory=str(folder), settings=settings)
    chain.add_listener(SignsAll(), [KIND])
    return chain, endpoint


async def worker(folder: Path) -> None:
    chain, endpoint = await overlay(folder)
    key = chain.my_peer.public_key.key_to_bin().hex()
    print(json.dumps({"port": endpoint.get_address()[1], "key": key}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps({"cpu_s": cpu_s()}), flush=True)
    await chain.unload()
    endpoint.close()


async def requester(folder: Path, receipts: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--worker", str(folder / "worker")]
    with subprocess.Popen(  # noqa: ASYNC220 - before anything is measured
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        said = json.loads(other.stdout.readline())
        chain, endpoint = await overlay(folder / "requester")
        key = bytes.fromhex(said["key"])
        peer = Peer(key, ("127.0.0.1", said["port"]))
        chain.network.add_verified_peer(peer)
        free = asyncio.Semaphore(IN_FLIGHT)

        async def one(number: int) -> None:
            async with free:
                await chain.sign_block(peer, public_key=key, block_type=KIND, transaction={"ucr": number})

        began, cpu = time.perf_counter(), cpu_s()
        await asyncio.gather(*(one(number) for number in range(receipts)))
        seconds, used = time.perf_counter() - began, cpu_s() - cpu
        other.stdin.write("\n")
        other.stdin.flush()
        theirs = json.loads(other.stdout.readline())["cpu_s"]
        await chain.unload()
        endpoint.close()
    return {
        "receipts_per_s": receipts / seconds,
        "cpu_us_requester": used / receipts * 1e6,
        "cpu_us_worker": theirs / receipts * 1e6,
    }


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--worker", type=Path)
    asked.add_argument("--receipts", type=int, default=2000)
    options = asked.parse_args()
    logging.disable(logging.ERROR)
    if options.worker:
        asyncio.run(worker(options.worker))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(requester(Path(folder), options.receipts))))


if __name__ == "__main__":
    main()
