"""Engines whose speed is a number: OpenAI-compatible servers that count tokens and sleep, all in one process,
so that what a test measures is where requests went and not how busy the machine is.

    with paced_engines({"slow": 10, "fast": 40}) as engines:
        Node(..., engine={"kind": "openai", "url": engines.url("fast"), "slots": 1})
        engines.served()  # {"fast": {"answers": 3, "tokens": 120, "most_at_once": 1}, ...}

An answer has `max_tokens` tokens, "1 2 3 ...", streamed or whole; one that is continued, as by vLLM, goes
on counting. A text has as many tokens as words. Texts are embedded, and prompts read, at `READS` times the
speed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from aiohttp import web

MODEL = "paced"
READS = 10.0
PARENT_CHECK_S = 0.5
_LISTED = {"id": MODEL, "object": "model", "max_model_len": 8192, "owned_by": "vllm"}


class Engines:
    """Those that run."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def served(self) -> dict[str, Counter[str]]:
        """What each has done since it was last asked."""
        return {name: Counter(counts) for name, counts in self._ask("GET", "/served", None).items()}

    def late(self, name: str, seconds: float, every: int) -> None:
        """From now on the first token of its every so manyth answer comes so many seconds later."""
        self._ask("POST", "/late", {"name": name, "seconds": seconds, "every": every})

    def _ask(self, method: str, path: str, body: Any) -> Any:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request(method, path, json.dumps(body) if body is not None else None)
            return json.loads(line.getresponse().read())
        finally:
            line.close()


def command(speeds: Mapping[str, float]) -> list[str]:
    """Its first line says `{"port": n}`."""
    return [sys.executable, __file__, json.dumps(dict(speeds))]


@contextlib.contextmanager
def paced_engines(speeds: Mapping[str, float]) -> Iterator[Engines]:
    """`speeds`: tokens/s of each answer, by name."""
    process = subprocess.Popen(command(speeds), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Engines(json.loads(process.stdout.readline())["port"])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# -- in the process -----------------------------------------------------------------------------------


class Paced:
    def __init__(self, speeds: Mapping[str, float]) -> None:
        self._speeds = speeds
        self._counts = {name: Counter[str]() for name in speeds}
        self._now = Counter[str]()
        self._late: dict[str, tuple[float, int, int]] = {}
        """Seconds, every how manyth, and how many there were."""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_get("/served", self._served)
        app.router.add_post("/late", self._make_late)
        app.router.add_get("/{name}/v1/models", self._models)
        app.router.add_post("/{name}/v1/embeddings", self._embed)
        app.router.add_post("/{name}/v1/completions", self._answer)
        app.router.add_post("/{name}/v1/chat/completions", self._answer)
        return app

    async def _served(self, _: web.Request) -> web.Response:
        counts, self._counts = self._counts, {name: Counter[str]() for name in self._speeds}
        return web.json_response(counts)

    async def _make_late(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self._late[asked["name"]] = asked["seconds"], asked["every"], 0
        return web.json_response({})

    async def _models(self, _: web.Request) -> web.Response:
        listed = {"object": "list", "data": [_LISTED]}
        return web.json_response(listed)

    @contextlib.asynccontextmanager
    async def _working(self, name: str, what: str) -> AsyncIterator[Counter[str]]:
        counts = self._counts[name]
        self._now[name] += 1
        counts["most_at_once"] = max(counts["most_at_once"], self._now[name])
        try:
            yield counts
            counts[what] += 1
        finally:
            self._now[name] -= 1

    async def _embed(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        tokens = sum(len(text.split()) for text in texts)
        async with self._working(name, "embeddings"):
            await asyncio.sleep(tokens / (READS * self._speeds[name]))
        # The vector tells its text, so that a test sees whether each has its own.
        rows = [[float(len(text)), float(text.split()[-1]), 0.0, 0.0] for text in texts]
        data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return web.json_response({"object": "list", "model": MODEL, "data": data, "usage": usage})

    def _lateness(self, name: str) -> float:
        seconds, every, count = self._late.get(name, (0.0, 1, 0))
        self._late[name] = seconds, every, count + 1
        return seconds if (count + 1) % every == 0 else 0.0

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name, body = request.match_info["name"], await request.json()
        chat = "messages" in body
        prompt = len(str(body["messages"] if chat else body["prompt"]).split())
        before = _said(body)
        tokens, speed = int(body["max_tokens"]), self._speeds[name]
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
        start = time.monotonic() + self._lateness(name) + prompt / (READS * speed)

        async def due(token: int) -> str:
            await asyncio.sleep(max(0.0, start + (token + 1) / speed - time.monotonic()))
            return f" {before + token + 1}"

        async with self._working(name, "answers") as counts:
            if not body.get("stream"):
                await due(tokens - 1)
                text = "".join(f" {before + token + 1}" for token in range(tokens))
                counts["tokens"] += tokens
                return web.json_response(_event(chat, text, "stop", whole=True) | {"usage": usage})
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):  # who asked hangs up: somebody else was faster
                for token in range(tokens):
                    await response.write(_sse(_event(chat, await due(token), None)))
                    counts["tokens"] += 1
                end = _sse(_event(chat, "", "stop")) + _sse({"choices": [], "usage": usage})
                await response.write(end + b"data: [DONE]\n\n")
        return response


def _said(body: dict[str, Any]) -> int:
    """Tokens that somebody else has given of this answer."""
    going_on = body.get("continue_final_message") and not body.get("add_generation_prompt", True)
    if "messages" in body:
        return int(body["messages"][-1]["content"].split()[-1]) if going_on else 0
    last = str(body["prompt"]).split()[-1:]
    return int(last[0]) if last and last[0].isdigit() else 0


def _event(chat: bool, text: str, reason: str | None, *, whole: bool = False) -> dict[str, Any]:
    said = (
        {"message" if whole else "delta": {"role": "assistant", "content": text}} if chat else {"text": text}
    )
    return {"id": "paced", "model": MODEL, "choices": [{"index": 0, "finish_reason": reason} | said]}


def _sse(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


async def serve(speeds: Mapping[str, float]) -> None:
    """Until it is ended, or its parent is gone."""
    parent = os.getppid()
    runner = web.AppRunner(Paced(speeds).app(), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=256).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells it on every system
        await asyncio.sleep(PARENT_CHECK_S)
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("speeds", type=json.loads)
    asyncio.run(serve(parser.parse_args().speeds))
