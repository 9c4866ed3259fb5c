"""/v1/files and /v1/batches, as OpenAI's clients use them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from aiohttp import BodyPartReader, web

from opengateway.app.gateway.batch_desk import BatchDesk
from opengateway.app.gateway.callers import NOBODY, Caller
from opengateway.app.gateway.door import BODY_RATE, BODY_S, TooSlow, body_of
from opengateway.errors import BadRequest

MOST_LISTED = 100
PIECE = 256 * 1024
FIELD_LIMIT = 1024
"""Bytes of a form field that is no file."""


class BatchRoutes:
    def __init__(self, desk: BatchDesk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/files", self.upload),
            web.get("/v1/files", self.files),
            web.get("/v1/files/{id}", self.file),
            web.get("/v1/files/{id}/content", self.content),
            web.delete("/v1/files/{id}", self.delete),
            web.post("/v1/batches", self.create),
            web.get("/v1/batches", self.batches),
            web.get("/v1/batches/{id}", self.batch),
            web.post("/v1/batches/{id}/cancel", self.cancel),
        ]

    async def upload(self, request: web.Request) -> web.Response:
        if not request.content_type.startswith("multipart/"):
            raise BadRequest("a file is sent as multipart/form-data with the fields `purpose` and `file`")
        purpose, kept = "", None
        try:
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader):
                    raise BadRequest("a form inside a form is no file")
                if part.name == "purpose":
                    purpose = (await part.read_chunk(FIELD_LIMIT)).decode("utf-8", "replace").strip()
                elif part.name == "file" and kept is None:
                    if not purpose:
                        raise BadRequest("the field `purpose` must come before `file`")
                    kept = await self._desk.shelf.put(
                        _pieces(part), part.filename or "file", purpose, _owner(request)
                    )
        except ValueError as error:  # what is no form
            raise BadRequest(f"the form cannot be read: {error}") from error
        if kept is None:
            raise BadRequest("the form has no field `file`")
        return _json(kept.as_json())

    async def files(self, request: web.Request) -> web.Response:
        purpose = request.query.get("purpose")
        found = [one for one in self._desk.shelf.list(_owner(request)) if purpose in (None, one.purpose)]
        return _page(request, [one.as_json() for one in found])

    async def file(self, request: web.Request) -> web.Response:
        return _json(self._desk.shelf.get(request.match_info["id"], _owner(request)).as_json())

    async def content(self, request: web.Request) -> web.StreamResponse:
        path = self._desk.shelf.path(request.match_info["id"], _owner(request))
        return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})

    async def delete(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self._desk.shelf.delete(name, _owner(request))
        return _json({"id": name, "object": "file", "deleted": True})

    async def create(self, request: web.Request) -> web.Response:
        try:
            asked = orjson.loads(await body_of(request))
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the body is not JSON: {error}") from error
        if not isinstance(asked, dict):
            raise BadRequest("the body must be a JSON object")
        return _json(self._desk.create(asked, _owner(request)).as_json())

    async def batches(self, request: web.Request) -> web.Response:
        desk = self._desk
        return _page(request, [desk.seen(batch).as_json() for batch in desk.batches.list(_owner(request))])

    async def batch(self, request: web.Request) -> web.Response:
        desk = self._desk
        return _json(desk.seen(desk.batches.get(request.match_info["id"], _owner(request))).as_json())

    async def cancel(self, request: web.Request) -> web.Response:
        return _json(self._desk.cancel(request.match_info["id"], _owner(request)).as_json())


def _owner(request: web.Request) -> str:
    """The id of the API key that it was sent with: files and batches are seen by whoever has brought them,
    and by the owner of the node, who has none."""
    caller: Caller = request.get("caller", NOBODY)
    return caller.key.id if caller.key is not None else ""


async def _pieces(part: BodyPartReader) -> AsyncIterator[bytes]:
    """Raises `TooSlow` for a file that does not come."""
    started, size = time.monotonic(), 0
    while True:
        left = started + BODY_S + size / BODY_RATE - time.monotonic()
        try:
            piece = await asyncio.wait_for(part.read_chunk(PIECE), max(0.1, left))
        except TimeoutError:
            raise TooSlow(f"the file did not come: send at least {BODY_RATE // 1024} KiB a second") from None
        if not piece:
            return
        size += len(piece)
        yield piece


def _page(request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
    """A page of a list, as OpenAI pages: `limit`, and `after` which id."""
    try:
        limit = min(MOST_LISTED, max(1, int(request.query.get("limit", "20"))))
    except ValueError as error:
        raise BadRequest("`limit` must be a whole number") from error
    after: Callable[[int], bool] = lambda _: True  # noqa: E731
    if (last := request.query.get("after")) is not None:
        at = next((index for index, row in enumerate(rows) if row["id"] == last), len(rows))
        after = lambda index: index > at  # noqa: E731
    left = [row for index, row in enumerate(rows) if after(index)]
    shown = left[:limit]
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {}
    return _json({"object": "list", "data": shown, "has_more": len(left) > limit, **ends})


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
