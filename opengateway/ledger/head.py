"""A head announcement: "this is the newest entry of my ledger now", signed by its author.

    body      = canonical CBOR ["ogw-head/1", net, author, seq, leaf, t_ms]
    name      = SHA-256(0x00 || body)
    signature = Ed25519(author, "OGW1 head\\n" || name)
    on the wire: canonical CBOR [body, signature]

`t_ms` is never below that of an earlier head or entry, and no later entry is below it: two heads tell by
themselves which came first. Needs PyNaCl and cbor2 and nothing else of a node, because the audit reads heads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from opengateway.identity import Identity, verify
from opengateway.ledger.entry import INTEGER_LIMIT, EntryInvalid, leaf_of, read_wire
from opengateway.wire import cbor

TAG = "ogw-head/1"
HEAD_LIMIT = 160
"""Bytes of a body; the longest has 107."""

_DOMAIN = b"OGW1 head\n"


class Head(NamedTuple):
    """The fields in their order on the wire, after the tag."""

    net: bytes
    author: bytes
    seq: int
    leaf: bytes
    t_ms: int

    @property
    def body(self) -> bytes:
        return cbor.encode((TAG, *self))


class SignedHead(NamedTuple):
    head: Head
    body: bytes
    signature: bytes

    @property
    def wire(self) -> bytes:
        return cbor.encode((self.body, self.signature))


def sign_head(identity: Identity, head: Head) -> SignedHead:
    body = head.body
    return SignedHead(head, body, identity.sign(_DOMAIN + leaf_of(body)))


def read_head(body: bytes, signature: bytes, net: bytes | None) -> SignedHead:
    """Form and network (None: whichever), not the signature. Raises `EntryInvalid`."""
    try:
        value: Any = cbor.decode(body, limit=HEAD_LIMIT)
    except cbor.NotCanonical as error:
        raise EntryInvalid("format", str(error)) from error
    if type(value) is not list or len(value) != 6 or value[0] != TAG:
        raise EntryInvalid("format", "not a head")
    lengths, numbers = (value[1], 8), (value[3], value[5])
    if any(
        type(one) is not bytes or len(one) != size for one, size in (lengths, (value[2], 32), (value[4], 32))
    ):
        raise EntryInvalid("format", "a field of another length")
    if any(type(one) is not int or not 0 <= one < INTEGER_LIMIT for one in numbers):
        raise EntryInvalid("format", "a number out of range")
    head = Head(*value[1:])
    if net is not None and head.net != net:
        raise EntryInvalid("network", "of another network")
    return SignedHead(head, body, signature)


def read_head_wire(data: bytes, net: bytes) -> SignedHead:
    """As `read_head`, off the wire."""
    return read_head(*read_wire(data), net)


def announced(signed: SignedHead) -> bool:
    """Its author signed it (50 us)."""
    return verify(signed.head.author, _DOMAIN + leaf_of(signed.body), signed.signature)
