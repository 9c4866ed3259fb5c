"""The HTTP connection to an engine, on both event loops, against sockets that say what they like."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from opengateway.engines.connection import HIGH, PIECE, BrokenOff, Closed, Response
from opengateway.engines.pool import NotConnected, Pool
from opengateway.errors import ConfigInvalid

Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LIMIT_S = 20
TLS = Path(__file__).parents[1] / "data/tls"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(work, LIMIT_S))

    return run


class Server:
    """Talks to each connection as it is told, and counts them."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.connections = 0

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._talk(reader, writer)
        writer.close()


@contextlib.asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[tuple[Pool, Server]]:
    told = Server(talk)
    async with await asyncio.start_server(told.met, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        pool = Pool(f"http://127.0.0.1:{port}/v1", {})
        try:
            yield pool, told
        finally:
            await pool.close()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    return head + await reader.readexactly(size)


def saying(*pieces: bytes, then_close: bool = True) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if then_close:
                return

    return talk


async def body_of(response: Response) -> bytes:
    parts = []
    while part := await response.some():
        parts.append(part)
    response.close()
    return b"".join(parts)


def test_a_connection_is_kept_for_the_next_request(on_loop: Any) -> None:
    async def main() -> None:
        async with talking(saying(HELLO, then_close=False)) as (pool, server):
            for _ in range(3):
                response = await pool.request("POST", "/v1/x", b"{}")
                assert (response.status, await body_of(response)) == (200, b"hello")
                response.close()  # a second time does not give it back twice
            first, second = await pool.request("GET", "/", b""), await pool.request("GET", "/", b"")
            assert first is not second
            assert [await body_of(first), await body_of(second)] == [b"hello", b"hello"]
            assert server.connections == 2

    on_loop(main())


def test_one_that_was_closed_meanwhile_is_not_noticed_by_who_asks(on_loop: Any) -> None:
    """Also where the request has left before the end of the connection arrives."""
    seen = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(HELLO)
        await request_of(reader)  # answers nothing, and hangs up

    async def main() -> None:
        async with talking(talk) as (pool, server):
            for _ in range(2):
                assert await body_of(await pool.request("POST", "/v1/x", b"{}")) == b"hello"
            assert server.connections == 2
            assert b"Connection: close" in seen[1]

    on_loop(main())


def test_a_fresh_one_that_says_nothing_is_an_error(on_loop: Any) -> None:
    async def main() -> None:
        async with talking(saying()) as (pool, _):
            with pytest.raises(Closed):
                await pool.request("POST", "/", b"{}", fresh=True)

    on_loop(main())


@pytest.mark.parametrize(
    "said",
    [
        b"what?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
    ],
    ids=["no http", "half a head", "too short", "chunks without end", "no chunk", "upgrade", "endless head"],
)
def test_what_is_not_whole_is_broken_off(on_loop: Any, said: bytes) -> None:
    async def main() -> None:
        async with talking(saying(said)) as (pool, _):
            with pytest.raises(BrokenOff):
                await body_of(await pool.request("POST", "/", b"{}"))

    on_loop(main())


def test_a_body_without_length_ends_with_the_connection(on_loop: Any) -> None:
    async def main() -> None:
        async with talking(saying(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")) as (pool, server):
            for _ in range(2):
                assert await body_of(await pool.request("POST", "/", b"{}")) == b"hello"
            assert server.connections == 2

    on_loop(main())


def test_a_sign_of_life_before_the_answer_is_passed_over(on_loop: Any) -> None:
    async def main() -> None:
        async with talking(saying(b"HTTP/1.1 100 Continue\r\nX-A: no\r\n\r\n", HELLO)) as (pool, _):
            response = await pool.request("POST", "/", b"{}")
            assert (response.status, "x-a" in response.headers) == (200, False)
            assert await body_of(response) == b"hello"

    on_loop(main())


def test_what_nobody_asked_for_ends_the_connection(on_loop: Any) -> None:
    async def main() -> None:
        async with talking(saying(HELLO + HELLO, then_close=False)) as (pool, server):
            for _ in range(2):
                assert await body_of(await pool.request("POST", "/", b"{}")) == b"hello"
            assert server.connections == 2

    on_loop(main())


def test_who_stops_reading_holds_up_the_server(on_loop: Any) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * PIECE)
            sent += PIECE
            await writer.drain()

    async def main() -> None:
        async with talking(talk) as (pool, _):
            response = await pool.request("GET", "/", b"")
            before = -1
            while before != sent:  # until the buffers of both sides are full
                before = sent
                await asyncio.sleep(0.05)
            assert response._size <= HIGH + 1024 * 1024  # one read of the loop
            assert len(await response.some()) <= PIECE
            response.close()

    on_loop(main())


def test_closing_before_the_end_cuts_the_connection(on_loop: Any) -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        await reader.read()
        gone.set()

    async def main() -> None:
        async with talking(talk) as (pool, _):
            response = await pool.request("GET", "/", b"")
            assert await response.some() == b"hello"
            response.close()
            await gone.wait()
            gone.clear()
            task = asyncio.create_task(body_of(await pool.request("GET", "/", b"")))
            await asyncio.sleep(0)
            await pool.close()
            with pytest.raises(BrokenOff):
                await task
            await gone.wait()

    on_loop(main())


def test_giving_up_while_waiting_cuts_the_connection(on_loop: Any) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        asked.set()
        await reader.read()
        gone.set()

    async def main() -> None:
        async with talking(talk) as (pool, _):
            task = asyncio.create_task(pool.request("GET", "/", b""))
            await asked.wait()
            task.cancel()
            await gone.wait()

    on_loop(main())


def test_nobody_at_the_address_is_told_apart(on_loop: Any) -> None:
    async def main() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotConnected):
            await Pool(f"http://127.0.0.1:{port}", {}).request("GET", "/", b"")

    on_loop(main())


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "127.0.0.1:80", "http://[", "http://x:y/"])
def test_what_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid):
        Pool(url, {})


