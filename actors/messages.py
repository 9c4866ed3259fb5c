"""The node's whole conversation on one page: every message that its actors say to each other.

Grouped by who hears it. What peers say on the wire is another set: opengateway/wire/messages.py.
Commands are imperatives, events past tense, and a `Request[R]` is answered with an `R`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from actors import request_ids
from actors.kernel import Request
from opengateway.discovery.reachability import Kind
from opengateway.discovery.record import NodeRecord
from opengateway.discovery.sightings import Sighting
from opengateway.discovery.whereabouts import Whereabouts
from opengateway.engines.protocol import GenerateRequest, ModelInfo
from opengateway.engines.stream import Finished, Stream, Waits
from opengateway.errors import OpenGatewayError
from opengateway.ledger.admission import Admission
from opengateway.ledger.handover import Outcome, Talk
from opengateway.ledger.routes import Creditors
from opengateway.ledger.witnessing import Heard, Sends
from opengateway.models.clusters import ClusterRegistry
from opengateway.models.machine import Machine
from opengateway.routing.placement import Place
from opengateway.routing.priority import Service
from opengateway.routing.trace import Trace
from opengateway.routing.views import PeerView, Price, Quotation, ServedModel, WorkerView
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.peer_messages import PeerMessage
from opengateway.wire.witness_messages import Head, Present, WitnessMessage

BRIEF = 1.0
"""Seconds within which a peer is to begin where others may have a free slot: with less the queue of a peer
whose answers take a second would be of no use, with more a caller waits beside machines that do nothing."""
QUEUE_PATIENCE = 120.0
"""Seconds that a job waits for a free slot: most HTTP clients give up after one to ten minutes."""

# -- what the messages carry -----------------------------------------------------------------------


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


# -- Scheduler -------------------------------------------------------------------------------------


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
class JobEnded:
    """A place (a worker's name or a peer's id) is done with a job, one way or the other."""

    job: Job
    place: Place
    finished: Finished | None
    error: OpenGatewayError | None
    held: int = 0
    """Micro-credits that were held for it at a peer."""


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
class Tick:
    """Look at the clock: deadlines, redials, refreshes."""


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
    """The newest requests, without their events."""

    limit: int = 20


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

# -- InferenceWorker -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EngineEnded:
    """The engine's process is gone. `how` is a sentence."""

    how: str


@dataclass(frozen=True, slots=True)
class ModelsSeen:
    """What the engine serves, asked again; `error` if it does not answer."""

    models: tuple[ModelInfo, ...]
    error: OpenGatewayError | None = None


@dataclass(frozen=True, slots=True)
class SpeedSeen:
    """An answer was finished at these speeds, in tokens/s; 0 where unknown."""

    model: str
    prompt_tps: float
    generate_tps: float
    at_once: int = 1
    """Answers that the engine gave at the same time, this one included."""


WorkerMessage: TypeAlias = EngineEnded | ModelsSeen | SpeedSeen | Tick

# -- SwarmPeer -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dial:
    """Try to reach this endpoint; `expect` says who should answer there."""

    endpoint: str
    expect: NodeId | None = None


@dataclass(frozen=True, slots=True)
class HangUp:
    peer: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class Advertise:
    """Our node record is now this."""

    record: bytes


@dataclass(frozen=True, slots=True)
class DescribeWire(Request[dict[str, Any]]):
    """Port, endpoints, LAN problem, counters, sessions."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send this to a peer, if it is connected."""

    peer: NodeId
    message: Message


SwarmPeerMessage: TypeAlias = Dial | HangUp | Advertise | Say | Tick | DescribeWire

# -- Registry --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WireUp:
    """Peers can reach us on this port."""

    port: int


@dataclass(frozen=True, slots=True)
class Sighted:
    """Somebody was seen on the link."""

    sighting: Sighting


