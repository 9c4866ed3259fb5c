"""Makes this node's identity stamp when there is somebody to show it to, and shows it.

    a stranger is met, or refuses us for want of it -> is it in the ledger? -> else a child process looks
    for it -> the ledger keeps it -> every peer is shown it, and whoever waited asks again

Who lives on its own link, or in a private network, never needs one and never works for one. The search runs
in a process of the lowest priority and ends with the node; begun anew it has lost nothing (stamp_child.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from typing import Any, Final

from actors.io_loop import IoLoop
from actors.kernel import Address, answer
from actors.messages import KeepStamp, LedgerMessage, StampSought
from opengateway.errors import StampMissing
from opengateway.ledger import stamp_child
from opengateway.ledger.stamp import NONCE_BYTES, TRIES

logger = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds for the ledger to answer."""
AGAIN_S: Final = 60.0
"""Seconds until the next try where the search itself broke."""


class Stamping:
    """For as long as the node lives. All of it on the I/O loop, but for `wanted` and `describe`."""

    def __init__(self, io: IoLoop, ledger: Address[LedgerMessage], *, tries: int = TRIES) -> None:
        self._io = io
        self._ledger = ledger
        self._tries = tries
        self._made: asyncio.Future[bytes] | None = None
        self._per_s = 0.0
        self.stamp = b""
        self.made: Callable[[bytes], None] = lambda _: None
        """Told once there is one."""

    def wanted(self) -> None:
        """Somebody may want to see it. From any thread."""
        if self._made is None:
            self._io.call(self._begin)

    def describe(self) -> dict[str, Any]:
        """For `status`. `seconds`: how long it takes on average from now; what has passed does not count."""
        if self.stamp:
            return {"state": "made"}
        if self._made is None:
            return {"state": "not needed yet"}
        return {"state": "being made", "seconds": round(self._tries / self._per_s) if self._per_s else None}

    async def ready(self, patience: float) -> bytes:
        """The stamp; raises `StampMissing` if it is not made within so many seconds."""
        future = self._begin()
        try:
            return await asyncio.wait_for(asyncio.shield(future), patience)
        except TimeoutError:
            left = self._tries / (self._per_s or 600.0)
            raise StampMissing(
                f"the identity stamp of this node is still being made, about {left:.0f} s",
                hint="ask again then, or ask a node on your own link",
                retry_after=left,
            ) from None

    def _begin(self) -> asyncio.Future[bytes]:
        if self._made is None:
            self._made = asyncio.get_running_loop().create_future()
            self._io.task(self._make(self._made))
        return self._made

    async def _make(self, future: asyncio.Future[bytes]) -> None:
        while not future.done():
            try:
                self.stamp, challenge = await answer(self._ledger.ask(StampSought()), PATIENCE)
                if not self.stamp:
                    nonce = await self._search(challenge)
                    self.stamp = await answer(self._ledger.ask(KeepStamp(nonce)), PATIENCE)
                    logger.info("the identity stamp of this node is made")
                future.set_result(self.stamp)
                self.made(self.stamp)
            except Exception as error:
                logger.warning("the identity stamp was not made, again in %.0f s: %s", AGAIN_S, error)
                await asyncio.sleep(AGAIN_S)

    async def _search(self, challenge: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", stamp_child.__file__, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{challenge.hex()} {self._tries}\n".encode())
            while line := (await process.stdout.readline()).strip():
                if len(line) == 2 * NONCE_BYTES:
                    return bytes.fromhex(line.decode())
                self._per_s = float(line)
            raise RuntimeError(f"the search ended with {await process.wait()}")
        finally:
            await asyncio.shield(_end(process))


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
