"""A request of several parts: spread over whoever is free, and put together again for its caller.

Lives on the I/O loop, for one request. Each part is a job like any other, so it is placed, retried and paid
for as every job is; all of them share one trace, and the Scheduler is told how many wait, so that a slow
place gets no part that a fast one would finish sooner. Towards the caller there is one stream: pieces come as
they are made, each with the number of its part.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from actors.kernel import Address
from actors.messages import Job, SchedulerMessage, Submit
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Chunk, Finished, Route, Stream
from opengateway.errors import AllBusy, EngineFailed, OpenGatewayError
from opengateway.routing.parts import Part, joined
from opengateway.routing.placement import RINGS
from opengateway.routing.trace import Trace

AT_ONCE = 32
"""Parts that are with the Scheduler at once: more than a request usually finds slots for, and few enough that
the next request does not stand behind all of them."""
SLOW = 2.0
"""Times the usual time of the others after which a part is given to a second place as well, once no part
waits any more: the last part decides when the caller has all."""
LEAST_SLOW_S = 1.0
LOOK_S = 0.5
"""Seconds between looks for slow parts."""


class PartPiece(dict[str, Any]):
    """A delta of one part. Only this node makes it, so no peer can pretend to be another part."""

    def __init__(self, part: int, delta: Chunk, finished: Finished | None = None) -> None:
        super().__init__({"content": delta} if isinstance(delta, str) else delta)
        self.part = part
        self.plain = delta if isinstance(delta, str) else None
        self.finished = finished
        """Set with its last piece, which is empty."""


@dataclass(eq=False, slots=True)
class _Run:
    """One part. `jobs`: where it is being answered; the first to end wins."""

    part: Part
    request: GenerateRequest
    jobs: list[Job] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    finished: Finished | None = None
    routes: list[Route] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)


class Parts:
    """`job` is the caller's; it is never submitted itself."""

    def __init__(self, scheduler: Address[SchedulerMessage], job: Job, parts: list[Part]) -> None:
        self._scheduler = scheduler
        self._job = job
        request = job.request
        self._runs = [
            _Run(part, GenerateRequest(request.kind, request.model, part.body, request.stream, request.needs))
            for part in parts
        ]
        at_ms = time.time_ns() // 1_000_000
        job.trace = Trace(
            job.id, request.kind, request.model, job.scope, job.created, at_ms, parts=len(parts)
        )
        self._all: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; what comes of it comes through the stream of the caller's job."""
        self._all = asyncio.get_running_loop().create_task(self._answer())
        self._job.stream.on_cancel = self._all.cancel

    # -- all of them -----------------------------------------------------------------------------

    async def _answer(self) -> None:
        stream = self._job.stream
        try:
            await self._run_all()
            self._finish()
        except asyncio.CancelledError:
            raise
        except OpenGatewayError as error:
            stream.fail(error)
        except Exception as error:
            stream.fail(EngineFailed(f"the parts could not be put together: {type(error).__name__}: {error}"))
        finally:
            self._give_up()

    async def _run_all(self) -> None:
        waiting, going = list(self._runs), set[asyncio.Task[None]]()
        while waiting or going:
            while waiting and len(going) < AT_ONCE:
                going.add(self._begin(waiting.pop(0)))
            done, going = await asyncio.wait(
                going, timeout=None if waiting else LOOK_S, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                run = next(run for run in self._runs if task in run.tasks)
                run.tasks.remove(task)
                self._take(run, task)
                if run.ended:
                    going -= set(run.tasks)
            if not waiting:
                going |= self._help_the_slow()

    def _begin(self, run: _Run, *, but: Job | None = None) -> asyncio.Task[None]:
        job = self._job
        number = self._runs.index(run)
        part = Job(
            run.request,
            Stream(),
            scope=job.scope,
            trace=job.trace,
            part=number,
            unbegun=self._unbegun,
            within=job.within,
        )
        if job.within:
            part.deadline = job.deadline
        if but is not None and but.at is not None:
            part.avoid = frozenset({but.at})
        run.jobs.append(part)
        run.began = run.began or time.monotonic()
        if not self._scheduler.tell(Submit(part)):
            part.stream.fail(AllBusy("this node is overloaded", retry_after=2.0))
        task = asyncio.get_running_loop().create_task(self._read(run, part))
        run.tasks.append(task)
        return task

    def _unbegun(self) -> int:
        """Asked from the Scheduler's thread: only looks."""
        return sum(1 for run in self._runs if not run.ended and not any(job.begun for job in run.jobs))

    async def _read(self, run: _Run, part: Job) -> None:
        """Raises the part's error."""
        chunks: list[Chunk] = []
        while more := await part.stream.read():
            if self._shows_at_once and (not run.jobs[1:]):
                await self._show(run, more)
            else:
                chunks += more
        if not run.ended:
            run.ended, run.finished, run.chunks = time.monotonic(), part.stream.finished, chunks
            run.routes = part.stream.routes or [route for route in (part.stream.route,) if route]
            if self._shows_at_once:
                await self._show(run, chunks, last=True)

    def _take(self, run: _Run, task: asyncio.Task[None]) -> None:
        """One of its jobs has ended: the others are not needed, or are all that is left."""
        error = task.exception() if not task.cancelled() else None
        if run.ended:
            for job in run.jobs:
                job.stream.cancel()
            for other in run.tasks:
                other.cancel()
        elif error is not None and not run.tasks:
            raise error

    # -- what the caller sees --------------------------------------------------------------------

    @property
    def _shows_at_once(self) -> bool:
        return self._job.request.stream and self._job.request.kind != "embedding"

    async def _show(self, run: _Run, chunks: list[Chunk], *, last: bool = False) -> None:
        stream, number = self._job.stream, self._runs.index(run)
        if stream.route is None and run.jobs[0].stream.route is not None:
            stream.opened(run.jobs[0].stream.route)
        pieces: list[Chunk] = [PartPiece(number, chunk) for chunk in chunks]
        if last:
            pieces.append(PartPiece(number, {}, run.finished))
        if not stream.put(pieces):
            await stream.room()

    def _finish(self) -> None:
        stream, runs = self._job.stream, self._runs
        stream.routes = self._routes()
        if stream.routes:
            stream.opened(stream.routes[0])
        for run in runs:
            for job in run.jobs:
                if job.stream.cost is not None:
                    stream.charge(job.id.encode(), job.stream.cost)
        if self._job.request.kind == "embedding":
            stream.put([joined([chunk for run in runs for chunk in run.chunks if isinstance(chunk, dict)])])
        elif not self._shows_at_once:
            for number, run in enumerate(runs):
                pieces: list[Chunk] = [PartPiece(number, chunk) for chunk in run.chunks]
                stream.put([*pieces, PartPiece(number, {}, run.finished)])
        finished = [run.finished for run in runs if run.finished is not None]
        # A prompt with several choices counts once, as with OpenAI, however many places have read it.
        prompts = {run.part.prompt: run.finished.prompt_tokens for run in runs if run.finished is not None}
        stream.finish(
            Finished(
                finished[-1].reason if finished else "stop",
                sum(prompts.values()),
                sum(one.completion_tokens for one in finished),
            )
        )

    def _routes(self) -> list[Route]:
        """Everyone who took part, the nearest first."""
        taken = {route.node: route for run in self._runs for route in run.routes}
        return sorted(taken.values(), key=lambda route: RINGS.index(route.ring))

    # -- the slow ones ---------------------------------------------------------------------------

    def _help_the_slow(self) -> set[asyncio.Task[None]]:
        """Second tries, elsewhere, for what takes much longer than the others did. Nothing that was shown is
        tried again, and nothing twice."""
        took = [run.ended - run.jobs[0].begun for run in self._runs if run.ended]
        if not took:
            return set()
        now, limit = time.monotonic(), max(LEAST_SLOW_S, SLOW * statistics.median(took))
        begun = set()
        for run in self._runs:
            job = run.jobs[-1] if run.jobs else None
            if job is None or run.ended or len(run.jobs) > 1 or not job.begun or now - job.begun < limit:
                continue
            if self._shows_at_once and job.stream.first_at is not None:
                continue
            job.note("slow", ms_running=round((now - job.begun) * 1000))
            begun.add(self._begin(run, but=job))
        return begun

    def _give_up(self) -> None:
        for run in self._runs:
            for job in run.jobs:
                job.stream.cancel()
            for task in run.tasks:
                task.cancel()


def submit(scheduler: Address[SchedulerMessage], job: Job, parts: list[Part]) -> None:
    """Have the job answered: as it is if it is one part, else spread. On the I/O loop. Raises `AllBusy`."""
    if len(parts) > 1:
        Parts(scheduler, job, parts).start()
    elif not scheduler.tell(Submit(job)):
        raise AllBusy("this node is overloaded", retry_after=2.0)
