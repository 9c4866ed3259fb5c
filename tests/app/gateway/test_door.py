"""Connections that take their time: real sockets against the door alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from opengateway.app.gateway import door as door_module
from opengateway.app.gateway.door import Door, TooSlow, body_of

Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
LATER = 60.0


@contextlib.asynccontextmanager
async def standing() -> AsyncIterator[tuple[Door, Open]]:
    async def answer(request: web.Request) -> web.Response:
        door.began(request.protocol)
        try:
            return web.Response(body=await body_of(request))
        except TooSlow as error:
            return web.Response(status=error.status)

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    door = Door(runner.server)
    server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    try:
        yield door, connect
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await runner.cleanup()


async def known(door: Door, count: int) -> None:
    async with asyncio.timeout(10):
        while len(door._make.connections) != count:  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(0.005)


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    line = await reader.readline()
    while (await reader.readline()).strip():
        pass
    return int(line.split()[1])


def test_who_sends_no_whole_request_in_time_is_let_go_and_others_are_not() -> None:
    async def main() -> None:
        async with standing() as (door, connect):
            slow, honest = await connect(), await connect()
            slow[1].write(b"GET / HTTP/1.1\r\nHost:")
            assert await get(*honest) == 200
            await known(door, 2)
            door.sweep(time.monotonic())
            assert await get(*honest) == 200
            door.sweep(time.monotonic() + LATER)
            assert await slow[0].read() == b""
            assert await get(*honest) == 200
            assert door.counters == {"slow_headers": 1}

    asyncio.run(main())


def test_a_body_that_trickles_is_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "BODY_S", 0.05)

    async def main() -> None:
        async with standing() as (_, connect):
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
            assert (await reader.readline()).split()[1] == b"408"
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
            assert (await reader.readline()).split()[1] == b"200"

    asyncio.run(main())


def test_one_address_does_not_get_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "is_local", lambda _: False)
    monkeypatch.setattr(door_module, "PER_ADDRESS", 3)

    async def main() -> None:
        async with standing() as (door, connect):
            opened = [await connect() for _ in range(5)]
            await known(door, 5)
            door.sweep(time.monotonic())
            await known(door, 3)
            assert await get(*opened[0]) == 200
            assert door.counters["too_many_of_one"] == 2

    asyncio.run(main())


def test_beyond_the_limit_a_connection_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "MOST", 2)

    async def main() -> None:
        async with standing() as (door, connect):
            first, _ = await connect(), await connect()
            await known(door, 2)
            assert await (await connect())[0].read() == b""
            assert await get(*first) == 200
            assert door.counters == {"turned_away": 1}
            first[1].close()
            await known(door, 1)
            door.sweep(time.monotonic())
            assert await get(*(await connect())) == 200

    asyncio.run(main())
