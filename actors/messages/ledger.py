"""What the Ledger hears of credit: holds, vouchers, settlements, transfers, questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from actors.kernel import Request
from actors.messages.job import Tick
from actors.messages.testimony import (
    AcceptAccount,
    BeginShowing,
    CoveredAt,
    HearAccount,
    HearHeads,
    HearWitness,
    KeepStamp,
    LedgerShown,
    MeetSuccessor,
    MeetWitness,
    SeekWitnesses,
    Showable,
    StampShown,
    StampSought,
    TakeProof,
    TakeRotation,
)
from opengateway.errors import OpenGatewayError
from opengateway.ledger.admission import Admission
from opengateway.ledger.handover import Outcome, Talk
from opengateway.ledger.routes import Creditors
from opengateway.units import NodeId


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
class SettleHolds(Request[list[bytes | OpenGatewayError]]):
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
class Earn(Request[list[bytes | OpenGatewayError]]):
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
