"""Jobs that wait for a free slot, in the order in which they will get one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from actors.messages import Job
from opengateway.errors import AllBusy

QUEUE_LIMIT = 1000
"""Jobs that wait here at most; the next one is told at once, so that it can go elsewhere."""


@dataclass(slots=True)
class WaitingRoom:
    _jobs: list[Job] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def join(self, job: Job) -> AllBusy | None:
        """Wait; the refusal if there is no room."""
        if len(self._jobs) >= QUEUE_LIMIT:
            return AllBusy(f"{QUEUE_LIMIT} requests are waiting already", retry_after=5.0)
        self._jobs.append(job)
        # Our own users, then peers whose credit covers it, then strangers; within each, first come first.
        self._jobs.sort(key=lambda other: (other.origin is not None, not other.secured, other.created))
        return None

    def leave(self, job: Job) -> bool:
        """Whether it was here."""
        if job not in self._jobs:
            return False
        self._jobs.remove(job)
        return True

    def expired(self, now: float) -> list[Job]:
        """Those whose deadline has passed; they are no longer here."""
        late = [job for job in self._jobs if job.deadline and now > job.deadline]
        self._jobs = [job for job in self._jobs if job not in late]
        return late

    def of_peers(self) -> int:
        return sum(1 for job in self._jobs if job.origin is not None)
