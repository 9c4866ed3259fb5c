"""The batches that a node answers for its programs: each a task on the I/O loop, resumed after a restart.

The answers gather in one work file, which is all that is needed to go on after a kill; at the end it is
parted into the output file and the error file that OpenAI's clients expect.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson

from opengateway.app.gateway.batch_asking import AskInside
from opengateway.batch.drive import Drive, Progress, Reply
from opengateway.batch.lines import BatchInvalid, Line, read_body, read_lines
from opengateway.batch.output import Output, is_failure, unanswered
from opengateway.batch.record import Batch, Batches
from opengateway.batch.shelf import NoSuchFile, Shelf
from opengateway.errors import BadRequest, OpenGatewayError

logger = logging.getLogger(__name__)

MOST_REQUESTS = 50_000
"""OpenAI's own limit."""


class BatchDesk:
    def __init__(self, folder: Path, ask: AskInside, *, spawn: Callable[..., asyncio.Task[None]]) -> None:
        self.shelf = Shelf(folder / "files")
        self.batches = Batches(folder)
        self._ask, self._spawn = ask, spawn
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._shown: dict[str, Progress] = {}

    def resume(self) -> None:
        """Go on with what was under way when the node ended."""
        for batch in self.batches.list():
            if not batch.over:
                self._start(batch)

    def create(self, asked: dict[str, object], owner: str) -> Batch:
        """`owner`: the id of the API key that gives it, or empty."""
        batch = self.batches.new(asked, owner)
        try:
            self.shelf.get(batch.input_file_id, owner)
        except NoSuchFile as error:
            raise BadRequest(error.message, hint=error.hint) from error
        self.batches.save(batch)
        self._start(batch)
        return batch

    def cancel(self, name: str, owner: str) -> Batch:
        """What has been answered is kept and shown."""
        batch = self.batches.get(name, owner)
        if batch.over:
            raise BadRequest(f"the batch is {batch.status} already")
        batch = batch.now("cancelling")
        self.batches.save(batch)
        if (task := self._tasks.get(name)) is not None:
            task.cancel()
        return self.seen(batch)

    def seen(self, batch: Batch) -> Batch:
        """With its counts as they are at this moment."""
        progress = self._shown.get(batch.id)
        if progress is None or batch.over:
            return batch
        return replace(batch, total=progress.total, done=progress.done, failed=progress.failed)

    def _start(self, batch: Batch) -> None:
        if batch.id not in self._tasks:
            task = self._tasks[batch.id] = self._spawn(self._live(batch))
            task.add_done_callback(lambda _: self._tasks.pop(batch.id, None))

    async def _live(self, batch: Batch) -> None:
        try:
            with self.shelf.path(batch.input_file_id).open("rb") as file:
                lines = await asyncio.to_thread(read_lines, file, url=batch.endpoint, most=MOST_REQUESTS)
                if batch.status == "validating":
                    batch = batch.now("in_progress", total=len(lines))
                    self.batches.save(batch)
                await self._answer(batch, lines, file.fileno())
        except BatchInvalid as invalid:
            mistakes = [_mistake(line, BadRequest(what)) for line, what in invalid.mistakes]
            self.batches.save(batch.now("failed", errors=mistakes or [_mistake(None, invalid)]))
        except OpenGatewayError as error:
            self.batches.save(batch.now("failed", errors=[_mistake(None, error)]))
        finally:
            self._shown.pop(batch.id, None)

    async def _answer(self, batch: Batch, lines: list[Line], descriptor: int) -> None:
        async def ask(line: Line) -> Reply:
            return await self._ask.ask(batch.owner, line.url, read_body(descriptor, line))

        def changed(progress: Progress) -> None:
            self._shown[batch.id] = progress

        with await asyncio.to_thread(Output, self.batches.work(batch)) as output:
            drive = Drive(lines, output, ask, name=batch.id, capacity=self._ask.capacity, changed=changed)
            end = "completed"
            if self.batches.get(batch.id).status == "cancelling":
                end = "cancelled"
            else:
                try:
                    await asyncio.wait_for(drive.run(), max(0.0, batch.expires_at - time.time()))
                except TimeoutError:
                    end = "expired"
                except asyncio.CancelledError:
                    if self.batches.get(batch.id).status != "cancelling":
                        raise  # the node ends: it goes on with its next start
                    end = "cancelled"
            if end == "expired":
                for line in lines:
                    if line.custom_id not in output.done:
                        late = unanswered(
                            batch.id, line.custom_id, "batch_expired", "not answered within 24 h"
                        )
                        output.add(line.custom_id, late, failed=True)
            counts = {"total": len(lines), "done": len(output.done), "failed": len(output.failed)}
        await asyncio.to_thread(self._finish, self.batches.get(batch.id), end, counts)

    def _finish(self, batch: Batch, end: str, counts: dict[str, int]) -> None:
        """Part the answers from the errors. May be done twice."""
        if end == "completed":
            batch = batch.now("finalizing", **counts)
            self.batches.save(batch)
        work, parts = self.batches.work(batch), {}
        for kind, wanted in (("output", False), ("error", True)):
            part = work.with_suffix(f".{kind}")
            with work.open("rb") as source, part.open("wb") as target:
                rows = sum(target.write(raw) > 0 for raw in source if is_failure(orjson.loads(raw)) is wanted)
                target.flush()
                os.fsync(target.fileno())
            if rows:
                name = f"file-{batch.id.removeprefix('batch_')}-{0 if kind == 'output' else 1}"
                parts[f"{kind}_file_id"] = self.shelf.adopt(
                    part, name, f"{batch.id}_{kind}.jsonl", batch.owner
                ).id
            part.unlink(missing_ok=True)
        self.batches.save(batch.now(end, **counts, **parts))
        work.unlink(missing_ok=True)


def _mistake(line: int | None, error: OpenGatewayError) -> dict[str, object]:
    return {"code": error.code, "message": error.message, "param": None, "line": line}
