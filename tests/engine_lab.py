"""What tests of engines share: a real llama.cpp with the pocket model, and asking it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from opengateway.engines.llama_server import LlamaServer
from opengateway.engines.protocol import Engine, GenerateRequest
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import EngineFailed, OpenGatewayError
from opengateway.models import pocket


@contextlib.asynccontextmanager
async def pocket_engine(folder: Path, *, slots: int = 4) -> AsyncIterator[LlamaServer]:
    """Started, and gone afterwards. One thread: more would spin against the other tests."""
    engine = LlamaServer(
        pocket.path(), log=folder / "llama.log", name="pocket", slots=slots, threads=1, demo=True
    )
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


def chat(question: str, *, stream: bool = True, model: str = "pocket", **body: Any) -> GenerateRequest:
    """A chat request, greedy unless `temperature` says otherwise."""
    messages = [{"role": "user", "content": question}]
    return GenerateRequest("chat", model, {"messages": messages, "temperature": 0} | body, stream)


async def run(engine: Engine, request: GenerateRequest) -> tuple[list[Chunk], Finished]:
    """All chunks and the end. Raises what the engine raises."""
    stream = Stream()
    task = asyncio.create_task(_generate(engine, request, stream))
    chunks: list[Chunk] = []
    try:
        while new := await stream.read():
            chunks += new
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()  # an adapter that crashed is the finding, not the failure that it caused
    assert stream.finished is not None
    return chunks, stream.finished


async def ask(engine: Engine, question: str, **body: Any) -> str:
    """The text of the answer."""
    chunks, _ = await run(engine, chat(question, **body))
    return "".join(chunk for chunk in chunks if isinstance(chunk, str))


async def _generate(engine: Engine, request: GenerateRequest, stream: Stream) -> None:
    try:
        await engine.generate(request, stream)
    except OpenGatewayError as error:
        stream.fail(error)
    except Exception:
        stream.fail(EngineFailed("the adapter crashed"))
        raise


@contextlib.asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The base URL of a real server on loopback that answers every request with `answer`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(holds: Callable[[], bool | Awaitable[bool]], *, limit_s: float = 10.0) -> None:
    """Wait for a condition; fails after the limit."""
    async with asyncio.timeout(limit_s):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)
