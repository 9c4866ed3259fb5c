"""The HTTP side of every engine: OpenAI-compatible servers, our own llama.cpp, Ollama.

On the hot path one read of the socket becomes one `stream.put`, and nothing is awaited per chunk while
the reader keeps up. There is no time limit on an answer, since no limit fits every model and queue:
the job's deadline is the node's business, and cancelling the task closes the connection at once.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol
from urllib.parse import urljoin, urlsplit

import orjson

from opengateway.engines.connection import BrokenOff, Response
from opengateway.engines.openai_format import error_of
from opengateway.engines.pool import NotConnected, Pool
from opengateway.engines.stream import Chunk, Finished, Stream
from opengateway.errors import Cancelled, EngineFailed, EngineUnavailable, RequestError

CONTROL_S: Final = 15.0
"""Seconds for a control call (models, health), which needs no slot but may find the host busy."""
MAX_REPLY: Final = 64 * 1024 * 1024
"""Bytes of one reply that is not streamed: 1,000 embeddings of 4,096 numbers as text."""
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
        self.base = base.rstrip("/") + "/"
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._pool: Pool | None = None

    async def open(self) -> None:
        await self.close()
        self._pool = Pool(self.base, self._headers)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    def target(self, path: str) -> str:
        """`path` as a request names it: relative to the base; with a leading slash, to the server's root."""
        return urlsplit(urljoin(self.base, path)).path

    async def post(self, target: str, body: bytes, *, fresh: bool = False) -> Response:
        """Raises `EngineUnavailable` or `EngineFailed` where no response comes. Whoever calls closes
        the response. `fresh` takes a connection of its own that is closed afterwards."""
        return await self._request("POST", target, body, fresh=fresh)

    async def post_json(self, target: str, body: bytes) -> Any:
        response = await self.post(target, body)
        try:
            return await self.whole(response)
        finally:
            response.close()

    async def get_json(self, path: str) -> Any:
        """A control call. Raises `EngineUnavailable` where nothing answers in time."""
        try:
            async with asyncio.timeout(CONTROL_S):
                response = await self._request("GET", self.target(path))
                try:
                    return await self.whole(response)
                finally:
                    response.close()
        except TimeoutError as error:
            raise self._unreachable(error) from error

    async def whole(self, response: Response) -> Any:
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

    async def read(self, response: Response) -> bytes:
        """The whole body, if it is not beyond measure."""
        raw = bytearray()
        try:
            while len(raw) <= MAX_REPLY:
                data = await response.some()
                if not data:
                    return bytes(raw)
                raw += data
        except BrokenOff as error:
            raise self.failed(error) from error
        raise EngineFailed(f"The engine's reply is larger than {MAX_REPLY} bytes.")

    async def refusal(self, response: Response) -> RequestError:
        """What a status other than 200 means."""
        raw = await self.read(response)
        try:
            reply = orjson.loads(raw)
        except orjson.JSONDecodeError:
            reply = raw[:500].decode("utf-8", "replace").strip()
        try:
            retry_after = float(response.headers.get("retry-after", ""))
        except ValueError:
            retry_after = None
        return error_of(response.status, reply, retry_after)

    async def copy(self, response: Response, decoder: Decoder, stream: Stream) -> None:
        """The whole answer into the stream, at the reader's pace."""
        try:
            while not decoder.done:
                data = await response.some()
                if not data:
                    break
                chunks = decoder.feed(data)
                if chunks and not stream.put(chunks):
                    await stream.room()
                if stream.error is not None:
                    raise Cancelled  # the reader has gone
        except BrokenOff as error:
            raise self.failed(error) from error
        stream.finish(decoder.finished())
        if response.at_eof:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                while await response.some():
                    pass
        except (TimeoutError, BrokenOff):
            pass  # the answer is whole; only this connection is not used again

    def failed(self, error: Exception) -> EngineFailed:
        return EngineFailed(f"The engine at {self.base} broke off ({str(error) or type(error).__name__}).")

    # -- below -----------------------------------------------------------------------

    async def _request(self, method: str, target: str, body: bytes = b"", *, fresh: bool = False) -> Response:
        if self._pool is None:
            raise EngineUnavailable("The engine is not started.", retry_after=1.0)
        try:
            return await self._pool.request(method, target, body, fresh=fresh)
        except NotConnected as error:
            raise self._unreachable(error) from error
        except BrokenOff as error:
            raise self.failed(error) from error

    def _unreachable(self, error: BaseException) -> EngineUnavailable:
        return EngineUnavailable(
            f"The engine at {self.base} does not answer ({str(error) or type(error).__name__}).",
            hint="Start it, or correct engine.url in the configuration.",
            retry_after=2.0,
        )
