"""A request on its way through the node, and what several actors say to themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors import request_ids
from opengateway.engines.protocol import GenerateRequest
from opengateway.engines.stream import Finished, Stream, Waits
from opengateway.engines.tab import NOTHING, Need, Tab
from opengateway.errors import OpenGatewayError
from opengateway.ledger.admission import Admission
from opengateway.routing.placement import Place
from opengateway.routing.priority import Service
from opengateway.routing.trace import Trace
from opengateway.routing.views import Price, ServedModel
from opengateway.units import NodeId

BRIEF = 1.0
"""Seconds within which a peer is to begin where others may have a free slot: with less the queue of a peer
whose answers take a second would be of no use, with more a caller waits beside machines that do nothing."""


QUEUE_PATIENCE = 120.0
"""Seconds that a job waits for a free slot: most HTTP clients give up after one to ten minutes."""


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through this node. It belongs to the Scheduler; `stream` to the loop."""

    request: GenerateRequest
    stream: Stream
    id: str = field(default_factory=request_ids.new)
    """What users and logs call it, here and at the peer that is paid to answer it (request_ids.py)."""
    rid: bytes = b""
    """Of a peer's job, once it is admitted: what the two ledgers know it by."""
    scope: str = "anywhere"
    """local: this node only; friends: and its link; anywhere."""
    origin: NodeId | None = None
    """The peer that asks; None: one of our own users."""
    opening: bytes = b""
    """The peer's signed OPEN, when a peer asks."""
    lead: int = 0
    """Of a peer's job, once it is admitted: tokens that go out ahead of its vouchers. 0: free work."""
    tabbed: bool = False
    """A peer's job that named a tab: its OPEN is not its own."""
    admission: Admission | None = None
    """Of a peer's job that has brought an OPEN, once it is admitted."""
    secured: bool = True
    """False for a peer's job that nothing but our patience with strangers covers: served last."""
    service: Service = Service.OWNER
    """Its class in the queue; of a peer's job, once it is at the door."""
    let_in: bool = False
    """It was let into the queue once, and comes back to it until it is placed."""
    deadline: float = field(default_factory=lambda: time.monotonic() + QUEUE_PATIENCE)
    """Monotonic seconds by which somebody must have begun to answer."""
    within: float = 0.0
    """Seconds that the caller himself gave it; 0: he did not say, and `deadline` is our own patience."""
    least: int = 0
    """Tokens that its prompt surely has; or the context of a place that found it too long."""
    told: Waits | None = None
    """Where its caller was last told that it stands."""
    told_at: float = 0.0
    created: float = field(default_factory=time.monotonic)
    begun: float = 0.0
    """Monotonic seconds when it was last given to somebody."""
    requoted: bool = False
    """Its price was out of date once; not again."""
    tried: set[Place] = field(default_factory=set)
    """Places that failed it."""
    lasting: set[Place] = field(default_factory=set)
    """Those of them that would again: they want credit first, or do not have the model."""
    why: OpenGatewayError | None = None
    """The last failure: the error that the caller gets if nobody is left."""
    served: ServedModel | None = None
    """The model at the place that began to answer."""
    twin: Job | None = None
    """The same request at a second place, as the first token is late."""
    twin_of: Job | None = None
    queued_too: bool = False
    """Of a twin: the first place has it in its queue."""
    stood: float = 0.0
    """Monotonic seconds when it was last seen in a queue there where it was last sent; 0: never."""
    looked: float = 0.0
    """Monotonic seconds of the last look whether it need not stand in a peer's queue any longer."""
    alone_since: JobEnded | None = None
    """How it ended at the first place, while the second has still to speak."""
    broke: OpenGatewayError | None = None
    """Why an answer that had begun broke off; somebody else is to go on with it."""
    kept: int = 0
    """Chunks that the reader had when it broke off last."""
    stumbles: int = 0
    """How often in a row it broke off with nothing new."""
    noted: str = ""
    """Why it waits, as its trace says."""
    wants_credit: tuple[NodeId, int] | None = None
    """The peer that refused it for want of credit, and what it could have cost there (ucr)."""
    covered: bool = False
    """Credit was moved for it once; not again."""
    wants_stamp: NodeId | None = None
    """The peer that refused it for want of our identity stamp."""
    wants_head: NodeId | None = None
    """The peer that refused it for want of our ledger, cosigned."""
    shown: bool = False
    """It was asked once more with that; not again."""
    stamped: bool = False
    """It waited for the stamp once; not again."""
    full: int = 0
    """Places that it was sent to and that were full."""
    trace: Trace | None = None
    """Of our own users' requests."""
    part: int | None = None
    """Which one, of a request that has several."""
    brief: bool = False
    """Where it was last sent it is to begin soon or be refused: there are others to ask."""
    settle: bool = False
    """The search found no free slot for it: it stands in the queue that is over first."""
    at: Place | None = None
    """Where it was last sent."""
    avoid: frozenset[Place] = frozenset()
    """Places that have its like already."""
    unbegun: Callable[[], int] | None = None
    """Parts of the same request that are with nobody yet, this one included."""

    def patience_ms(self) -> int:
        """For how long a peer may keep it waiting, from now on."""
        left = max(0.0, self.deadline - time.monotonic())
        return int(1000 * (min(left, BRIEF) if self.brief else left))

    def note(self, what: str, **facts: Any) -> None:
        """For whoever wants to know what became of it: `opengateway trace`."""
        if self.trace is not None:
            if self.part is not None:
                facts["part"] = self.part
            self.trace.add(time.monotonic(), what, **facts)


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A place (a worker's name or a peer's id) is done with a job, one way or the other."""

    job: Job
    place: Place
    finished: Finished | None
    error: OpenGatewayError | None
    held: int = 0
    """Micro-credits that were held for it at a peer."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Ask this peer; the price is already held in our ledger."""

    job: Job
    peer: NodeId
    ring: str
    peer_name: str
    price: Price
    rid: bytes
    entry: bytes
    """The signed OPEN; empty if nothing is to be paid."""
    offer: bytes = bytes(32)
    """Hash of the signed record that has this price."""
    digest: str = ""
    """Of the model's weights, as the peer says."""
    held: int = 0
    """Micro-credits: the most that may be paid, whatever is delivered."""
    tab: Tab | None = None
    """What it is paid with together with others. Its `entry` is empty but for the one that begins it."""
    need: Need = NOTHING
    """Its part of the tab."""
    alone: Callable[[], None] | None = None
    """Ask once more, without the tab: the peer will have none."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Look at the clock: deadlines, redials, refreshes."""
