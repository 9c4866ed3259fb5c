"""Jobs that wait for a free slot, in the order in which they will get one (routing/priority.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from actors.messages import Job
from opengateway.routing.priority import Claim, Service, ranks
from opengateway.routing.queue import displaced
from opengateway.units import NodeId

QUEUE_LIMIT = 1000
"""Jobs of our own users that wait here at most; the next one is told at once."""

_CREATED = attrgetter("created")


def claim_of(job: Job) -> Claim:
    return Claim(job.service, job.created, job.origin)


def running_of(jobs: Iterable[Job]) -> Counter[NodeId]:
    """How many jobs of each peer are among these."""
    return Counter(job.origin for job in jobs if job.origin is not None)


@dataclass(slots=True)
class WaitingRoom:
    _jobs: dict[Job, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def __contains__(self, job: Job) -> bool:
        return job in self._jobs

    def in_order(self, running: Iterable[Job]) -> list[Job]:
        """First to be served first. `running`: the jobs that are being answered.

        Looked at with every answer that ends. Of our own users' jobs there may be a thousand, whose rank is
        when they came: 0.1 ms, where ranking them with the others takes 1.1 ms.
        """
        ours = sorted((job for job in self._jobs if job.origin is None), key=_CREATED)
        theirs = [job for job in self._jobs if job.origin is not None]
        if not theirs:
            return ours
        rank = dict(zip(theirs, ranks([claim_of(job) for job in theirs], running_of(running)), strict=True))
        return sorted(
            [*ours, *theirs], key=lambda job: (rank.get(job, job.created), job.service, job.created)
        )

    def join(self, job: Job, running: Iterable[Job], places: int) -> Job | None:
        """Wait. Who has to leave for it: nobody, another, or itself; that one is not here afterwards.

        `places`: how many jobs of peers may wait (opengateway/routing/queue.py).
        """
        leaves = None if job.let_in else self.would_leave(job, running, places)
        if leaves is not job:
            job.let_in = True
            self._jobs[job] = None
        if leaves is not None and leaves is not job:
            del self._jobs[leaves]
        return leaves

    def would_leave(self, job: Job, running: Iterable[Job], places: int) -> Job | None:
        if job.origin is None:
            return job if len(self) - self.of_peers() >= QUEUE_LIMIT else None
        peers = [other for other in self._jobs if other.origin is not None]
        at = displaced([claim_of(other) for other in peers], claim_of(job), running_of(running), places)
        return None if at is None else [*peers, job][at]

    def leave(self, job: Job) -> bool:
        """Whether it was here."""
        return self._jobs.pop(job, self) is None

    def expired(self, now: float) -> list[Job]:
        """Those whose deadline has passed; they are no longer here."""
        late = [job for job in self._jobs if job.deadline and now > job.deadline]
        for job in late:
            del self._jobs[job]
        return late

    def of_peers(self) -> int:
        return sum(1 for job in self._jobs if job.origin is not None)

    def by_class(self) -> dict[str, int]:
        counts = Counter(job.service for job in self._jobs)
        return {service.name.lower(): counts[service] for service in Service}
