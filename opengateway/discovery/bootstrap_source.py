"""Where the bootstrap document comes from, and the last good one of it, which the home keeps.

A source that is gone, or that gives something that is not believed, changes nothing: the kept document goes
on until it expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from opengateway.discovery.bootstrap import DOCUMENT_LIMIT, Bootstrap, BootstrapRefused, check, read
from opengateway.download import download
from opengateway.errors import SetupError
from opengateway.home import write_atomically
from opengateway.units import NetworkId, NodeId

FETCH_LIMIT_S = 20.0


@dataclass(slots=True)
class BootstrapSource:
    location: str
    """A path, `file://`, `http://` or `https://`. Plain HTTP is no worse: the signatures are what counts."""
    net: NetworkId
    publishers: tuple[NodeId, ...]
    needed: int
    kept: Path
    now_ms: Callable[[], int]
    document: Bootstrap | None = None
    """The newest one that is believed."""
    problem: str = ""
    """One sentence why the source gave nothing better; empty if it did."""
    _newest_ms: int = 0

    def load(self) -> Bootstrap | None:
        """What the home keeps. It is checked like any other: publishers may have changed since."""
        try:
            data = self._read_file(self.kept)
        except OSError:
            return None
        try:
            self._believe(data)
        except BootstrapRefused as refused:
            self.problem = f"the kept copy: {refused.message}"
        return self.current()

    async def fetch(self) -> Bootstrap | None:
        """Ask the source; the document that holds now, whether or not it is a new one. Raises nothing."""
        try:
            if self.location.startswith(("http://", "https://")):
                data = await download(self.location, limit=DOCUMENT_LIMIT, within_s=FETCH_LIMIT_S)
            else:
                path = Path(self.location.removeprefix("file://")).expanduser()
                data = await asyncio.to_thread(self._read_file, path)
            if self._believe(data):
                write_atomically(self.kept, data)
            self.problem = ""
        except BootstrapRefused as refused:
            self.problem = f"{refused.message} ({self.location})"
        except SetupError as error:
            self.problem = f"the bootstrap document is not kept: {error.message}"
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            self.problem = f"the bootstrap document cannot be read: {self.location}: {why}"
        return self.current()

    def current(self) -> Bootstrap | None:
        """The document, unless it has expired by now."""
        document = self.document
        return document if document is not None and document.expires_ms > self.now_ms() else None

    def _believe(self, data: bytes) -> bool:
        """Take it if it is to be believed; whether it is another than before. Raises `BootstrapRefused`."""
        document = read(data)
        check(
            document,
            self.net,
            self.publishers,
            self.needed,
            now_ms=self.now_ms(),
            newest_ms=self._newest_ms,
        )
        new = document != self.document
        self.document, self._newest_ms = document, document.made_ms
        return new

    def _read_file(self, path: Path) -> bytes:
        with path.open("rb") as file:
            return file.read(DOCUMENT_LIMIT + 1)
