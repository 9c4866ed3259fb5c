"""The identity stamp: work done once for an identity, so that a new one is not free (LEDGER.md).

    challenge = SHA-256("opengateway-stamp/1\\n" || net || leaf of the GENESIS)
    a try     = scrypt(nonce (8 bytes), salt challenge, N 1024, r 8, p 1, 8 bytes)     1 MiB, 1.6 to 2.2 ms
    stamp     = canonical CBOR ["ogw-stamp/1", GENESIS body, its signature, nonce], try * TRIES < 2^64

The GENESIS names network, key and recovery key, so a stamp is worth nothing to anybody else. scrypt, because
what asks for memory gains least from special hardware; 1 MiB, so that checking one stays cheap.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import cbor2

from opengateway.ledger.entry import (
    GENESIS,
    EntryInvalid,
    Signed,
    leaf_of,
    read_body,
    require_signature,
)
from opengateway.ledger.rules import RuleBroken, check_terms
from opengateway.ledger.stamp_child import attempt

TRIES: Final = 12_000
"""On average: 20 s of one core at the 1.6 ms that a try takes with libsodium on a server core (measured),
26 s at the 2.2 ms of OpenSSL."""
STAMP_LIMIT: Final = 512
"""Bytes. One has 347."""
NONCE_BYTES: Final = 8


class StampInvalid(ValueError):
    """No stamp of this key; the text says why."""


class Stamp(NamedTuple):
    genesis: Signed
    nonce: bytes

    @property
    def wire(self) -> bytes:
        return cbor2.dumps(["ogw-stamp/1", self.genesis.body, self.genesis.signature, self.nonce])


def challenge(net: bytes, genesis_leaf: bytes) -> bytes:
    return hashlib.sha256(b"opengateway-stamp/1\n" + net + genesis_leaf).digest()


def stamps(challenged: bytes, nonce: bytes) -> bool:
    """Whether this nonce is one of the few (1 in `TRIES`) that do. 2 ms."""
    return attempt(challenged, nonce) * TRIES < 1 << 64


def read_stamp(data: bytes, net: bytes, author: bytes) -> Stamp:
    """The form, in 20 us. Raises `StampInvalid`."""
    if len(data) > STAMP_LIMIT:
        raise StampInvalid("too long")
    try:
        value = cbor2.loads(data)
        name, body, signature, nonce = value
        if cbor2.dumps(value) != data or name != "ogw-stamp/1" or type(body) is not bytes:
            raise StampInvalid("not a stamp")
        if type(signature) is not bytes or type(nonce) is not bytes or len(nonce) != NONCE_BYTES:
            raise StampInvalid("not a stamp")
        entry = read_body(body, net)
        check_terms(entry)
    except StampInvalid:
        raise
    except (EntryInvalid, RuleBroken) as error:
        raise StampInvalid(f"its GENESIS is none: {error}") from error
    except Exception as error:  # cbor2 raises many kinds on hostile input
        raise StampInvalid("not a stamp") from error
    if entry.kind != GENESIS or entry.author != author:
        raise StampInvalid("of another key")
    return Stamp(Signed(entry, body, leaf_of(body), signature), nonce)


def check_stamp(stamp: Stamp, net: bytes) -> None:
    """The rest: signature 55 us, work 2 ms. Raises `StampInvalid`."""
    try:
        require_signature(stamp.genesis)
    except EntryInvalid as error:
        raise StampInvalid("its GENESIS is not signed by its author") from error
    if not stamps(challenge(net, stamp.genesis.leaf), stamp.nonce):
        raise StampInvalid("without the work")
