"""From an actor's answer to an asyncio task.

pykka's futures can be awaited, but that blocks the event loop until the answer is there:
in half a second of work the loop ticked once, where it should have ticked 50 times.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypeVar

from actors.kernel.reply import Reply

R = TypeVar("R")


async def answer(reply: Reply[R], timeout: float | None = None) -> R:
    """Await a reply without blocking the loop. Raises the answer if it is an error.

    Raises TimeoutError after `timeout` seconds; the actor goes on with what it was asked.
    """
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def on_the_actors_thread(_: Reply[R]) -> None:
        # RuntimeError: the loop has closed meanwhile, so nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(arrived.set)

    if not reply.answered:
        reply.then(on_the_actors_thread)
        async with asyncio.timeout(timeout):
            await arrived.wait()
    return reply.get(timeout=0)
