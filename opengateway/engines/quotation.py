"""A signed quote: what a node would take for an answer, and when it could begin.

Body of the envelope: `[stream, offer, price_prompt, price_completion, unsecured, free, held, hold_ms,
position, start_ms, prompt_mtps, generate_mtps]`, all but `offer` integers from 0. Speeds are in thousandths
of a token/s, 0 where nobody has measured; `offer` is the SHA-256 of the record that has the prices.
"""

from __future__ import annotations

from dataclasses import dataclass

from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId
from opengateway.wire.envelope import QUOTE, EnvelopeRefused, open_envelope, sign_envelope

MOST_HOLD_MS = 60_000
MOST_UCR = 1 << 62
MOST_COUNT = 1 << 20
MOST_MS = 7 * 86_400_000
MOST_MTPS = 1 << 40
_LIMITS = (
    MOST_UCR,
    MOST_UCR,
    MOST_UCR,
    MOST_COUNT,
    MOST_COUNT,
    MOST_HOLD_MS,
    MOST_COUNT,
    MOST_MS,
    MOST_MTPS,
    MOST_MTPS,
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is promised, or for speeds claimed, in a quote."""

    offer: bytes
    price_prompt: int
    price_completion: int
    """ucr per token."""
    unsecured: int
    """Of the hold, what neither our debt nor our line secures (ucr)."""
    free: int
    """Free slots, those held included."""
    held: int = 0
    hold_ms: int = 0
    position: int = 0
    """How many wait before this request."""
    start_ms: int = 0
    prompt_mtps: int = 0
    generate_mtps: int = 0


def sign_quote(
    identity: Identity,
    net: NetworkId,
    peer: NodeId,
    stream: int,
    terms: Terms,
    *,
    now_ms: int,
    nonce: bytes = b"",
) -> bytes:
    numbers = (
        terms.price_prompt,
        terms.price_completion,
        terms.unsecured,
        terms.free,
        terms.held,
        terms.hold_ms,
        terms.position,
        terms.start_ms,
        terms.prompt_mtps,
        terms.generate_mtps,
    )
    bounded = [min(number, most) for number, most in zip(numbers, _LIMITS, strict=True)]
    body = [stream, terms.offer, *bounded]
    return sign_envelope(identity, net, QUOTE, body, t_ms=now_ms, recipient=peer, nonce=nonce)


def open_quote(data: bytes, net: NetworkId, peer: NodeId, own: NodeId, stream: int) -> Terms:
    """What `peer` signed for us and this stream. Raises `EnvelopeRefused`."""
    envelope = open_envelope(data, net, QUOTE)
    body = envelope.body
    if envelope.sender != peer or envelope.recipient != own or len(body) != 2 + len(_LIMITS):
        raise EnvelopeRefused("malformed", "not a quote for us")
    number, offer, *numbers = body
    if number != stream or type(offer) is not bytes or len(offer) not in (0, 32):
        raise EnvelopeRefused("malformed", "another stream's quote")
    for value, most in zip(numbers, _LIMITS, strict=True):
        if type(value) is not int or not 0 <= value <= most:
            raise EnvelopeRefused("malformed", "a number out of its bounds")
    return Terms(offer, *numbers)
