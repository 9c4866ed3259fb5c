"""/node/models/*: fetch, import and remove models of this node's engines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import orjson
from aiohttp import web

from opengateway.app.gateway.errors import error_body
from opengateway.engines.gguf import read_header
from opengateway.engines.protocol import Engine
from opengateway.errors import BadRequest, DiskFull, EngineUnavailable, OpenGatewayError, UnknownModel

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")
RESERVE = 256 * 1024 * 1024
"""Bytes of disk that an import leaves free: the ledger must be able to go on."""


@runtime_checkable
class Library(Protocol):
    """An engine that fetches and deletes models itself, as Ollama does."""

    def pull(self, name: str) -> AsyncIterator[dict[str, Any]]: ...

    async def remove(self, name: str) -> None: ...


class ModelRoutes:
    def __init__(
        self,
        folder: Path,
        engines: Mapping[str, Engine],
        *,
        look: Callable[[], object],
        release: Callable[[Path], object],
    ) -> None:
        self._folder = folder
        self._engines = engines
        self._look = look
        """Have the node look for engines and models now."""
        self._release = release
        """End the engine that serves this file."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/node/models/pull", self.pull),
            web.post("/node/models/rm", self.remove),
            web.post("/node/models/import", self.import_file),
        ]

    async def pull(self, request: web.Request) -> web.StreamResponse:
        name = await _text(request, "name")
        library = self._library()
        if library is None:
            raise EngineUnavailable(
                "no engine of this node can fetch models",
                hint="install Ollama and start it, or import a file: opengateway models import FILE.gguf",
            )
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            async for step in library.pull(name):
                await response.write(orjson.dumps(step) + b"\n")
        except OpenGatewayError as error:
            await response.write(orjson.dumps(error_body(error)) + b"\n")
        self._look()
        await response.write_eof()
        return response

    async def remove(self, request: web.Request) -> web.Response:
        name = await _text(request, "name")
        file = self._file(name)
        if file is not None:
            self._release(file)
            await asyncio.to_thread(file.unlink)
        elif (library := self._library()) is not None:
            await library.remove(name)
        else:
            raise UnknownModel(
                f"this node has no model {name!r} of its own", hint="`opengateway models` lists them"
            )
        self._look()
        return web.json_response({"name": name})

    async def import_file(self, request: web.Request) -> web.Response:
        source = Path(await _text(request, "path", form=None))
        if not source.is_absolute() or not source.is_file():
            raise BadRequest(f"{source} is not a file", hint="give the path of a GGUF file on this machine")
        read_header(source)  # says so if it is none
        target = self._folder / source.name
        if target.suffix != ".gguf":
            raise BadRequest(f"{source.name} must end in .gguf")
        if target.exists():
            raise BadRequest(
                f"a model {target.stem} is here already",
                hint=f"remove it first: opengateway models rm {target.stem}",
            )
        await asyncio.to_thread(_copy, source, target)
        self._look()
        return web.json_response({"name": target.stem})

    def _library(self) -> Library | None:
        return next((engine for engine in self._engines.values() if isinstance(engine, Library)), None)

    def _file(self, name: str) -> Path | None:
        for candidate in (self._folder / f"{name}.gguf", self._folder / name):
            if candidate.parent == self._folder and candidate.suffix == ".gguf" and candidate.is_file():
                return candidate
        return None


def _copy(source: Path, target: Path) -> None:
    """A hard link where the disk allows it; else a copy that appears only when it is whole."""
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    size = source.stat().st_size
    if shutil.disk_usage(target.parent).free < size + RESERVE:
        raise DiskFull(f"{source.name} needs {size / 1e9:.1f} GB, and the disk of {target.parent} has less")
    draft = target.with_suffix(".part")
    try:
        shutil.copyfile(source, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


async def _text(request: web.Request, field: str, form: re.Pattern[str] | None = NAME) -> str:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    value = body.get(field) if isinstance(body, dict) else None
    if not isinstance(value, str) or not value or (form is not None and not form.fullmatch(value)):
        raise BadRequest(f"`{field}` is missing or not usable")
    return value
