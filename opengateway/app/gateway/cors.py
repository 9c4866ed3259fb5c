"""CORS: pages of other origins may use the port only where the owner has named them (`http.origins`)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aiohttp import web

HEADERS = ("authorization", "content-type", "x-api-key")
PREFIXES = ("x-opengateway-", "x-stainless-", "openai-")
"""Headers that a page may send: ours, and those that OpenAI's own client adds to every request."""
MOST_HEADERS = 40
SHOWN = (
    "x-opengateway-request-id, x-opengateway-route, x-opengateway-node, x-opengateway-credits, retry-after"
)
REMEMBERED_S = "600"
NAME = re.compile(r"[a-z0-9-]{1,64}")


class Cors:
    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks whether a page may ask; None if this is no such question. Where
        no origin is named, and for /node/*, it is none: the router refuses OPTIONS."""
        if request.method != "OPTIONS" or not self._origins or request.path.startswith("/node/"):
            return None
        if request.headers.get("Origin") not in self._origins:
            return None
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST, DELETE",
                "Access-Control-Allow-Headers": ", ".join((*HEADERS, *_ours(request))),
                "Access-Control-Max-Age": REMEMBERED_S,
            },
        )

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let the page read the answer. Never with credentials: a key is sent by the page itself."""
        origin = request.headers.get("Origin")
        response.headers.add("Vary", "Origin")
        if origin in self._origins and not request.path.startswith("/node/"):
            assert origin is not None
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = SHOWN


def _ours(request: web.Request) -> list[str]:
    """Of the headers that the browser asks about, those that mean something here."""
    asked = request.headers.get("Access-Control-Request-Headers", "").lower().split(",")[:MOST_HEADERS]
    names = (name.strip() for name in asked)
    return [name for name in names if name.startswith(PREFIXES) and NAME.fullmatch(name)]
