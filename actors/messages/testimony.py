"""What the Ledger hears of other ledgers: proofs, witnesses, heads, stamps, changes of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from actors.kernel import Request
from opengateway.ledger.witnessing import Heard, Sends
from opengateway.units import NodeId
from opengateway.wire.messages import Message
from opengateway.wire.witness_messages import Head, Present, WitnessMessage


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
