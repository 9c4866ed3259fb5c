"""Clients that send a byte a second, and clients that vanish: others hardly notice, and nothing stays behind.

The large form: `.venv/bin/pytest -m slow tests/app/gateway/test_slow_clients.py -s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import Node, until
from pairs import paced_engine
from sse import chat

CHAT = "/v1/chat/completions"
SLOW = int(os.environ.get("OPENGATEWAY_SLOW_CLIENTS", "2000"))
VANISHING = int(os.environ.get("OPENGATEWAY_VANISHING_CLIENTS", "500"))
MOST_MIB = 80
"""What 2,000 connections may cost at most; measured 20 to 30."""


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 8192), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def address(node: Node) -> tuple[str, int]:
    host, _, port = node.http.removeprefix("http://").partition(":")
    return host, int(port)


def rss_mib(node: Node) -> float:
    return float(psutil.Process(node.pid).memory_info().rss) / 2**20


class Trickle:
    """Many connections that send a byte of a request every second."""

    def __init__(self, node: Node, count: int) -> None:
        self.node, self.count = node, count
        self.ready, self.closed = asyncio.Event(), 0

    async def run(self, stop: asyncio.Event) -> None:
        gate = asyncio.Semaphore(100)
        opened = 0

        async def one() -> None:
            nonlocal opened
            async with gate:
                reader, writer = await asyncio.open_connection(*address(self.node))
            opened += 1
            if opened == self.count:
                self.ready.set()
            try:
                for byte in (
                    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: " + b"x" * 60
                ):
                    writer.write(bytes([byte]))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1.0):
                            if await reader.read(1) == b"":
                                self.closed += 1
                                return
                    if stop.is_set():
                        return
            except ConnectionError:
                self.closed += 1
            finally:
                writer.close()

        await asyncio.gather(*(one() for _ in range(self.count)))


async def asked(node: Node) -> float:
    """Seconds that somebody else's request takes meanwhile."""
    began = time.monotonic()
    status, answer = await asyncio.to_thread(node.request, "POST", CHAT, chat(max_tokens=3))
    assert status == 200, answer
    return time.monotonic() - began


def besieged(node: Node, count: int, *, wait_closed: bool) -> tuple[float, float, int]:
    """(MiB more, seconds of the slowest honest request, connections that the node closed)."""

    async def main() -> tuple[float, float, int]:
        before, stop = rss_mib(node), asyncio.Event()
        crowd = Trickle(node, count)
        task = asyncio.create_task(crowd.run(stop))
        async with asyncio.timeout(40):
            await crowd.ready.wait()
        slowest = max([await asked(node) for _ in range(10)])
        more = rss_mib(node) - before
        if not wait_closed:
            stop.set()
        async with asyncio.timeout(50):
            await task
        return more, slowest, crowd.closed

    return asyncio.run(main())


def vanish(node: Node, count: int) -> None:
    """As many streams as there are places, all torn down at once without a word (a reset)."""
    body = json.dumps(chat(max_tokens=400, stream=True)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    sockets = []
    for _ in range(count):
        made = socket.create_connection(address(node), timeout=30)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made.sendall(head + body)
        sockets.append(made)
    streaming = 0
    for made in sockets:
        if made.recv(4000).startswith(b"HTTP/1.1 200"):
            streaming += 1
    assert streaming == count
    for made in sockets:
        made.close()


def jobs(node: Node) -> Any:
    found = node.get("/node/status")["jobs"]
    return {name: found[name] for name in ("running", "queued")}


@contextlib.contextmanager
def standing(folder: Path, slots: int) -> Iterator[Node]:
    with (
        paced_engine(20.0, chunks=400) as url,
        Node(folder, "a", engine={"kind": "openai", "url": url, "slots": slots}) as node,
    ):
        yield node


def test_slow_clients_and_clients_that_vanish_harm_nobody(tmp_path: Path) -> None:
    with standing(tmp_path, 24) as node:
        more, slowest, _ = besieged(node, 100, wait_closed=False)
        assert more < MOST_MIB
        assert slowest < 5.0
        vanish(node, 20)
        until(lambda: jobs(node) == {"running": 0, "queued": 0}, "their slots are free")
        assert node.request("POST", CHAT, chat(max_tokens=3))[0] == 200


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_thousand_slow_clients_and_five_hundred_that_vanish(tmp_path: Path) -> None:
    with standing(tmp_path, 250) as node:
        more, slowest, closed = besieged(node, SLOW, wait_closed=True)
        print(
            f"{SLOW} slow: {more:.1f} MiB more, slowest other answer {slowest * 1000:.0f} ms, {closed} closed"
        )
        assert more < MOST_MIB
        assert slowest < 10.0
        assert closed == SLOW
        before, began = rss_mib(node), time.monotonic()
        for wave in range(-(-VANISHING // 250)):
            vanish(node, min(250, VANISHING - 250 * wave))
            until(lambda: jobs(node) == {"running": 0, "queued": 0}, "their slots are free")
        print(
            f"{VANISHING} vanished: slots free {time.monotonic() - began:.1f} s after the first came,"
            f" {rss_mib(node) - before:.1f} MiB more"
        )
        assert rss_mib(node) - before < MOST_MIB
        assert node.request("POST", CHAT, chat(max_tokens=3))[0] == 200