@dataclass(frozen=True, slots=True)
class LeftLink:
    """Somebody said goodbye on the link."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class PeerUp:
    peer: NodeId
    record: bytes
    endpoint: str | None
    dialled: bool
    host: str = ""
    """The address that it came from, if it dialled us."""
    relay: NodeId | None = None
    """Through whom; None if direct."""
    ahead_ms: int = 0
    """How far its clock is ahead of ours."""


@dataclass(frozen=True, slots=True)
class PeerDown:
    peer: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class RecordSeen:
    peer: NodeId
    record: bytes
    ahead_ms: int = 0


@dataclass(frozen=True, slots=True)
class DialFailed:
    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trip:
    """A session as it is now."""

    peer: NodeId
    rtt_ms: float | None
    """Smoothed round trip, read off the answers that have come; None before the first."""
    last_heard: float
    """Monotonic seconds."""
    ahead_ms: int = 0
    best_ms: float | None = None
    """The shortest round trip of this session: what distance there is at most."""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    sessions: tuple[Trip, ...]
    relays: dict[NodeId, NodeId] = field(default_factory=dict)
    """Peer -> the relay that its session leads through, of those that are not direct."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How this node is reached has changed (discovery/reachability.py)."""

    kind: Kind
    endpoints: tuple[str, ...]
    """Proven by peers from outside."""
    relays: tuple[str, ...]
    """As records name them."""
    witnesses: int
    outside: bool
    """Whether the witnesses came from other networks than ours."""
    mapping: str = ""
    """How the router forwards a port: NAT-PMP or UPnP; empty if it does not."""
    mapping_problem: str = ""
    """Why it does not, if it was asked."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The machine is this."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Paused:
    """Why the machine is not lent now, for its owner; empty: it is lent again."""

    why: str


@dataclass(frozen=True, slots=True)
class ClustersRead:
    """The cluster registry was read."""

    registry: ClusterRegistry


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody may be at these endpoints, say strangers: hostile until the handshake."""

    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """A node says, signed, where it is."""

    here: Whereabouts


@dataclass(frozen=True, slots=True)
class DhtUp:
    """Our DHT node listens on this UDP port."""

    port: int


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A node goes on with a new key."""

    old: NodeId
    new: NodeId


@dataclass(frozen=True, slots=True)
class PeerSaid:
    """A peer speaks of where it or others are."""

    peer: NodeId
    said: PeerMessage


@dataclass(frozen=True, slots=True)
class Introduce:
    """Tell this peer where these others are, those that may be told of."""

    peer: NodeId
    others: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class TellPeers:
    """The Scheduler was restarted: tell it of the peers again."""


@dataclass(frozen=True, slots=True)
class Connect(Request[dict[str, Any]]):
    """Keep a session with this peer: an id, a short id, a name or an endpoint. Answered once it is up."""

    target: str


@dataclass(frozen=True, slots=True)
class Disconnect(Request[dict[str, Any]]):
    """End the session and do not redial until told to connect, or until the peer calls."""

    target: str


@dataclass(frozen=True, slots=True)
class DescribePeers(Request[list[dict[str, Any]]]):
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class DescribeClusters(Request[list[dict[str, Any]]]):
    pass


@dataclass(frozen=True, slots=True)
class DescribeSelf(Request[dict[str, Any]]):
    """Our own record: clusters, models, endpoints."""


RegistryMessage: TypeAlias = (
    WireUp
    | Sighted
    | LeftLink
    | PeerUp
    | PeerDown
    | RecordSeen
    | DialFailed
    | RoundTrips
    | Reached
    | WorkerChanged
    | Measured
    | Paused
    | ClustersRead
    | Found
    | Located
    | DhtUp
    | PeerSaid
    | Introduce
    | Succeeded
    | TellPeers
    | Connect
    | Disconnect
    | DescribePeers
    | DescribeClusters
    | DescribeSelf
    | Tick
)

# -- Discovery -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announce:
    """This is what we offer, and this our signed whereabouts."""

    record: NodeRecord
    whereabouts: bytes


@dataclass(frozen=True, slots=True)
class Seek:
    """Somebody here wants this model, and too few serve it."""

    model: str


@dataclass(frozen=True, slots=True)
class Locate:
    """Where is this node? `Located` goes to the Registry if the DHT knows."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class DhtEntry:
    """Here may be a DHT node."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class BootstrapRead:
    """The source of the bootstrap document has answered, or has not."""


@dataclass(frozen=True, slots=True)
class Woken:
    """libtorrent has something to say."""


@dataclass(frozen=True, slots=True)
class DescribeDiscovery(Request[dict[str, Any]]):
    """The DHT, the bootstrap document, and what is looked for."""


DiscoveryMessage: TypeAlias = (
    Announce | PeersChanged | Seek | Locate | DhtEntry | BootstrapRead | Woken | Tick | DescribeDiscovery
)

# -- Gauge -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measure(Request[dict[str, Any]]):
    """Measure the machine anew."""


@dataclass(frozen=True, slots=True)
class DescribeMachine(Request[dict[str, Any]]):
    pass


GaugeMessage: TypeAlias = Measure | DescribeMachine | Tick

# -- Ledger ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenHold(Request[bytes]):
    """Hold the most that this request can cost at this peer; answered with the signed OPEN, durable."""

    peer: NodeId
    rid: bytes
    model: str
    prompt_tokens: int
    max_completion: int
    price_prompt: int
    price_completion: int
    offer: bytes = bytes(32)
    """Hash of the peer's signed record that has these prices."""


