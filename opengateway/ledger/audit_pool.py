"""Auditing the chunks of a file in several processes, results in their order.

The workers are started anew (`spawn`) rather than forked: a fork of a process with threads can stand still
for ever. At most three chunks per worker are under way, so memory does not grow with the file.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor

from opengateway.ledger.audit_chain import audit_chunk
from opengateway.ledger.audit_chunk import ChunkResult, Context
from opengateway.ledger.ogwl import Chunk

AHEAD = 3


def audit_chunks(context: Context, chunks: Sequence[Chunk], jobs: int) -> Iterator[ChunkResult]:
    if jobs < 2 or len(chunks) < 2:
        for chunk in chunks:
            yield audit_chunk(context, chunk)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(chunks)), mp_context=spawn) as pool:
        waiting: deque[Future[ChunkResult]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(audit_chunk, context, chunk))
                if len(waiting) >= AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