def test_name_and_password_of_the_address_are_sent_and_a_key_cannot_add_a_header() -> None:
    assert b"Authorization: Basic YTpi\r\n" in Pool("http://a:b@x/", {})._kept_head
    assert b"Host: x:8\r\n" in Pool("http://a:b@x:8/", {})._kept_head
    with pytest.raises(ConfigInvalid):
        Pool("http://x/", {"Authorization": "Bearer a\r\nX: y"})


@settings(max_examples=40, deadline=None)
@given(
    body=st.binary(max_size=300),
    chunks=st.lists(st.integers(1, 60), max_size=8),
    cuts=st.lists(st.integers(1, 40), max_size=12),
    chunked=st.booleans(),
)
def test_a_body_is_the_same_however_it_is_cut(
    body: bytes, chunks: list[int], cuts: list[int], *, chunked: bool
) -> None:
    if chunked:
        whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        rest = body
        for size in [*chunks, len(body)]:
            piece, rest = rest[:size], rest[size:]
            whole += b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""
        whole += b"0\r\n\r\n"
    else:
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def main() -> None:
        response = Response(Pool("http://x/", {}))
        response.alive, rest = True, whole
        for size in [*cuts, len(whole)]:
            piece, rest = rest[:size], rest[size:]
            if piece:
                response.data_received(piece)
        assert (response.complete, response.alive) == (True, True)
        assert await body_of(response) == body

    asyncio.run(main())


async def over_tls(host: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    met = Server(saying(HELLO)).met
    async with await asyncio.start_server(met, "127.0.0.1", 0, ssl=context) as server:
        pool = Pool(f"https://{host}:{server.sockets[0].getsockname()[1]}/v1", {})
        try:
            return await body_of(await pool.request("GET", "/", b""))
        finally:
            await pool.close()


def test_tls_is_spoken_with_who_has_the_certificate_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **how: resolve("127.0.0.1", *more, **how))
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    assert asyncio.run(over_tls("node.example.org")) == b"hello"
    with pytest.raises(NotConnected, match=r"[Hh]ostname"):
        asyncio.run(over_tls("other.example.org"))
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NotConnected, match="certificate"):
        asyncio.run(over_tls("node.example.org"))