@dataclass(frozen=True, slots=True)
class Vouch(Request[bytes]):
    """Sign what has been received by now of an answer that goes on; answered with the voucher, durable."""

    rid: bytes
    prompt_tokens: int
    completion_tokens: int


class Received(NamedTuple):
    """What came of one of our requests at a peer."""

    rid: bytes
    prompt_tokens: int
    completion_tokens: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class SettleHolds(Request["list[bytes | OpenGatewayError]"]):
    """Sign what was received; answered with a SETTLE for each, durable, or why there is none. Nothing
    received and nothing vouched for: the hold is void and its answer is empty."""

    received: tuple[Received, ...]


@dataclass(frozen=True, slots=True)
class Countersigned:
    """The worker's EARNs for our SETTLEs."""

    peer: NodeId
    entries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Unanswered(Request[list[bytes]]):
    """Our SETTLEs that this peer has not countersigned, oldest first: to be sent again."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class Admit(Request[Admission]):
    """May this peer be served? Refused with `NotEnoughCredit`, ..."""

    opening: bytes
    requester: NodeId
    price_prompt: int
    price_completion: int
    near: bool = False
    """On our own link, or in a private network: no stranger."""


@dataclass(frozen=True, slots=True)
class Vouched(Request[int]):
    """A peer's voucher; answered with the completion tokens that are vouched for by now."""

    voucher: bytes
    requester: NodeId


@dataclass(frozen=True, slots=True)
class QuoteCredit(Request[int]):
    """What of this price nothing would secure (ucr); refused with what its admission would be."""

    requester: NodeId
    hold: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """This is what a peer got from us."""

    rid: bytes
    requester: NodeId
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Unserved:
    """An admitted request was not served after all."""

    rid: bytes
    requester: NodeId


@dataclass(frozen=True, slots=True)
class Earn(Request["list[bytes | OpenGatewayError]"]):
    """A peer's SETTLEs, in its order; answered with an EARN for each, durable, or why there is none."""

    requester: NodeId
    entries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BeginTransfer(Request[Outcome]):
    """Give up a claim on `via[0]`, so that `to` owes us instead (ucr). Answered with what to send."""

    tid: bytes
    amount: int
    via: tuple[NodeId, ...]
    to: NodeId


@dataclass(frozen=True, slots=True)
class HearTransfer(Request[Outcome]):
    """What a peer says of a transfer; answered with what to send, durable."""

    peer: NodeId
    message: Talk


@dataclass(frozen=True, slots=True)
class TakeProof(Request[None]):
    """A proof of fraud that a peer passes on. Refused if it proves nothing."""

    proof: bytes


@dataclass(frozen=True, slots=True)
class StampSought(Request[tuple[bytes, bytes]]):
    """Our identity stamp, empty while it is not made, and the challenge that it answers."""


@dataclass(frozen=True, slots=True)
class KeepStamp(Request[bytes]):
    """This nonce makes our identity stamp; answered with the stamp, durable."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class StampShown:
    """A peer's identity stamp, for when it asks for something on trust."""

    peer: NodeId
    stamp: bytes


@dataclass(frozen=True, slots=True)
class BeginShowing(Request[Sends]):
    """What to ask these witnesses, so that our ledger, with this OPEN in it, may be shown to `peer`."""

    peer: NodeId
    rid: bytes
    ask: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Showable(Request["Present | None"]):
    """It, if enough of the anchors have cosigned it."""

    peer: NodeId
    rid: bytes
    anchors: tuple[NodeId, ...]
    known: int


@dataclass(frozen=True, slots=True)
class CoveredAt(Request[bool]):
    """Whether what this peer owes us covers all that we hold with it, as far as we know."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class LedgerShown:
    """A peer's ledger, for when it asks for something on trust."""

    peer: NodeId
    shown: Present


