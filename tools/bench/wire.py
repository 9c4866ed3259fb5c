"""What a chunk costs on the wire: bare ZeroMQ, with CBOR, and our sealed Wire, side by side in one run.

    python tools/bench/wire.py [--json] [--check] [--rounds N] [--messages N]

Two processes on loopback. `one way` sends Chunks of 100 bytes from a DEALER to a ROUTER as fast as the
receiver takes them, timed at the receiver from its first message to its last; `round trip` sends one and
waits for its echo. `raw` and `cbor` are the tightest loops that pyzmq allows, blocking, without an event
loop, `raw` even without looking at what it got: 0.6 us of processor a message on either side, less than
one call into libsodium. `wire` is the product: uvloop, canonical CBOR checked field by field, sealed,
counted, flow-controlled. Rounds alternate between the three, a ratio is taken in each round, and the
median of the ratios counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

import uvloop  # noqa: E402
import zmq  # noqa: E402

from opengateway.identity import Identity, network_id  # noqa: E402
from opengateway.transport.zmq_wire import zmq_wire  # noqa: E402
from opengateway.units import NodeId  # noqa: E402
from opengateway.wire.codec import decode_message, encode_message  # noqa: E402
from opengateway.wire.hub import Wire  # noqa: E402
from opengateway.wire.messages import Chunks, Message  # noqa: E402

SIDES = ("raw", "cbor", "wire")
TEXT = "x" * 90  # with stream and index a message of 100 bytes
NET = network_id("bench")
TARGET_RATIO, TARGET_RATE, TARGET_P50_MS = 0.3, 40_000, 0.3
WARM_UP = 200


def plain(message: Message) -> bytes:
    """What `raw` sends instead: as many bytes, made beforehand."""
    return bytes(len(encode_message(message)))


# -- the receiving process ---------------------------------------------------------------


def receive_bare(pipe: Connection, side: str, messages: int, *, echo: bool) -> None:
    decode: Callable[[bytes], Any] = decode_message if side == "cbor" else bytes
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        pipe.send(socket.bind_to_random_port("tcp://127.0.0.1"))
        began = 0.0
        for n in range(messages + WARM_UP):
            if n == WARM_UP:
                began = time.perf_counter()
                used = time.process_time()
            link, frame = socket.recv(), socket.recv()
            message = decode(frame)
            if echo:
                socket.send(link, zmq.SNDMORE)
                socket.send(encode_message(message) if side == "cbor" else frame)
        pipe.send((time.perf_counter() - began, time.process_time() - used))
        pipe.recv()


class Counting:
    """A handler that counts messages, and echoes them if it is told to."""

    def __init__(self, messages: int, *, echo: bool) -> None:
        self.left = messages + WARM_UP
        self.total = messages
        self.echo = echo
        self.wire: Wire
        self.up: asyncio.Future[NodeId] = asyncio.get_running_loop().create_future()
        self.done = asyncio.Event()

    def peer_up(self, peer: NodeId, *_: object) -> None:
        self.up.set_result(peer)

    def peer_down(self, peer: NodeId, reason: str) -> None: ...

    def dial_failed(self, _: str, reason: str) -> None:
        raise SystemExit(reason)

    def message(self, peer: NodeId, message: Message) -> None:
        if self.left == self.total:
            self.began, self.used = time.perf_counter(), time.process_time()
        self.left -= 1
        if self.echo:
            self.wire.send(peer, message)
        if self.left == 0:
            self.times = (time.perf_counter() - self.began, time.process_time() - self.used)
            self.done.set()


def make_wire(handler: Any) -> Wire:
    handler.wire = zmq_wire(Identity.generate(), NET, "", record=lambda: b"record", handler=handler)
    return handler.wire  # type: ignore[no-any-return]


async def receive_wire(pipe: Connection, messages: int, *, echo: bool) -> None:
    handler = Counting(messages, echo=echo)
    wire = make_wire(handler)
    pipe.send(await wire.start("127.0.0.1"))
    await handler.done.wait()
    pipe.send(handler.times)
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    await wire.close()


def receiver(pipe: Connection, side: str, messages: int, echo: bool) -> None:
    if side == "wire":
        uvloop.run(receive_wire(pipe, messages, echo=echo))
    else:
        receive_bare(pipe, side, messages, echo=echo)


# -- the sending process -----------------------------------------------------------------


def dealer() -> zmq.Socket[bytes]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    return context.socket(zmq.DEALER)


def send_bare(port: int, side: str, messages: int) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = dealer()
    socket.connect(f"tcp://127.0.0.1:{port}")
    fixed = plain(Chunks(1, 1000, [TEXT]))
    for n in range(messages + WARM_UP):
        socket.send(encode_message(Chunks(1, n, [TEXT])) if side == "cbor" else fixed)
    return socket


async def send_wire(port: int, messages: int, finish: Callable[[], None]) -> None:
    handler = Counting(0, echo=False)
    wire = make_wire(handler)
    await wire.start("127.0.0.1")
    wire.dial(f"tcp://127.0.0.1:{port}")
    peer = await handler.up
    sent = 0
    while sent < messages + WARM_UP:
        # 64 at a time, as a node with 64 streams does; then the loop has its turn.
        for _ in range(64):
            if sent == messages + WARM_UP or not wire.send(peer, Chunks(1, sent, [TEXT])):
                break
            sent += 1
        await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(None, finish)
    await wire.close()


def one_way(side: str, messages: int) -> dict[str, float]:
    """Messages/s, and us of the receiver's processor per message."""
    pipe, process = start(side, messages, echo=False)
    port = pipe.recv()
    used = time.process_time()
    taken: list[tuple[float, float]] = []

    def finish() -> None:
        taken.append(pipe.recv())

    if side == "wire":
        uvloop.run(send_wire(port, messages, finish))
        used = time.process_time() - used
    else:
        with send_bare(port, side, messages):
            finish()
            used = time.process_time() - used
    end(pipe, process)
    seconds, receiver_cpu = taken[0]
    return {
        "rate": messages / seconds,
        "us": seconds / messages * 1e6,
        "sender_cpu_us": used / messages * 1e6,
        "receiver_cpu_us": receiver_cpu / messages * 1e6,
    }


