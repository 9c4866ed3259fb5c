"""The load client: chat requests in a process of its own, closed loop or open.

    python tools/bench/load.py http://127.0.0.1:8000 --model fake --clients 16 --seconds 5 [--stream]
    python tools/bench/load.py http://127.0.0.1:8000 --model fake --rate 40 --seconds 5 [--stream]

Closed: each client asks again over its connection as soon as it has its answer. Open: requests come at random
times, so many a second on average, each over a connection of its own, whether the others are answered or not.

Hand-written HTTP on asyncio protocols, because a client library costs more than the gateways under test:
one core of this client does about 20,000 short requests a second. Prints one JSON object on one line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import time
import urllib.parse
from dataclasses import dataclass, field
from functools import partial
from typing import cast

FIRST_TEXT = re.compile(rb'"content": ?"[^"]')
"""The first chunk with text; the chunk before it names the role and has none."""

REFUSED = (b"HTTP/1.1 429", b"HTTP/1.1 503")
PAUSE_S = 0.25
"""Before a client that was refused asks again."""

HANGS_S = 60.0
"""An answer that takes longer than this after the end is counted as missing, not waited for."""


@dataclass
class Tally:
    latencies_s: list[float] = field(default_factory=list)
    first_texts_s: list[float] = field(default_factory=list)
    gaps_s: list[float] | None = None
    """Between two texts of one stream, if that is asked for; 0 where they came together."""
    events: int = 0
    refused: int = 0
    """Told clearly that there is no room: an answer, but not the one that was wanted."""
    failures: int = 0
    said: str = ""
    """What the last failure answered."""


class Client(asyncio.Protocol):
    """One connection that sends the next request as soon as an answer is complete."""

    def __init__(
        self, request: bytes, tally: Tally, deadline: float, done: asyncio.Future[None], *, stream: bool
    ) -> None:
        self.request, self.tally, self.deadline, self.done, self.stream = (
            request,
            tally,
            deadline,
            done,
            stream,
        )
        self.answer = bytearray()
        self.body_at = -1
        self.length = -1
        self.first_text_at = 0.0
        self.text_at = 0.0
        self.sent_at = 0.0

    def itself(self) -> Client:
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._send()

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if self.body_at < 0 and not self._read_head():
            return
        if self.tally.gaps_s is not None:
            self._note_gaps(self.tally.gaps_s, data)
        if self.stream and not self.first_text_at and FIRST_TEXT.search(self.answer, self.body_at):
            self.first_text_at = time.perf_counter()
        if self.length >= 0:
            complete = len(self.answer) - self.body_at >= self.length
        else:  # the end of a chunked body
            complete = self.answer.endswith(b"0\r\n\r\n")
        if complete:
            self._count()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            if exc is not None or self.sent_at:
                self.tally.failures += 1
                self.tally.said = f"connection lost: {exc or 'closed'}"
            self.done.set_result(None)

    def _note_gaps(self, gaps_s: list[float], data: bytes) -> None:
        if texts := len(FIRST_TEXT.findall(data)):
            now = time.perf_counter()
            if self.text_at:
                gaps_s.append(now - self.text_at)
                texts -= 1
            gaps_s += [0.0] * (texts - (0 if self.text_at else 1))
            self.text_at = now

    def _send(self) -> None:
        if self.transport.is_closing():
            return
        self.answer.clear()
        self.body_at = self.length = -1
        self.first_text_at = self.text_at = 0.0
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def _read_head(self) -> bool:
        end = self.answer.find(b"\r\n\r\n")
        if end < 0:
            return False
        self.body_at = end + 4
        if found := re.search(rb"\r\ncontent-length: *(\d+)", bytes(self.answer[:end]).lower()):
            self.length = int(found[1])
        return True

    def _count(self) -> None:
        now = time.perf_counter()
        good = self.answer.startswith(b"HTTP/1.1 200")
        if self.stream:
            good = good and b"data: [DONE]" in self.answer and self.first_text_at > 0
        if good:
            self.tally.latencies_s.append(now - self.sent_at)
            self.tally.first_texts_s.append(self.first_text_at - self.sent_at)
            self.tally.events += self.answer.count(b"data: {")
        elif self.answer.startswith(REFUSED):
            self.tally.refused += 1
            if now + PAUSE_S < self.deadline:
                self.sent_at = 0.0
                asyncio.get_running_loop().call_later(PAUSE_S, self._send)
                return
        else:
            self.tally.failures += 1
            self.tally.said = self.answer[:400].decode(errors="replace")
        if now < self.deadline:
            self._send()  # in the open loop the deadline of each has passed before it begins
        else:
            self.sent_at = 0.0
            self.transport.close()


def request_bytes(url: str, body: dict[str, object], key: str) -> bytes:
    parts = urllib.parse.urlsplit(url)
    data = json.dumps(body).encode()
    head = (
        f"POST {parts.path}/v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def run(
    url: str, body: dict[str, object], *, clients: int, seconds: float, key: str, gaps: bool = False
) -> dict[str, object]:
    parts = urllib.parse.urlsplit(url)
    request, tally, loop = request_bytes(url, body, key), Tally(), asyncio.get_running_loop()
    tally.gaps_s = [] if gaps else None
    began = time.perf_counter()
    ends = []
    for _ in range(clients):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        client = Client(request, tally, began + seconds, done, stream=bool(body.get("stream")))
        await loop.create_connection(partial(Client.itself, client), parts.hostname or "", parts.port or 80)
    await asyncio.wait(ends, timeout=seconds + HANGS_S)
    return told(tally, ends, began, stream=bool(body.get("stream")))


async def run_open(
    url: str, body: dict[str, object], *, rate: float, seconds: float, key: str
) -> dict[str, object]:
    """`rate` requests/s on average, at times drawn from a fixed seed."""
    parts = urllib.parse.urlsplit(url)
    request, tally, loop = request_bytes(url, body, key), Tally(), asyncio.get_running_loop()
    drawn = random.Random(7)  # the same arrivals in every run
    began = time.perf_counter()
    at = began
    ends: list[asyncio.Future[None]] = []
    opening: set[asyncio.Task[None]] = set()
    while (at := at + drawn.expovariate(rate)) < began + seconds:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        client = Client(request, tally, 0.0, done, stream=bool(body.get("stream")))
        task = loop.create_task(_connect(client, parts.hostname or "", parts.port or 80))
        opening.add(task)
        task.add_done_callback(opening.discard)
    if ends:
        await asyncio.wait(ends, timeout=HANGS_S)
    return told(tally, ends, began, stream=bool(body.get("stream")))


async def _connect(client: Client, host: str, port: int) -> None:
    try:
        await asyncio.get_running_loop().create_connection(partial(Client.itself, client), host, port)
    except OSError as error:
        client.tally.failures += 1
        client.tally.said = f"no connection: {error}"
        client.done.set_result(None)


def told(tally: Tally, ends: list[asyncio.Future[None]], began: float, *, stream: bool) -> dict[str, object]:
    elapsed = time.perf_counter() - began
    answers = len(tally.latencies_s)
    return {
        "seconds": elapsed,
        "answers": answers,
        "refused": tally.refused,
        "failures": tally.failures + sum(not done.done() for done in ends),
        "said": tally.said,
        "answers_per_s": answers / elapsed,
        "events": tally.events,
        "latency_ms": quantiles_ms(tally.latencies_s),
        "ttft_ms": quantiles_ms(tally.first_texts_s) if stream else None,
        "gap_ms": quantiles_ms(tally.gaps_s) if tally.gaps_s is not None else None,
    }


def quantiles_ms(values_s: list[float]) -> dict[str, float]:
    ordered = sorted(values_s)
    if not ordered:
        return {"p50": float("nan"), "p99": float("nan")}
    return {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--model", default="fake")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rate", type=float, help="open loop: requests/s instead of clients")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--tokens", type=int, default=100, help="max_tokens of each request")
    parser.add_argument("--text", default="Say hello.")
    parser.add_argument("--gaps", action="store_true", help="closed loop: also the time between two texts")
    parser.add_argument("--key", default="none")
    given = parser.parse_args()
    body: dict[str, object] = {
        "model": given.model,
        "messages": [{"role": "user", "content": given.text}],
        "max_tokens": given.tokens,
        "temperature": 0,
        "stream": given.stream,
    }
    if given.rate:
        work = run_open(given.url, body, rate=given.rate, seconds=given.seconds, key=given.key)
    else:
        work = run(
            given.url,
            body,
            clients=given.clients,
            seconds=given.seconds,
            key=given.key,
            gaps=given.gaps,
        )
    try:
        import uvloop

        result = uvloop.run(work)
    except ImportError:
        result = asyncio.run(work)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