@dataclass(frozen=True, slots=True)
class HearWitness(Request[Sends]):
    """What a peer says as a witness, or to one; answered with what to send, durable."""

    peer: NodeId
    message: WitnessMessage


@dataclass(frozen=True, slots=True)
class HearHeads(Request[Heard]):
    """Heads of ledgers that peers announced or passed on; answered with what is news."""

    heads: tuple[tuple[NodeId, Head], ...]


@dataclass(frozen=True, slots=True)
class MeetWitness(Request[Sends]):
    """A new session with this peer: what to ask it about our own ledger."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class SeekWitnesses(Request[Sends]):
    """What to tell these peers of our ledger if it has grown, and whom to ask to cosign it."""

    peers: tuple[NodeId, ...]


class KeyNews(NamedTuple):
    """What follows from what a peer said of a change of keys."""

    sends: list[tuple[NodeId, Message]]
    rotation: tuple[NodeId, NodeId] | None = None
    """The old key and the new one, if that was not known."""


@dataclass(frozen=True, slots=True)
class MeetSuccessor(Request[KeyNews]):
    """What this peer may not know of changes of keys: ours, its own, and of the account between us."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class TakeRotation(Request[KeyNews]):
    """The papers of a change of keys that a peer passes on. Refused if they prove nothing."""

    peer: NodeId
    papers: bytes


@dataclass(frozen=True, slots=True)
class HearAccount(Request[KeyNews]):
    """What a peer's book says of an account that has moved."""

    peer: NodeId
    entry: bytes
    evidence: bytes


@dataclass(frozen=True, slots=True)
class AcceptAccount(Request[KeyNews]):
    """The owner takes the account with this peer as the peer shows it."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class MeetPeer(Request[Outcome]):
    """What this peer may have missed of transfers."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class Claims(Request[dict[NodeId, int]]):
    """What every peer owes us (ucr), less what is held for requests; negative where we owe."""


@dataclass(frozen=True, slots=True)
class FindCreditors(Request[Creditors]):
    """Ways on which this node could owe up to `amount` (ucr) to `requester`, whom these nodes owe."""

    requester: NodeId
    amount: int
    named: tuple[NodeId, ...]
    connected: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class OwedAmong(Request[tuple[NodeId, int] | None]):
    """Which of these do we owe most, and how much; asked by a node that owes us."""

    asker: NodeId
    amount: int
    named: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class DescribeBalance(Request[dict[str, Any]]):
    pass


@dataclass(frozen=True, slots=True)
class DescribeHistory(Request[list[dict[str, Any]]]):
    limit: int = 50


@dataclass(frozen=True, slots=True)
class DescribeCurve(Request[list[dict[str, Any]]]):
    """What was earned and spent by then (ucr), at `points` times over the last `span_ms`."""

    span_ms: int
    points: int


@dataclass(frozen=True, slots=True)
class DescribeAccounts(Request[list[dict[str, Any]]]):
    """Pair totals with every peer."""


@dataclass(frozen=True, slots=True)
class Export(Request[bytes]):
    """The whole chain as an OGWL1 file."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """From the ledger to itself: the disk has the batch, and may be given the next."""


@dataclass(frozen=True, slots=True)
class Checked:
    """From the ledger to itself: peers had their time to say what this node has signed."""


@dataclass(frozen=True, slots=True)
class Promised:
    """From the ledger to itself: what a voucher of this request needs is durable."""

    rid: bytes


LedgerMessage: TypeAlias = (
    OpenHold
    | Promised
    | Vouch
    | SettleHolds
    | Countersigned
    | Unanswered
    | Admit
    | Vouched
    | QuoteCredit
    | Delivered
    | Unserved
    | Earn
    | BeginTransfer
    | HearTransfer
    | TakeProof
    | StampSought
    | KeepStamp
    | StampShown
    | HearWitness
    | HearHeads
    | BeginShowing
    | Showable
    | CoveredAt
    | LedgerShown
    | SeekWitnesses
    | MeetWitness
    | Checked
    | MeetPeer
    | MeetSuccessor
    | TakeRotation
    | HearAccount
    | AcceptAccount
    | Claims
    | FindCreditors
    | OwedAmong
    | DescribeBalance
    | DescribeHistory
    | DescribeCurve
    | DescribeAccounts
    | Export
    | Flushed
    | Tick
)
