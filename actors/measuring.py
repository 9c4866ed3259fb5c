"""A measurement of an idle engine: one short answer alone, then one in every slot at once.

On the I/O loop. What users ask for goes before: it is given up as soon as somebody wants an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from actors.messages import SpeedSeen
from opengateway.engines.protocol import Engine, GenerateRequest
from opengateway.engines.stream import Stream

TOKENS: Final = 24
"""Enough to tell a speed, and 10 s of the slowest machine that anybody bears with."""
LIMIT_S: Final = 60.0
PROMPT: Final = "Count from one to a hundred in words: one, two, three, four,"
LOOK_S: Final = 0.1


async def measure(
    engine: Engine, model: str, busy: Callable[[], bool], told: Callable[[SpeedSeen], object]
) -> None:
    """`busy`: somebody wants an answer of this engine."""
    for at_once in dict.fromkeys((1, engine.slots)):
        tasks = [asyncio.ensure_future(_answer(engine, model)) for _ in range(at_once)]
        try:
            async with asyncio.timeout(LIMIT_S):
                while not all(task.done() for task in tasks):
                    if busy():
                        return
                    await asyncio.wait(tasks, timeout=LOOK_S)
            seen = [speeds for task in tasks if (speeds := task.result()) is not None]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if len(seen) == at_once:
            prompt = max(prompt for prompt, _ in seen)
            told(SpeedSeen(model, prompt, sum(generate for _, generate in seen) / at_once, at_once))


async def _answer(engine: Engine, model: str) -> tuple[float, float] | None:
    """Prompt and generated tokens/s; None where it was too short to tell."""
    stream = Stream(limit=10 * TOKENS)
    body = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
    await engine.generate(GenerateRequest("completion", model, body), stream)
    finished = stream.finished
    if finished is None or finished.completion_tokens < TOKENS // 2 or stream.first_at is None:
        return None
    seconds = finished.generate_seconds or (stream.ended_at or stream.moved_at) - stream.first_at
    prompt_s = finished.prompt_seconds
    prompt = finished.prompt_tokens / prompt_s if prompt_s > 0 else 0.0
    return (prompt, finished.completion_tokens / seconds) if seconds > 0 else None