def round_trip(side: str, messages: int) -> list[float]:
    """ms of each."""
    pipe, process = start(side, messages, echo=True)
    port = pipe.recv()
    taken: list[float] = []
    if side == "wire":
        uvloop.run(echo_wire(port, messages, taken, pipe.recv))
    else:
        with dealer() as socket:
            socket.connect(f"tcp://127.0.0.1:{port}")
            fixed = plain(Chunks(1, 1000, [TEXT]))
            for n in range(messages + WARM_UP):
                began = time.perf_counter()
                socket.send(encode_message(Chunks(1, n, [TEXT])) if side == "cbor" else fixed)
                answer = socket.recv()
                if side == "cbor":
                    decode_message(answer)
                taken.append((time.perf_counter() - began) * 1e3)
            pipe.recv()
    end(pipe, process)
    return taken[WARM_UP:]


async def echo_wire(port: int, messages: int, taken: list[float], finish: Callable[[], Any]) -> None:
    handler = Counting(messages, echo=False)
    wire = make_wire(handler)
    await wire.start("127.0.0.1")
    wire.dial(f"tcp://127.0.0.1:{port}")
    peer = await handler.up
    count, began = 0, 0.0

    def again(*_: object) -> None:
        nonlocal count, began
        taken.append((time.perf_counter() - began) * 1e3)
        count += 1
        if count == messages + WARM_UP:
            handler.done.set()
            return
        began = time.perf_counter()
        wire.send(peer, Chunks(1, count, [TEXT]))

    handler.message = again  # type: ignore[assignment,method-assign]
    began = time.perf_counter()
    wire.send(peer, Chunks(1, 0, [TEXT]))
    await handler.done.wait()
    await asyncio.get_running_loop().run_in_executor(None, finish)
    await wire.close()


def start(side: str, messages: int, *, echo: bool) -> tuple[Connection, Any]:
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=receiver, args=(theirs, side, messages, echo), daemon=True)
    process.start()
    return pipe, process


def end(pipe: Connection, process: Any) -> None:
    pipe.send(None)
    process.join(10)


# -- the report ----------------------------------------------------------------------------


def measure(rounds: int, messages: int) -> dict[str, Any]:
    ways: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    trips: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            ways[side].append(one_way(side, messages))
            trips[side] += round_trip(side, max(500, messages // 50))
    report: dict[str, Any] = {}
    for side in SIDES:
        ratios = [mine["rate"] / raw["rate"] for mine, raw in zip(ways[side], ways["raw"], strict=True)]
        report[side] = {name: statistics.median(way[name] for way in ways[side]) for name in ways[side][0]}
        report[side]["of_raw"] = statistics.median(ratios)
        cuts = statistics.quantiles(trips[side], n=100)
        report[side] |= {"p50_ms": cuts[49], "p99_ms": cuts[98]}
    report["targets"] = {
        "of_raw": report["wire"]["of_raw"] >= TARGET_RATIO,
        "rate": report["wire"]["rate"] >= TARGET_RATE,
        "p50_ms": report["wire"]["p50_ms"] <= TARGET_P50_MS,
    }
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=100_000)
    given = parser.parse_args()
    report = measure(given.rounds, given.messages)
    if given.json:
        print(json.dumps(report))
    else:
        print("chunks of 100 bytes, one way        of raw   CPU us: sender  receiver", end="   ")
        print("round trip: p50 ms   p99 ms")
        for side in SIDES:
            row = report[side]
            print(
                f"{side:<5} {row['rate']:>9,.0f}/s {row['us']:>6.1f} us {row['of_raw']:>12.2f}"
                f"{row['sender_cpu_us']:>17.1f}{row['receiver_cpu_us']:>10.1f}{row['p50_ms']:>21.3f}{row['p99_ms']:>9.3f}"
            )
        for name, met in report["targets"].items():
            print(f"{name}: {'met' if met else 'MISSED'}")
    return 1 if given.check and not all(report["targets"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
