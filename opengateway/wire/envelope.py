"""A signed statement: canonical CBOR `[v, net, kind, sender, recipient, t_ms, nonce, body]` and an
Ed25519 signature over a domain-separated hash of it.

What travels is `[statement, signature]`, again canonical CBOR. Signing a hash costs the same for 100
bytes as for 100 kB (libsodium reads a message twice to sign it), and the prefix keeps a signature made
for one purpose from meaning anything for another.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point

from opengateway.identity import Identity, verify
from opengateway.units import NetworkId, NodeId
from opengateway.wire import cbor

VERSION = 1
NONCE_BYTES = 16
ENVELOPE_LIMIT = 64 * 1024
"""Bytes. A record with 50 models takes 6 kB; nothing signed needs more than ten times that."""

HELLO, WELCOME, RECORD, REFUSAL, WHEREABOUTS, QUOTE = 1, 2, 3, 4, 5, 6
EVERYONE = b""

_DOMAIN = b"OGW1 envelope\n"


class EnvelopeRefused(ValueError):
    """Not an envelope to act upon. `reason` is a short name, counted in the metrics."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Envelope:
    net: NetworkId
    kind: int
    sender: NodeId
    recipient: bytes
    """32 bytes, or `EVERYONE`."""
    t_ms: int
    nonce: bytes
    body: list[Any]


def sign_envelope(
    identity: Identity,
    net: NetworkId,
    kind: int,
    body: list[Any],
    *,
    t_ms: int,
    recipient: bytes = EVERYONE,
    nonce: bytes = b"",
) -> bytes:
    """The bytes to send. `nonce` is fresh unless given; only test vectors give it."""
    nonce = nonce or os.urandom(NONCE_BYTES)
    statement = cbor.encode([VERSION, net, kind, identity.node_id, recipient, t_ms, nonce, body])
    return cbor.encode([statement, identity.sign(_DOMAIN + hashlib.sha256(statement).digest())])


def open_envelope(data: bytes, net: NetworkId, kind: int, *, limit: int = ENVELOPE_LIMIT) -> Envelope:
    """Checks form, version, network, kind and signature, cheapest first. Time, nonce and body are the
    caller's to judge: a record is valid for hours, a hello for seconds. Raises `EnvelopeRefused`."""
    try:
        statement, signature = _fields(cbor.decode(data, limit=limit), bytes, bytes)
        fields = cbor.decode(statement, limit=limit)
    except cbor.NotCanonical as error:
        raise EnvelopeRefused("not_canonical", str(error)) from error
    if type(fields) is list and fields and type(fields[0]) is int and fields[0] != VERSION:
        # Before the shape: another version may have another.
        raise EnvelopeRefused("unknown_version", f"{fields[0]}; supported: {VERSION}")
    _, found_net, found_kind, sender, recipient, t_ms, nonce, body = _fields(
        fields, int, bytes, int, bytes, bytes, int, bytes, list
    )
    if found_net != net:
        raise EnvelopeRefused("wrong_network")
    if found_kind != kind:
        raise EnvelopeRefused("unknown_kind", f"{found_kind}, expected {kind}")
    if len(sender) != 32 or len(recipient) not in (0, 32) or len(nonce) != NONCE_BYTES:
        raise EnvelopeRefused("malformed", "lengths")
    if not verify(sender, _DOMAIN + hashlib.sha256(statement).digest(), signature):
        # A key of small order verifies almost anything where it is accepted; it gets its own name.
        weak = not crypto_core_ed25519_is_valid_point(sender)
        raise EnvelopeRefused("small_order_key" if weak else "bad_signature")
    return Envelope(net, found_kind, NodeId(sender), recipient, t_ms, nonce, body)


def _fields(value: Any, *kinds: type) -> list[Any]:
    if type(value) is not list or len(value) != len(kinds):
        raise EnvelopeRefused("malformed", f"expected an array of {len(kinds)}")
    for item, kind in zip(value, kinds, strict=True):
        if type(item) is not kind:
            raise EnvelopeRefused("malformed", f"expected {kind.__name__}, found {type(item).__name__}")
    return value
