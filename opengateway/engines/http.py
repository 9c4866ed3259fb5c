"""The HTTP side of every engine: OpenAI-compatible servers, our own llama.cpp, Ollama.

On the hot path one read of the socket becomes one `stream.put`, and nothing is awaited per chunk while
the reader keeps up. There is no time limit on an answer, since no limit fits every model and queue:
the job's deadline is the node's business, and cancelling the task closes the connection at once.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import aiohttp
import orjson
from yarl import URL

from opengateway.engines.openai_format import error_of
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import Cancelled, EngineFailed, EngineUnavailable, RequestError

CONNECT_S: Final = 5.0
"""Seconds to connect: a host that is down across the world shows itself within 3 SYN retries."""
CONTROL_S: Final = 15.0
"""Seconds for a control call (models, health), which needs no slot but may find the host busy."""
MAX_REPLY: Final = 64 * 1024 * 1024
"""Bytes of one reply that is not streamed: 1,000 embeddings of 4,096 numbers as text."""
READ_BYTES: Final = 64 * 1024
"""Bytes of one read, some 300 chunks: how far a stream may run past its limit."""
DRAIN_S: Final = 1.0
"""Seconds in which the end of the HTTP body must follow `[DONE]`, or the connection is not reused."""


class Decoder(Protocol):
    """What makes chunks of the bytes of one streamed answer."""

    done: bool

    def feed(self, data: bytes) -> list[Chunk]: ...
    def finished(self) -> Finished: ...


class EngineHttp:
    """Connections to one server whose paths begin with `base`."""

    def __init__(self, base: str, key: str = "") -> None:
        self.base = URL(base.rstrip("/") + "/")
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._pooled: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        await self.close()
        self._pooled = self._session(force_close=False)
        self._fresh = self._session(force_close=True)

    async def close(self) -> None:
        for session in (self._pooled, self._fresh):
            if session is not None:
                await session.close()
        self._pooled = self._fresh = None

    def url(self, path: str) -> URL:
        """`path` relative to the base; with a leading slash, to the server's root."""
        return self.base.join(URL(path))

    async def post(self, url: URL, body: bytes, *, fresh: bool = False) -> aiohttp.ClientResponse:
        """Raises `EngineUnavailable` or `EngineFailed` where no response comes. Whoever calls closes
        the response. `fresh` takes a connection of its own that is closed afterwards."""
        try:
            return await self._open_session(fresh=fresh).post(url, data=body, allow_redirects=False)
        except aiohttp.ClientConnectorError as error:
            raise self.failed(error) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if fresh:
                raise self.failed(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.failed(error) from error
        # A kept connection that the server closed in the instant of our request: the race that every
        # keep-alive client has. Nothing was answered, so it is asked once more.
        return await self.post(url, body, fresh=True)

    async def post_json(self, url: URL, body: bytes) -> Any:
        response = await self.post(url, body)
        try:
            return await self.whole(response)
        finally:
            response.close()

    async def get_json(self, path: str) -> Any:
        """A control call. Raises `EngineUnavailable` where nothing answers in time."""
        try:
            async with asyncio.timeout(CONTROL_S):
                response = await self._open_session(fresh=False).get(self.url(path), allow_redirects=False)
                try:
                    return await self.whole(response)
                finally:
                    response.close()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    async def whole(self, response: aiohttp.ClientResponse) -> Any:
        """The JSON of a good reply; raises what a bad one means."""
        if response.status != 200:
            raise await self.refusal(response)
        raw = await self.read(response)
        try:
            reply = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise EngineFailed(
                f"The engine at {self.base} answered what is no JSON: {raw[:80]!r}.",
                hint="Check that engine.url is the base of the API that engine.kind names.",
            ) from error
        if isinstance(reply, dict) and reply.get("error") and "choices" not in reply:
            raise error_of(200, reply)
        return reply

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body, if it is not beyond measure."""
        raw = bytearray()
        try:
            while len(raw) <= MAX_REPLY:
                data = await response.content.readany()
                if not data:
                    return bytes(raw)
                raw += data
        except (aiohttp.ClientError, OSError) as error:
            raise self.failed(error) from error
        raise EngineFailed(f"The engine's reply is larger than {MAX_REPLY} bytes.")

    async def refusal(self, response: aiohttp.ClientResponse) -> RequestError:
        """What a status other than 200 means."""
        raw = await self.read(response)
        try:
            reply = orjson.loads(raw)
        except orjson.JSONDecodeError:
            reply = raw[:500].decode("utf-8", "replace").strip()
        try:
            retry_after = float(response.headers.get("Retry-After", ""))
        except ValueError:
            retry_after = None
        return error_of(response.status, reply, retry_after)

    async def copy(self, response: aiohttp.ClientResponse, decoder: Decoder, stream: Stream) -> None:
        """The whole answer into the stream, at the reader's pace."""
        content = response.content
        try:
            while not decoder.done:
                data = await content.read(READ_BYTES)
                if not data:
                    break
                chunks = decoder.feed(data)
                if chunks and not stream.put(chunks):
                    await stream.room()
                if stream.error is not None:
                    raise Cancelled  # the reader has gone
        except (aiohttp.ClientError, OSError) as error:
            raise self.failed(error) from error
        stream.finish(decoder.finished())
        if content.at_eof():
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                while await content.readany():
                    pass
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # the answer is whole; only this connection is not used again

    def failed(self, error: Exception) -> EngineFailed | EngineUnavailable:
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL | TimeoutError):
            return self._unreachable(error)
        return EngineFailed(f"The engine at {self.base} broke off ({str(error) or type(error).__name__}).")

    # -- below -----------------------------------------------------------------------

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=force_close),  # the node owns the limit
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            skip_auto_headers=("User-Agent", "Accept"),
        )

    def _open_session(self, *, fresh: bool) -> aiohttp.ClientSession:
        session = self._fresh if fresh else self._pooled
        if session is None:
            raise EngineUnavailable("The engine is not started.", retry_after=1.0)
        return session

    def _unreachable(self, error: BaseException) -> EngineUnavailable:
        return EngineUnavailable(
            f"The engine at {self.base} does not answer ({str(error) or type(error).__name__}).",
            hint="Start it, or correct engine.url in the configuration.",
            retry_after=2.0,
        )
