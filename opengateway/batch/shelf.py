"""Files that programs leave with a node, as OpenAI's Files API has them: what batches read and write.

    batches/files/<id>          the content
    batches/files/<id>.json     what is said of it

A file is there once its .json is; the content is complete before that, so a kill leaves no half file that
anybody could see. Bounded in size and number: whoever may use the HTTP port may fill no disk.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from opengateway.errors import BadRequest, OpenGatewayError
from opengateway.home import cannot_write, write_atomically

MIB: Final = 1024 * 1024
MOST_FILE: Final = 200 * MIB
"""Bytes, OpenAI's own limit for a batch."""
MOST_TOTAL: Final = 1024 * MIB
MOST_FILES: Final = 1000
PURPOSES: Final = ("batch",)


class NoSuchFile(OpenGatewayError):
    """There is no such file here."""

    code = "not_found"
    status = 404


class ShelfFull(OpenGatewayError):
    """The files left here take up all the room that they may."""

    code = "files_full"
    status = 413


@dataclass(frozen=True, slots=True)
class Kept:
    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    owner: str = ""
    """The id of the API key that it came with; empty: the node's owner."""

    def as_json(self) -> dict[str, Any]:
        told = {name: value for name, value in asdict(self).items() if name != "owner"}
        return {**told, "object": "file", "status": "processed", "status_details": None, "expires_at": None}


@dataclass(slots=True)
class Draft:
    """A file that has come, and of which nobody has said yet what it is for."""

    name: str
    path: Path
    size: int = 0


def check_purpose(purpose: str) -> None:
    """Raises `BadRequest`."""
    if purpose not in PURPOSES:
        raise BadRequest(f"`purpose` must be {' or '.join(PURPOSES)}", param="purpose")


class Shelf:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, content: AsyncIterator[bytes], filename: str, purpose: str, owner: str = "") -> Kept:
        """Raises `BadRequest`, `ShelfFull`, `SetupError`; then nothing is left of it."""
        check_purpose(purpose)
        draft = await self.receive(content)
        try:
            return self.keep(draft, filename, purpose, owner)
        finally:
            draft.path.unlink(missing_ok=True)

    async def receive(self, content: AsyncIterator[bytes]) -> Draft:
        """Durable, and seen by nobody until `keep`; the caller removes what is not kept. Raises `ShelfFull`,
        `SetupError`; then nothing is left of it."""
        self._prepare()
        kept = self.list()
        room = min(MOST_FILE, MOST_TOTAL - sum(one.bytes for one in kept))
        if len(kept) >= MOST_FILES or room <= 0:
            raise ShelfFull(hint="delete some: DELETE /v1/files/{id}")
        name = f"file-{secrets.token_hex(12)}"
        draft = Draft(name, self._folder / f".{name}.new")
        try:
            with draft.path.open("xb") as file:
                async for piece in content:
                    draft.size += len(piece)
                    if draft.size > room:
                        raise ShelfFull(
                            f"the file is larger than the {room // MIB} MiB that there is room for"
                        )
                    file.write(piece)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
        except BaseException as error:
            draft.path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise cannot_write(draft.path, error) from error
            raise
        return draft

    def keep(self, draft: Draft, filename: str, purpose: str, owner: str = "") -> Kept:
        """Raises `BadRequest`, `SetupError`."""
        check_purpose(purpose)
        try:
            return self._keep(draft.path, draft.name, draft.size, filename, purpose, owner)
        except OSError as error:
            raise cannot_write(draft.path, error) from error

    def adopt(self, source: Path, name: str, filename: str, owner: str = "") -> Kept:
        """A file that the node itself has written, under an id that it chose: the same when it is done
        twice."""
        self._prepare()
        found = self._read(name)
        return found or self._keep(source, name, source.stat().st_size, filename, "batch_output", owner)

    def list(self, owner: str = "") -> list[Kept]:
        """Newest first. `owner`: only what came with this key; empty: all."""
        if not self._folder.is_dir():
            return []
        found = [self._read(path.name.removesuffix(".json")) for path in self._folder.glob("file-*.json")]
        mine = (one for one in found if one is not None and owner in ("", one.owner))
        return sorted(mine, key=lambda one: (-one.created_at, one.id))

    def get(self, name: str, owner: str = "") -> Kept:
        """Raises `NoSuchFile`, also for a file of another key."""
        found = self._read(name)
        if found is None or owner not in ("", found.owner):
            raise NoSuchFile(f"there is no file {name[:80]!r}", hint="GET /v1/files lists them")
        return found

    def path(self, name: str, owner: str = "") -> Path:
        """Raises `NoSuchFile`."""
        return self._folder / self.get(name, owner).id

    def delete(self, name: str, owner: str = "") -> None:
        """Raises `NoSuchFile`."""
        found = self.get(name, owner)
        (self._folder / f"{found.id}.json").unlink(missing_ok=True)
        (self._folder / found.id).unlink(missing_ok=True)

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def _keep(  # noqa: PLR0917 - what a file is said to be
        self, source: Path, name: str, size: int, filename: str, purpose: str, owner: str
    ) -> Kept:
        kept = Kept(name, size, int(time.time()), filename[:255], purpose, owner)
        source.replace(self._folder / name)
        write_atomically(self._folder / f"{name}.json", orjson.dumps(asdict(kept)), mode=0o600)
        return kept

    def _read(self, name: str) -> Kept | None:
        if not is_id(name, "file-"):
            return None
        try:
            return Kept(**orjson.loads((self._folder / f"{name}.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def is_id(name: str, prefix: str) -> bool:
    """Whether this is an id of ours: it becomes a file name."""
    rest = name.removeprefix(prefix)
    return rest != name and 0 < len(rest) <= 64 and all(c in "0123456789abcdef-" for c in rest)
