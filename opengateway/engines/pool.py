"""Connections to one engine's server: made, kept, and used again."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import Final
from urllib.parse import unquote, urlsplit

from opengateway.engines.connection import Closed, Response
from opengateway.errors import ConfigInvalid

CONNECT_S: Final = 5.0
"""Seconds to connect: a host that is down across the world shows itself within 3 SYN retries."""
KEEP_S: Final = 12.0
"""Seconds that a connection is kept for the next request. Servers close idle ones after 5 s to a minute."""


class NotConnected(OSError):
    """Nobody answers at that address."""


class Pool:
    """Connections to one server. Not limited in number: the node owns the limit."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        """Raises `ConfigInvalid` for a URL that names no server."""
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError as error:
            raise ConfigInvalid(f"engine.url {url[:200]!r} is no URL: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigInvalid(
                f"engine.url {url[:200]!r} names no server", hint="for example: http://127.0.0.1:8000/v1"
            )
        self._host = host
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = port or (443 if self._tls else 80)
        given = {"Host": parts.netloc.rpartition("@")[2]} | headers
        if parts.username and "Authorization" not in given:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            given["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
        if any("\r" in value or "\n" in value for value in given.values()):
            raise ConfigInvalid("engine.api_key has a line break in it")
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self._kept_head = f" HTTP/1.1\r\n{lines}".encode()
        self._closing_head = self._kept_head + b"Connection: close\r\n"
        self._idle: list[Response] = []
        """The most recent last."""
        self._used: set[Response] = set()

    async def request(self, method: str, target: str, body: bytes, *, fresh: bool = False) -> Response:
        """The response, once its headers are there. Whoever calls closes it. `fresh`: on a connection of its
        own that is closed afterwards. Raises `NotConnected` or `BrokenOff`."""
        lines = self._closing_head if fresh else self._kept_head
        head = b"%s %s%sContent-Length: %d\r\n\r\n" % (method.encode(), target.encode(), lines, len(body))
        kept = None if fresh else self._take()
        response = kept or await self._connect()
        self._used.add(response)
        try:
            await response.ask(head, body, keep=not fresh)
        except Closed:
            if kept is None:
                raise
            # A kept connection that the server closed in the instant of our request: the race that every
            # keep-alive client has. Nothing was answered, so it is asked once more.
            return await self.request(method, target, body, fresh=True)
        except BaseException:
            response.abort()
            raise
        return response

    def give_back(self, response: Response) -> None:
        if response in self._used:  # else it was given back before
            self._used.remove(response)
            response.idle_since = asyncio.get_running_loop().time()
            self._idle.append(response)

    def forget(self, response: Response) -> None:
        self._used.discard(response)
        if response in self._idle:
            self._idle.remove(response)

    async def close(self) -> None:
        """Cuts what is being read, too."""
        for response in (*self._idle, *self._used):
            response.abort()
        await asyncio.sleep(0)  # for the loop to close them

    def _take(self) -> Response | None:
        oldest = asyncio.get_running_loop().time() - KEEP_S
        while self._idle:
            response = self._idle.pop()
            if response.idle_since > oldest:
                return response
            response.abort()
        return None

    async def _connect(self) -> Response:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, response = await loop.create_connection(
                    lambda: Response(self), self._host, self._port, ssl=self._tls
                )
        except TimeoutError as error:
            raise NotConnected(f"no connection within {CONNECT_S:.0f} s") from error
        except (OSError, ssl.SSLError, UnicodeError) as error:
            raise NotConnected(str(error) or type(error).__name__) from error
        return response
