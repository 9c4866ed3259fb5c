"""A signed "no": who refuses to serve must be able to stand by it, and a relay cannot forge it.

Body of the envelope: `[stream, code, message, hint, retry_after_ms + 1, missing]`: the fifth is 0 for "do not
retry", the sixth how much more credit (ucr) would have been enough.
"""

from __future__ import annotations

from opengateway.errors import NotEnoughCredit, OpenGatewayError, RequestError, from_code
from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId
from opengateway.wire.envelope import REFUSAL, EnvelopeRefused, open_envelope, sign_envelope

TEXT_LIMIT = 1000
"""Characters of a message or hint that we pass on to a user."""


def sign_refusal(
    identity: Identity, net: NetworkId, peer: NodeId, stream: int, error: OpenGatewayError, *, now_ms: int
) -> bytes:
    retry = 0 if error.retry_after is None else int(error.retry_after * 1000) + 1
    body = [stream, error.code, error.message[:TEXT_LIMIT], error.hint[:TEXT_LIMIT], retry]
    body.append(error.missing if isinstance(error, NotEnoughCredit) else 0)
    return sign_envelope(identity, net, REFUSAL, body, t_ms=now_ms, recipient=peer)


def open_refusal(data: bytes, net: NetworkId, peer: NodeId, stream: int) -> OpenGatewayError:
    """The error that `peer` signed for `stream`; an error of our own words if it did not."""
    try:
        envelope = open_envelope(data, net, REFUSAL)
        number, code, message, hint, retry, missing = envelope.body
        if envelope.sender != peer or number != stream:
            raise EnvelopeRefused("malformed", "another stream's refusal")
        after = None if retry == 0 else (int(retry) - 1) / 1000
        text, hint = str(message)[:TEXT_LIMIT], str(hint)[:TEXT_LIMIT]
        error = from_code(str(code), text, hint=hint, retry_after=after)
        if isinstance(error, NotEnoughCredit):
            error.missing = int(missing)
        return error
    except (EnvelopeRefused, ValueError, TypeError):
        return RequestError("the peer refused, but its refusal carries no valid signature")
