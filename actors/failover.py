"""An answer broke off after its reader had seen some of it: somebody else goes on with it.

The Scheduler's part in it. What may be continued, and how the two halves are joined, are pure functions
(engines/resuming.py, engines/seam.py). Where nobody can continue, a request whose text is fixed (temperature
0, a seed) is begun anew and what was shown is swallowed; all others end with an error that says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from actors.in_flight import InFlight
from actors.messages import Job, JobEnded
from opengateway.engines.resuming import CONTINUE, partial_of, repeatable, stops_of
from opengateway.engines.seam import HINT, Anew, Onward
from opengateway.errors import AllBusy, AnswerBrokenOff, OpenGatewayError
from opengateway.identity import short
from opengateway.routing.market import Choice, Place
from opengateway.routing.views import ServedModel

logger = logging.getLogger(__name__)

Choose = Callable[[Callable[[ServedModel], bool]], Choice | OpenGatewayError]
"""The search, among the models that fit."""

PATIENCE = 20.0
"""Seconds until somebody must go on: an engine that crashed is back within 3, a restarted node within 10.
Who reads has seen half a sentence, and is better off with an error after that."""
REST = 0.5
"""Seconds: by then a session that is gone has been missed, and an engine that crashed is being started."""
STUMBLES = 3
"""Places in a row that fail without a single new token; then it is the request that breaks them."""


class Failover:
    def __init__(self, flight: InFlight) -> None:
        self._flight = flight
        self.counters = {"broken_off": 0, "continued": 0, "begun_anew": 0, "lost": 0}

    def broke(self, end: JobEnded) -> bool:
        """Whether the rest of this answer is looked for elsewhere; False: its end is the caller's."""
        job, error, stream = end.job, end.error, end.job.stream
        if job.origin is not None or stream.done or not stream.shown or error is None:
            return False
        if job.request.kind == "embedding" or not (error.status >= 500 or error.status in (402, 404)):
            return False
        self.counters["broken_off"] += 1
        job.stumbles, job.kept = 0, len(stream.shown)
        if not self._ways(job):
            return False
        logger.info("%s broke off after %d tokens: %s", job.id, job.kept, error)
        node = end.place if isinstance(end.place, str) else short(end.place)
        job.note("broke", node=node, tokens=job.kept, code=error.code, why=error.message)
        now = time.monotonic()
        self._flight.market.failed(end.place, error, now)
        self._rest(end.place, now)
        job.broke, job.tried, job.deadline = error, {end.place}, now + PATIENCE
        # As if all were busy: it waits for its turn, wherever that is, and is not given up for one place.
        job.why = AllBusy(error.message, retry_after=error.retry_after)
        return True

    def _rest(self, place: Place, now: float) -> None:
        """Not there again at once: it may be gone, and nobody has said so yet."""
        self._flight.market.standing.full(place, REST, now)

    def stumbled(self, job: Job, place: Place, error: OpenGatewayError) -> bool:
        """A place that was to go on has not said a word; whether that was once too often. One that is busy,
        or wants credit first, has done nothing wrong."""
        if error.status >= 500 and not isinstance(error, AllBusy):
            job.stumbles += 1
            self._rest(place, time.monotonic())
        return job.stumbles >= STUMBLES

    def fresh(self, job: Job) -> bool:
        """Whether the reader has got nothing from the place that it is at."""
        return job.broke is not None and len(job.stream.shown or ()) == job.kept

    def lost(self, job: Job, error: OpenGatewayError) -> AnswerBrokenOff:
        """What the reader is told where nobody goes on."""
        self.counters["lost"] += 1
        return AnswerBrokenOff(
            f"the answer broke off after {job.kept} tokens, and nobody could go on with it: {error.message}",
            hint=error.hint or HINT,
            retry_after=error.retry_after,
        )

    def _ways(self, job: Job) -> list[Callable[[ServedModel], bool]]:
        """What a place may have to be, best first. Other weights of the same name go on with a text, too,
        though not as the first would have; begun anew by others it would hardly be the same."""
        shown, digest = job.stream.shown or [], job.served.digest if job.served is not None else ""
        ways: list[Callable[[ServedModel], bool]] = []
        if partial_of(job.request.kind, job.request.body, shown) is not None:
            ways.append(lambda model: _continues(model) and model.digest == digest)
            ways.append(_continues)
        if repeatable(job.request.body, shown):
            ways.append(lambda model: model.digest == digest)
        return ways

    def choose(self, job: Job, choose: Choose) -> Choice | OpenGatewayError:
        """Where it goes on."""
        answers = [*self._answers(job, choose)]
        if isinstance(answers[-1], Choice):
            return answers[-1]
        busy = next((one for one in answers if isinstance(one, AllBusy)), None)
        if busy is None and job.served is not None and _continues(job.served):
            # Nobody in reach just now, but who was answering may be on its way back.
            return AllBusy(f"nobody goes on with {job.request.model} yet", retry_after=1.0)
        return busy or answers[-1]

    def _answers(self, job: Job, choose: Choose) -> Iterator[Choice | OpenGatewayError]:
        for fits in self._ways(job):
            answer = choose(fits)
            yield answer
            if isinstance(answer, Choice):
                return

    def rejoin(self, job: Job, model: ServedModel) -> None:
        """The job is about to go to somebody who serves this."""
        stream, shown = job.stream, tuple(job.stream.shown or ())
        partial = partial_of(job.request.kind, job.request.body, shown) if _continues(model) else None
        job.request = replace(job.request, partial=partial or ())
        if partial:
            self.counters["continued"] += 1
            job.note("continued", tokens=len(partial))
            self._flight.io.call(stream.resume, Onward(partial, stops_of(job.request.body)))
        else:
            self.counters["begun_anew"] += 1
            job.note("repeated", tokens=len(shown))
            self._flight.io.call(stream.resume, Anew(shown))


def _continues(model: ServedModel) -> bool:
    return CONTINUE in model.abilities
