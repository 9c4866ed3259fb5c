"""A second place is asked for an answer whose first token is late; whoever speaks first gives it all.

The reader has one stream and never learns of it. The second maker fills a `Contender`, which hands on what it
gets once it has won: nothing was said when its first chunk came. The loser is cancelled in the same instant,
so that it works, and is paid, for nothing.

    main       late ...................... first token -> contender is cancelled
    contender          asked ... first token -> main's maker is cancelled, the rest goes to main
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from opengateway.engines.stream import Chunk, Finished, Route, Stream


class Contender(Stream):
    """On the I/O loop; `enter` it before its maker begins."""

    def __init__(self, main: Stream) -> None:
        super().__init__()
        self.won = False
        self._main = main

    def enter(self) -> None:
        """From now on the first token decides, and a reader who goes away stops both."""
        main = self._main
        if main.done or main.first_at is not None:
            self.cancel()
            return
        main.on_first = self._lost
        main.on_end = self._lost

    def _lost(self) -> None:
        # Not from inside the other's `put`: a cancelled maker may have much to say about it.
        asyncio.get_running_loop().call_soon(self.cancel)

    def _win(self) -> bool:
        main = self._main
        if main.done or main.first_at is not None:
            self._lost()
            return False
        self.won = True
        main.on_first = main.on_end = None
        loser, main.on_cancel, main.on_drain = main.on_cancel, None, None
        if loser is not None:
            loser()
        main.on_cancel, main.on_drain = self.cancel, self._drained
        if self.route is not None:
            main.opened(self.route)
        return True

    def _drained(self, count: int) -> None:
        if self.on_drain is not None:
            self.on_drain(count)

    # -- the producer ----------------------------------------------------------------

    def opened(self, route: Route) -> None:
        self.route = route
        if self.won:
            self._main.opened(route)

    def put(self, chunks: Iterable[Chunk]) -> bool:
        if self.done or not (self.won or self._win()):
            return True
        self.first_at = self.first_at or self._main.moved_at
        more = self._main.put(chunks)
        self.moved_at = self._main.moved_at
        return more

    async def room(self) -> None:
        await self._main.room()

    def finish(self, finished: Finished) -> None:
        if not self.done and (self.won or self._win()):
            self.finished = finished
            self._main.finish(finished)

    def charge(self, rid: bytes, amount: int) -> None:
        self._main.charge(rid, amount)
