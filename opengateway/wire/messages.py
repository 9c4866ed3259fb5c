"""Everything that two nodes say to each other once their session is sealed.

On the wire a message is the canonical CBOR array `[number, *fields]` in the order written here.
`stream` numbers are chosen by whoever asks: unique within the session, and rising.
PROTOCOL.md says the same in prose, with limits and vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from opengateway.wire.continue_messages import ContinueMessage
from opengateway.wire.link_messages import Clock, Moved, Ping, Pong
from opengateway.wire.peer_messages import PeerMessage
from opengateway.wire.quote_messages import QuoteMessage
from opengateway.wire.relay_messages import RelayMessage
from opengateway.wire.route_messages import RouteMessage
from opengateway.wire.succession_messages import SuccessionMessage
from opengateway.wire.waiting_messages import WaitingMessage
from opengateway.wire.witness_messages import WitnessMessage


@dataclass(frozen=True, slots=True)
class RecordChanged:
    """My node record is now this one (a signed envelope, see discovery/record.py)."""

    number: ClassVar[int] = 3
    record: bytes


@dataclass(frozen=True, slots=True)
class Bye:
    """I am leaving; do not look for me. `reason` is for people, but for `company.LET_GO`: I stay, and have
    enough sessions."""

    number: ClassVar[int] = 4
    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Please answer this."""

    number: ClassVar[int] = 10
    stream: int
    kind: str
    """chat, completion or embedding."""
    model: str
    body: bytes
    """The OpenAI request body as JSON, without `model` and `stream`."""
    streaming: bool
    """Somebody is watching: send tokens as they come, not one chunk at the end."""
    deadline_ms: int
    """From now; relative, because clocks differ."""
    opening: bytes
    """The requester's signed ledger entry OPEN (hold for the price); empty if it has none."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """I shall answer: `position` 0 is now, otherwise the place in my queue, `eta_ms` until the start."""

    number: ClassVar[int] = 11
    stream: int
    position: int
    eta_ms: int
    engine: str
    lead: int
    """Tokens that I send ahead of your last Voucher at most; 0: I want none."""


@dataclass(frozen=True, slots=True)
class Refused:
    """I shall not answer. `refusal` is a signed envelope: who refuses must be able to stand by it."""

    number: ClassVar[int] = 12
    stream: int
    refusal: bytes


@dataclass(frozen=True, slots=True)
class Chunks:
    """Pieces of the answer, in order. Text is text; bytes are a JSON object (a whole OpenAI delta)."""

    number: ClassVar[int] = 13
    stream: int
    first: int
    """Index of items[0] in the answer: a gap or a repeat is a protocol error, never glossed over."""
    items: list[str | bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete."""

    number: ClassVar[int] = 14
    stream: int
    reason: str
    prompt_tokens: int
    completion_tokens: int
    prompt_us: int
    generate_us: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer breaks off here. `code` as in opengateway/errors.py."""

    number: ClassVar[int] = 15
    stream: int
    code: str
    message: str
    hint: str
    retry_after_ms: int
    """-1: trying again makes no sense. On the wire this field is one more, so that never is 0."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """I am no longer interested. Nothing more may follow on this stream from either side."""

    number: ClassVar[int] = 16
    stream: int


@dataclass(frozen=True, slots=True)
class Grant:
    """You may send `chunks` more: back-pressure. A stream starts with STREAM_WINDOW of them."""

    number: ClassVar[int] = 17
    stream: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Settle:
    """The requester's signed ledger entry SETTLE for this stream."""

    number: ClassVar[int] = 20
    stream: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class Earned:
    """The worker's signed ledger entry EARN, linked to that SETTLE."""

    number: ClassVar[int] = 21
    stream: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class Voucher:
    """What the requester owes for this stream by now: a signed voucher (ledger/voucher.py)."""

    number: ClassVar[int] = 22
    stream: int
    voucher: bytes


@dataclass(frozen=True, slots=True)
class Transfer:
    """Please put your name to this mandate and pass it on; or, if you are its last, owe it from now on."""

    number: ClassVar[int] = 40
    mandate: bytes


@dataclass(frozen=True, slots=True)
class Transferred:
    """It is done: the last debtor's signed entry, and mine that gives up my claim on you. Without the
    latter: and please send me yours."""

    number: ClassVar[int] = 41
    mandate: bytes
    receipt: bytes
    leg: bytes


@dataclass(frozen=True, slots=True)
class NotTransferred:
    """I shall not do that. `reason` is a short name, `message` for people."""

    number: ClassVar[int] = 42
    tid: bytes
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """We have the same owner: please let `debtor` owe you what it owes me (ucr), and owe it to me."""

    number: ClassVar[int] = 43
    debtor: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class Proof:
    """Somebody signed two things that cannot both be true. Pass it on, once you have checked it."""

    number: ClassVar[int] = 44
    proof: bytes


@dataclass(frozen=True, slots=True)
class Stamp:
    """My identity stamp, for when you are to serve me on trust."""

    number: ClassVar[int] = 45
    stamp: bytes


Message: TypeAlias = (
    Ping
    | Pong
    | RecordChanged
    | Bye
    | Moved
    | Clock
    | Ask
    | Accepted
    | Refused
    | Chunks
    | Ended
    | Failed
    | Cancel
    | Grant
    | Settle
    | Earned
    | Voucher
    | Transfer
    | Transferred
    | NotTransferred
    | Sweep
    | Proof
    | Stamp
    | SuccessionMessage
    | WitnessMessage | RouteMessage | PeerMessage | RelayMessage | QuoteMessage | ContinueMessage
    | WaitingMessage
)  # fmt: skip

INSTALMENT = 64
"""Tokens after which a requester vouches, or `INSTALMENT_S` seconds: signing, checking and keeping a voucher
costs 0.3 ms of CPU, which is 1 % of the time in which a fast engine makes 64 tokens."""
INSTALMENT_S = 2.0

STREAM_WINDOW = 256
"""Chunks that a worker may send ahead of the requester's reading. With 64 streams to one peer and 20
bytes a chunk that is 330 kB in flight: bounded, and 2 s of the fastest engine measured."""
