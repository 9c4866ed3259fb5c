"""What the Scheduler hears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from actors.kernel import Request
from actors.messages.job import Job, JobEnded, Tick
from opengateway.errors import OpenGatewayError
from opengateway.ledger.admission import Admission
from opengateway.routing.placement import Place
from opengateway.routing.views import PeerView, Quotation, ServedModel, WorkerView
from opengateway.units import NodeId


@dataclass(frozen=True, slots=True)
class Submit:
    """Get this answered: by us, or (our own users' jobs only) by a peer."""

    job: Job


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The caller went away while the job was waiting."""

    job: Job


@dataclass(frozen=True, slots=True)
class Admitted:
    """Our ledger has judged a peer's OPEN; `error` is the refusal."""

    job: Job
    admission: Admission | None
    error: OpenGatewayError | None = None


@dataclass(frozen=True, slots=True)
class WorkerChanged:
    view: WorkerView


@dataclass(frozen=True, slots=True)
class Overcharged:
    """By our own count this peer claimed too many prompt tokens, for the `times`th time."""

    peer: NodeId
    times: int


@dataclass(frozen=True, slots=True)
class PeersChanged:
    peers: tuple[PeerView, ...]


@dataclass(frozen=True, slots=True)
class Appraisal:
    """Where a request would go now, and by what prices."""

    place: Place
    ring: str
    name: str
    model: ServedModel
    free_slots: int
    held: int = 0
    """Of them, for the peer that asks, for a moment."""
    position: int = 0
    start_s: float = 0.0
    busy: bool = False
    """Other answers are being given here, and share the machine."""


@dataclass(frozen=True, slots=True)
class FindQuote(Request[Appraisal | OpenGatewayError]):
    """Who would answer, with nothing asked for; or the error that the request would get. A peer may have
    `slots` held for it, under the `number` of its question."""

    model: str
    scope: str
    origin: NodeId | None = None
    slots: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class SlotsReleased:
    """The peer does not need what is held for it under this number."""

    peer: NodeId
    number: int


@dataclass(frozen=True, slots=True)
class SeekSlots:
    """Ask this peer for a quote that holds slots; `QuoteCame` says what it answers."""

    peer: NodeId
    wanted: tuple[str, str, frozenset[str]]
    """The model, as those who wait name it (it may be empty), their scope, and the abilities they need."""
    kind: str
    model: str
    prompt_tokens: int
    max_completion: int
    slots: int


@dataclass(frozen=True, slots=True)
class QuoteCame:
    """What a peer said to our question; `error` is its refusal, or that it said nothing."""

    sought: SeekSlots
    quote: Quotation | None
    error: OpenGatewayError | None = None


@dataclass(frozen=True, slots=True)
class OwedToUs:
    """The ledger's answer: what peers owe us (ucr)."""

    claims: dict[NodeId, int]


@dataclass(frozen=True, slots=True)
class DescribeTrace(Request[dict[str, Any] | None]):
    """What became of this request (its id or an end of it; empty: the newest). None if it is not known."""

    request: str = ""


@dataclass(frozen=True, slots=True)
class DescribeTraces(Request[list[dict[str, Any]]]):
    """The newest requests, without their events; `failed`: only those that were not answered."""

    limit: int = 20
    failed: bool = False


@dataclass(frozen=True, slots=True)
class DescribeJobs(Request[dict[str, Any]]):
    """Counts, and the slots of this node's engines."""


@dataclass(frozen=True, slots=True)
class ListJobs(Request[list[dict[str, Any]]]):
    """The jobs in flight, one by one (jobs_seen.py)."""


@dataclass(frozen=True, slots=True)
class DescribeModels(Request[list[dict[str, Any]]]):
    """What can be asked for now, here and at peers."""


SchedulerMessage: TypeAlias = (
    Submit
    | Abandoned
    | Admitted
    | JobEnded
    | WorkerChanged
    | Overcharged
    | PeersChanged
    | SlotsReleased
    | QuoteCame
    | OwedToUs
    | Tick
    | FindQuote
    | DescribeTrace
    | DescribeTraces
    | DescribeJobs
    | ListJobs
    | DescribeModels
)
