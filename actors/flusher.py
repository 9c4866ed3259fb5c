"""The thread that waits for the disk, so that the ledger's thread need not.

A disk takes 0.2 ms to say that it has a batch, and 4 ms where others write as well; a third of the ledger's
time went there, and as long again for the interpreter afterwards. Now the ledger signs the next batch
meanwhile. One batch at a time: what comes in during one is the next, so the batches grow with the load.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from actors.kernel import Reply
from opengateway.ledger.book import Written


class Batch(NamedTuple):
    """What is written and must be made durable, and who is answered then."""

    written: Written | None
    answers: list[tuple[Reply[Any], Any]]


class Flusher:
    """`take` a batch when it is `free`; `stop` before what it writes to is closed."""

    def __init__(
        self, name: str, *, freed: Callable[[], object], convicted: Callable[[bytes], object]
    ) -> None:
        """Both are called on the flusher's thread: `convicted` with every new proof of fraud that is durable,
        `freed` after a batch, if somebody asked for it meanwhile, or if it failed."""
        self._freed = freed
        self._convicted = convicted
        self._changed = threading.Condition()
        self._batch: Batch | None = None
        self._wanted = self._stopping = False
        self.failure: Exception | None = None
        """Why the last batch did not become durable."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def free(self) -> bool:
        """If not, `freed` will be called."""
        with self._changed:
            self._wanted = self._batch is not None
            return not self._wanted

    def take(self, batch: Batch) -> None:
        """Waits for the batch before it."""
        with self._changed:
            while self._batch is not None:
                self._changed.wait()
            self._batch = batch
            self._changed.notify_all()

    def wait(self) -> None:
        """Until everything that was taken is durable. Raises what went wrong with it."""
        with self._changed:
            while self._batch is not None:
                self._changed.wait()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Finishes the batch in hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            self._flush(batch)
            with self._changed:
                self._batch = None
                wanted, self._wanted = self._wanted, False
                self._changed.notify_all()
            if wanted or self.failure is not None:
                self._freed()

    def _next(self) -> Batch | None:
        with self._changed:
            while self._batch is None and not self._stopping:
                self._changed.wait()
            return self._batch

    def _flush(self, batch: Batch) -> None:
        try:
            if self.failure is None and batch.written is not None:
                batch.written.make_durable()
                for proof in batch.written.proofs:
                    self._convicted(proof)
        except Exception as error:
            self.failure = error
        for reply, answer in batch.answers:
            if self.failure is None:
                reply.answer(answer)
            else:
                reply.refuse(self.failure)
