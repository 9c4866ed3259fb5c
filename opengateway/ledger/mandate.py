"""The paper that moves a claim: who gives up what against whom, signed along the way.

    statement = canonical CBOR ["ogw-release/1", net, tid, amount, [R, X1, (X2,) V], expires_ms]
    RELEASE   = Ed25519(R,  "OGW1 release\\n" || SHA-256(statement))     I give up `amount` that X1 owes me,
    ASSIGN    = Ed25519(Xi, "OGW1 assign\\n"  || SHA-256(statement))     I that much of what the next owes me,
    mandate   = canonical CBOR ["ogw-transfer/1", statement, [RELEASE, ASSIGN, ...]]     if V owes it to R.

Everybody on the path owes the one before: X1 owes R, X2 owes X1, V owes the last. The path is part of what
everybody signs, so nobody can be led to give up a claim for a debtor whom R did not choose.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from opengateway.identity import Identity, verify
from opengateway.ledger.entry import INTEGER_LIMIT
from opengateway.units import NetworkId, NodeId
from opengateway.wire import cbor

MANDATE_LIMIT = 1024
"""Bytes. The longest, with two intermediaries, has 425."""
TID_BYTES = 16
_RELEASE, _ASSIGN = b"OGW1 release\n", b"OGW1 assign\n"


class MandateInvalid(ValueError):
    """These bytes are no mandate for a transfer."""


class Mandate(NamedTuple):
    statement: bytes
    tid: bytes
    amount: int
    """ucr."""
    path: tuple[NodeId, ...]
    """R, one or two intermediaries, V."""
    expires_ms: int
    signatures: tuple[bytes, ...]
    """R's, then those of the intermediaries so far."""

    @property
    def name(self) -> bytes:
        """SHA-256 of the statement: what V's entries link to."""
        return hashlib.sha256(self.statement).digest()

    @property
    def wire(self) -> bytes:
        return cbor.encode(["ogw-transfer/1", self.statement, list(self.signatures)])

    @property
    def complete(self) -> bool:
        return len(self.signatures) == len(self.path) - 1

    def before(self, node: NodeId) -> NodeId:
        """Whom `node` owes (V stands before R: from then on it owes it)."""
        return self.path[self.path.index(node) - 1]

    def after(self, node: NodeId) -> NodeId:
        """Who owes `node`."""
        return self.path[(self.path.index(node) + 1) % len(self.path)]

    def signed(self, identity: Identity) -> Mandate:
        """With the next signature, which must be `identity`'s to give."""
        prefix = _ASSIGN if self.signatures else _RELEASE
        return self._replace(signatures=(*self.signatures, identity.sign(prefix + self.name)))

    def genuine(self) -> bool:
        """Every signature here is by whose turn it was (55 us each)."""
        name = self.name
        return all(
            verify(author, (_ASSIGN if place else _RELEASE) + name, signature)
            for place, (author, signature) in enumerate(zip(self.path, self.signatures, strict=False))
        )


class Receipt(NamedTuple):
    """What ends a transfer: V's entry for R, which with the mandate proves it to everybody on the path."""

    mandate: Mandate
    entry: bytes

    @property
    def wire(self) -> bytes:
        return cbor.encode([self.mandate.wire, self.entry])


def read_receipt(data: bytes, net: bytes) -> Receipt:
    """From our own storage. Raises `MandateInvalid`."""
    mandate, entry = cbor.decode(data)
    return Receipt(read_mandate(mandate, net), entry)


def draft(net: NetworkId, tid: bytes, amount: int, path: tuple[NodeId, ...], expires_ms: int) -> Mandate:
    """Without signatures yet. Raises `MandateInvalid`."""
    statement = cbor.encode(["ogw-release/1", net, tid, amount, list(path), expires_ms])
    return _read_statement(statement, (), net)


def read_mandate(data: bytes, net: bytes) -> Mandate:
    """Form only: the signatures are still to check. Raises `MandateInvalid`."""
    if len(data) > MANDATE_LIMIT:
        raise MandateInvalid(f"{len(data)} bytes")
    value = _canonical(data)
    if type(value) is not list or len(value) != 3 or value[0] != "ogw-transfer/1":
        raise MandateInvalid("not a mandate")
    _, statement, signatures = value
    if type(statement) is not bytes or type(signatures) is not list:
        raise MandateInvalid("not a mandate")
    if not all(type(one) is bytes and len(one) == 64 for one in signatures):
        raise MandateInvalid("a signature has 64 bytes")
    return _read_statement(statement, tuple(signatures), net)


def _read_statement(statement: bytes, signatures: tuple[bytes, ...], net: bytes) -> Mandate:
    value = _canonical(statement)
    if type(value) is not list or [type(item) for item in value] != [str, bytes, bytes, int, list, int]:
        raise MandateInvalid("the statement is malformed")
    name, network, tid, amount, path, expires_ms = value
    if name != "ogw-release/1" or network != net or len(tid) != TID_BYTES:
        raise MandateInvalid("of another version or network, or without a number")
    if not 0 < amount < INTEGER_LIMIT or not 0 <= expires_ms < INTEGER_LIMIT:
        raise MandateInvalid("an amount out of range")
    if not all(type(node) is bytes and len(node) == 32 for node in path):
        raise MandateInvalid("a node's id has 32 bytes")
    if len(path) not in (3, 4) or len(set(path)) != len(path):
        raise MandateInvalid("a path leads over one or two others, and over nobody twice")
    if len(signatures) >= len(path):
        raise MandateInvalid("more signatures than anybody has to give")
    return Mandate(statement, tid, amount, tuple(path), expires_ms, signatures)


def _canonical(data: bytes) -> object:
    try:
        return cbor.decode(data)
    except cbor.NotCanonical:
        return None
