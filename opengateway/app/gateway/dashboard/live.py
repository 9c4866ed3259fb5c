"""The live picture: looked at once a second however many watch, and only what changed is sent.

Each section of the picture is one kind of server-sent event, and its data is the whole section, so an event
that is missed is made up for by the next one. A reader that does not keep up misses pictures, never pieces
of one, and costs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from opengateway.app.gateway.server import ENDLESS
from opengateway.errors import AllBusy

logger = logging.getLogger(__name__)

LOOK_S = 1.0
ALIVE_S = 10.0
"""Seconds without news after which a comment shows that the connection lives."""
MOST_WATCHERS = 32

Look = Callable[[], Awaitable[dict[str, Any]]]


class Live:
    """Lives on the I/O loop."""

    def __init__(self, look: Look, look_s: float = LOOK_S) -> None:
        self._look = look
        self._look_s = look_s
        self._sections: dict[str, bytes] = {}
        self._news = asyncio.Condition()
        self._watchers = 0
        self._looking: asyncio.Task[None] | None = None

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Events until the reader hangs up. Raises `AllBusy` if too many watch already."""
        if self._watchers >= MOST_WATCHERS:
            raise AllBusy("too many pages watch this node already", hint="close some", retry_after=5.0)
        self._watchers += 1
        try:
            if self._looking is None:
                self._looking = asyncio.ensure_future(self._keep_looking())
            response = web.StreamResponse(headers={"Cache-Control": "no-store"})
            response.content_type = "text/event-stream"
            await response.prepare(request)
            telling = asyncio.ensure_future(self._tell(response))
            request.app[ENDLESS].add(telling)
            try:
                await telling
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # the reader left
                    raise
            finally:
                request.app[ENDLESS].discard(telling)
            return response
        finally:
            self._watchers -= 1
            if not self._watchers and self._looking is not None:
                self._looking.cancel()
                self._looking, self._sections = None, {}

    async def _tell(self, response: web.StreamResponse) -> None:
        sent: dict[str, bytes] = {}
        while True:
            news = {name: data for name, data in self._sections.items() if sent.get(name) is not data}
            if news:
                await response.write(b"".join(_event(name, data) for name, data in news.items()))
                sent |= news
                continue
            async with self._news:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), ALIVE_S)
                    continue
            await response.write(b": still here\n\n")

    async def _keep_looking(self) -> None:
        while True:
            try:
                picture = await self._look()
            except Exception:  # the next look may succeed, and the page shows that this one did not
                logger.exception("the dashboard could not look at the node")
            else:
                for name, section in picture.items():
                    data = orjson.dumps(section)
                    if self._sections.get(name) != data:
                        self._sections[name] = data
                async with self._news:
                    self._news.notify_all()
            await asyncio.sleep(self._look_s)


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
