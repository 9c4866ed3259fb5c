"""Why the wire says no: every reason by its name, as counted in the metrics (`refused_<name>`), sent in
a REFUSAL and told to people. PROTOCOL.md has the same names; a test compares them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from opengateway.identity import short
from opengateway.units import NetworkId
from opengateway.wire import cbor
from opengateway.wire.envelope import (
    EVERYONE,
    REFUSAL,
    VERSION,
    EnvelopeRefused,
    open_envelope,
    sign_envelope,
)
from opengateway.wire.handshake import Initiator, Us
from opengateway.wire.limits import CLOCK_WINDOW_MS, HELLO_LIMIT, SKEW_LIMIT_MS

REFUSAL_FRAME: Final = b"\x03"

REASONS: Final[dict[str, str]] = {
    # a HELLO, WELCOME or REFUSAL
    "not_canonical": "its bytes are not canonical CBOR",
    "malformed": "its fields are not what the protocol says",
    "unknown_version": "it speaks another version of the protocol",
    "unknown_kind": "it sent another kind of envelope than was due",
    "wrong_network": "it belongs to another network: the network's name or secret differs",
    "bad_signature": "its signature is forged or damaged",
    "small_order_key": "it uses a key that everybody can compute",
    "own_address": "this address leads back to the node itself",
    "wrong_recipient": "another node was expected at this address",
    "wrong_peer": "another node answers at this address than the one expected",
    "wrong_hello": "its answer belongs to another HELLO",
    "wrong_secret": "it does not have this network's secret",
    "clock_skew": "the two clocks differ by too much: set the time on both (timedatectl set-ntp true)",
    "replayed_hello": "this HELLO has been seen before",
    "hello_flood": "too many connection attempts: wait a moment",
    "half_open_full": "too many handshakes are waiting there: try again in a moment",
    "half_open_timeout": "it never finished its handshake",
    "too_many_sessions": "it has as many peers as it can serve",
    "unexpected_frame": "it sent something without a session",
    # a frame or message of a session
    "truncated_frame": "a frame is too short",
    "oversized": "a frame is larger than the limit",
    "not_sealed": "a frame is not sealed",
    "forged_frame": "a frame does not open",
    "replayed_frame": "a frame came twice or out of order",
    "missing_frame": "a frame is missing on a connection through a relay",
    "wrong_epoch": "a frame is sealed with a key that is not due",
    "malformed_message": "a message is not what the protocol says",
    "unknown_message": "a message has an unknown number",
    "multipart": "a frame came in several parts",
    "unknown_pong": "an answer to a ping that was never sent",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A HELLO turned down, as the dialler reads it."""

    reason: str
    detail: str
    t_ms: int
    """The time where it was written."""

    @property
    def sentence(self) -> str:
        text = REASONS.get(self.reason, f"it says {self.reason!r}, which this version does not know")
        return f"{text} ({self.detail})" if self.detail else text

    def worth_another(self, initiator: Initiator, now_ms: int) -> bool:
        """Whether a HELLO dated by the time there could do. A lie about it gets one HELLO more."""
        apart = CLOCK_WINDOW_MS < abs(self.t_ms - now_ms) <= SKEW_LIMIT_MS
        return self.reason == "clock_skew" and not initiator.there_ms and apart


def sign_refusal(us: Us, hello_frame: bytes, reason: str, detail: str, *, now_ms: int) -> bytes:
    """The REFUSAL frame. It is written for the network and the sender that the HELLO claims: that is the
    only way to tell somebody "wrong network" in words he accepts, and gives nothing of ours away."""
    envelope = hello_frame[1:]
    net, recipient = _claimed(envelope, us.net)
    body = [hashlib.sha256(envelope).digest(), reason, detail, [VERSION]]
    signed = sign_envelope(us.identity, net, REFUSAL, body, t_ms=now_ms, recipient=recipient)
    return REFUSAL_FRAME + signed


def read_refusal(us: Us, initiator: Initiator, frame: bytes) -> Refusal:
    """What a REFUSAL frame says to the HELLO of `initiator`. Raises `EnvelopeRefused`."""
    envelope = open_envelope(frame[1:], us.net, REFUSAL, limit=HELLO_LIMIT)
    if len(envelope.body) != 4 or [type(part) for part in envelope.body] != [bytes, str, str, list]:
        raise EnvelopeRefused("malformed", "the body of a REFUSAL")
    hello_hash, reason, detail, versions = envelope.body
    if hello_hash != initiator.hello_hash:
        raise EnvelopeRefused("wrong_hello")
    if reason == "unknown_version":
        detail = f"it supports {', '.join(map(str, versions[:8]))}, this node {VERSION}"
    elif not detail:
        detail = f"says node {short(envelope.sender)}"
    return Refusal(reason[:64], detail[:256], envelope.t_ms)


def _claimed(envelope: bytes, ours: NetworkId) -> tuple[NetworkId, bytes]:
    try:
        _, net, _, sender, *_ = cbor.decode(cbor.decode(envelope)[0])
    except (cbor.NotCanonical, TypeError, ValueError, IndexError, KeyError):
        return ours, EVERYONE
    known = type(net) is bytes and len(net) == 8
    named = type(sender) is bytes and len(sender) == 32
    return NetworkId(net) if known else ours, sender if named else EVERYONE
