#!/usr/bin/env python3
"""A very fast engine with nothing behind it, for measuring what stands before it. Never for answers.

    tools/bench/fake_engine.py --port 0 --chunks 100              prints {"port": n}, serves until terminated
    tools/bench/fake_engine.py --chunks 100 --interval-ms 20      paced, as a real model would

It speaks OpenAI's protocol on 127.0.0.1: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, streamed
and not. A request's `max_tokens` overrides `--chunks`. Streams are written chunk by chunk, since a server
that wrote whole answers at once would flatter every proxy; `--burst 10` writes ten at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

MODEL = "fake"
PARENT_CHECK_S = 0.5
_WORD = " word"


@dataclass(frozen=True, slots=True)
class Pace:
    chunks: int
    burst: int
    interval: float
    """Seconds between two writes of one stream; 0 is as fast as it goes."""
    first: float = 0.0
    """Seconds before anything of an answer is there."""


def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    event = {
        "id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": MODEL,
        "choices": [choice],
    }  # fmt: skip
    return b"data: " + orjson.dumps(event) + b"\n\n"


def whole(text: str, tokens: int) -> bytes:
    message = {"role": "assistant", "content": text}
    return orjson.dumps({
        "id": "chatcmpl-fake", "object": "chat.completion", "created": 1, "model": MODEL,
        "choices": [{"index": 0, "message": message, "text": text, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens},
    })  # fmt: skip


class FakeEngine:
    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._first = chunk({"role": "assistant", "content": ""})
        self._chunk = chunk({"content": _WORD})
        self._short = whole("4", 1)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/v1/completions", self._answer)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        listed = {"object": "list", "data": [{"id": MODEL, "object": "model", "max_model_len": 8192}]}
        return web.json_response(listed)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        tokens = body.get("max_tokens") or self._pace.chunks
        if self._pace.first:
            await asyncio.sleep(self._pace.first)
        if not body.get("stream"):
            return web.Response(body=self._short, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(self._first)
        start, sent = time.monotonic(), 0
        while sent < tokens:
            if self._pace.interval:
                due = start + (sent // self._pace.burst + 1) * self._pace.interval
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            burst = min(self._pace.burst, tokens - sent)
            await response.write(self._chunk * burst)
            sent += burst
        usage = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
        end = b'data: {"choices":[],"usage":%s}\n\ndata: [DONE]\n\n' % orjson.dumps(usage)
        await response.write(chunk({}, "stop") + end)
        return response


async def serve(port: int, pace: Pace) -> None:
    """Until it is terminated or its parent is gone: a benchmark that is killed leaves nothing running."""
    parent = os.getppid()
    runner = web.AppRunner(FakeEngine(pace).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells it on every system
        await asyncio.sleep(PARENT_CHECK_S)
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one, printed as JSON")
    parser.add_argument("--chunks", type=int, default=100, help="chunks of a streamed answer")
    parser.add_argument("--burst", type=int, default=1, help="chunks per write")
    parser.add_argument("--interval-ms", type=float, default=0.0, help="time between two writes of a stream")
    parser.add_argument("--first-ms", type=float, default=0.0, help="time before an answer begins")
    given = parser.parse_args()
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if sys.platform != "win32":  # where uvloop has no build
        import uvloop

        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        pace = Pace(given.chunks, max(1, given.burst), given.interval_ms / 1000, given.first_ms / 1000)
        runner.run(serve(given.port, pace))


if __name__ == "__main__":
    main()
