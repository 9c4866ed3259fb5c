"""/v1/files and /v1/batches, as OpenAI's clients use them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from opengateway.app.gateway.batch_desk import BatchDesk
from opengateway.app.gateway.callers import NOBODY, Caller
from opengateway.app.gateway.door import BODY_RATE, BODY_S, TooSlow, body_of
from opengateway.batch.shelf import check_purpose
from opengateway.errors import BadRequest, Unsupported

MOST_LISTED = 100
MOST_FILES_LISTED = 10_000
"""In a page of batches and of files: OpenAI's own limits."""
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
        shelf, purpose, draft, filename = self._desk.shelf, "", None, "file"
        try:
            # In either order: some clients send what a file is for after it.
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader):
                    raise BadRequest("a form inside a form is no file")
                if part.name == "purpose" and not purpose:
                    purpose = (await part.read_chunk(FIELD_LIMIT)).decode("utf-8", "replace").strip()
                    check_purpose(purpose)
                elif part.name == "file" and draft is None:
                    filename = part.filename or filename
                    draft = await shelf.receive(_pieces(part))
                else:
                    raise _unwanted(part.name or "")
            if draft is None:
                raise BadRequest("the form has no field `file`", param="file")
            return _json(shelf.keep(draft, filename, purpose, _owner(request)).as_json())
        except (ValueError, HttpProcessingError) as error:  # what is no form
            raise BadRequest(f"the form cannot be read: {error}") from error
        finally:
            if draft is not None:
                draft.path.unlink(missing_ok=True)

    async def files(self, request: web.Request) -> web.Response:
        purpose, order = request.query.get("purpose"), request.query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise BadRequest("`order` must be asc or desc", param="order")
        found = [one for one in self._desk.shelf.list(_owner(request)) if purpose in (None, one.purpose)]
        rows = [one.as_json() for one in found]
        return _page(request, rows if order == "desc" else rows[::-1], most=MOST_FILES_LISTED)

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


def _unwanted(name: str) -> BadRequest:
    if name in ("purpose", "file"):
        return BadRequest(f"the form has the field `{name}` twice", param=name)
    if name.startswith("expires_after"):
        words = "`expires_after` cannot be honoured: delete the file when you are done"
        return Unsupported(words, param="expires_after")
    return BadRequest(f"unknown field `{name[:60]}`", hint="a form has `purpose` and `file`", param=name[:60])


def _page(request: web.Request, rows: list[dict[str, Any]], *, most: int = MOST_LISTED) -> web.Response:
    """A page of a list, as OpenAI pages: `limit`, and `after` which id."""
    given = request.query.get("limit", "20" if most == MOST_LISTED else str(most))
    limit = int(given) if given.isascii() and given.isdigit() and len(given) <= 6 else 0
    if not 1 <= limit <= most:
        raise BadRequest(f"`limit` must be a whole number from 1 to {most}", param="limit")
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
