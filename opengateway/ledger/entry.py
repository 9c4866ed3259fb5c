"""One position of a ledger chain: 25 fields, their one encoding, its hash and its signature.

    leaf      = SHA-256(0x00 || body)               the entry's name, and the next entry's `prev`
    signature = Ed25519("OGW1 entry\\n" || leaf)
    on the wire and in exports: canonical CBOR [body, signature]

The leaf is an RFC 6962 leaf hash, so the chain is a Merkle log as it stands. The signature is not part
of the name: whoever holds two bodies for one position holds a fork, whatever their signatures look like.
Needs PyNaCl and cbor2 and nothing else of a node, because the audit tool reads entries with this file.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import cbor2

from opengateway.identity import SIGNATURE_BYTES, Identity, verify
from opengateway.units import NetworkId, NodeId

VERSION = 1
GENESIS, OPEN, SETTLE, EARN, ADJ, ROTATE, VOID, CARRY, FOLLOW = range(9)
KINDS = ("GENESIS", "OPEN", "SETTLE", "EARN", "ADJ", "ROTATE", "VOID", "CARRY", "FOLLOW")
SUPPORTED = frozenset(range(len(KINDS)))

ZERO32 = bytes(32)
ZERO16 = bytes(16)
INTEGER_LIMIT = 1 << 62
"""Every integer is below this: a sum of two fits into a signed 64-bit column, in SQLite and elsewhere."""
MODEL_LIMIT = 64
"""Characters of a model's name."""
ENTRY_LIMIT = 1024
"""Bytes of a body. The longest has 609: 64 four-byte characters and every integer at its limit."""

_DOMAIN = b"OGW1 entry\n"


class EntryInvalid(ValueError):
    """These bytes are no ledger entry. `reason` is one of format, version, network, kind, signature."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Entry(NamedTuple):
    """The fields in their order on the wire. Amounts are ucr, times milliseconds since 1970 UTC."""

    version: int
    kind: int
    net: NetworkId
    author: NodeId
    seq: int
    prev: bytes
    t_ms: int
    peer: NodeId
    rid: bytes
    link: bytes
    """OPEN: hash of the worker's offer, or zeros. SETTLE, VOID: leaf of the own OPEN. EARN: leaf of the
    requester's SETTLE. GENESIS: SHA-256 of the recovery public key."""
    model: str
    prompt_tokens: int
    completion_tokens: int
    """In an OPEN the most that may be asked for."""
    price_prompt: int
    price_completion: int
    amount: int
    hold: int
    given: int
    """Running totals of the author after this entry: earned, spent, held for requests in flight."""
    taken: int
    held: int
    served: int
    """Running totals between author and peer: earned from the peer, spent at the peer, and what transfers
    moved in the author's and in the peer's favour."""
    consumed: int
    moved_in: int
    moved_out: int
    digest: bytes
    """Salted digest of the answer's tokens (SETTLE and its EARN): evidence in a dispute, no content."""

    @property
    def body(self) -> bytes:
        return cbor2.dumps(tuple(self))


class Terms(NamedTuple):
    """Fields 10 to 16 of an entry: what was asked for, and what for."""

    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    price_prompt: int = 0
    price_completion: int = 0
    amount: int = 0
    hold: int = 0

    @property
    def cost(self) -> int:
        """ucr of these tokens at these prices."""
        return self.prompt_tokens * self.price_prompt + self.completion_tokens * self.price_completion


class Signed(NamedTuple):
    """An entry together with what proves it. `wire` is what travels."""

    entry: Entry
    body: bytes
    leaf: bytes
    signature: bytes

    @property
    def wire(self) -> bytes:
        return write_wire(self.body, self.signature)


_FORM: tuple[tuple[type, int], ...] = (
    (int, 0), (int, 0), (bytes, 8), (bytes, 32), (int, 0), (bytes, 32), (int, 0), (bytes, 32), (bytes, 16),
    (bytes, 32), (str, 0), (int, 0), (int, 0), (int, 0), (int, 0), (int, 0), (int, 0), (int, 0), (int, 0),
    (int, 0), (int, 0), (int, 0), (int, 0), (int, 0), (bytes, 32),
)  # fmt: skip
"""Type of every field, and the exact length of the byte strings."""
_TYPES = [kind for kind, _ in _FORM]
_LENGTHS = [(place, length) for place, (_, length) in enumerate(_FORM) if length]


def leaf_of(body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + body).digest()


def leaf_of_wire(wire: bytes) -> bytes:
    """Of an entry as it travels, that we made ourselves."""
    body, _ = cbor2.loads(wire)
    return leaf_of(body)


def sign(identity: Identity, entry: Entry) -> Signed:
    body = entry.body
    leaf = leaf_of(body)
    return Signed(entry, body, leaf, identity.sign(_DOMAIN + leaf))


def signed_by_author(author: bytes, leaf: bytes, signature: bytes) -> bool:
    return verify(author, _DOMAIN + leaf, signature)


def read_body(body: bytes, net: bytes) -> Entry:
    """The entry in `body`: form, version, network and kind, but neither signature nor meaning.

    cbor2 reads long integers, indefinite lengths and trailing bytes without complaint; comparing with the
    re-encoded value catches all of them. Raises `EntryInvalid`, and nothing else.
    """
    if len(body) > ENTRY_LIMIT:
        raise EntryInvalid("format", f"{len(body)} bytes")
    try:
        fields = cbor2.loads(body)
    except Exception as error:  # cbor2 raises many kinds on hostile input
        raise EntryInvalid("format", f"unreadable: {type(error).__name__}") from error
    if type(fields) is not list or list(map(type, fields)) != _TYPES:
        raise EntryInvalid("format", _misfit(fields))
    for place, length in _LENGTHS:
        if len(fields[place]) != length:
            raise EntryInvalid("format", f"field {place} has {len(fields[place])} bytes, not {length}")
    entry = Entry._make(fields)
    numbers = (entry.version, entry.kind, entry.seq, entry.t_ms, *entry[11:24])
    if min(numbers) < 0 or max(numbers) >= INTEGER_LIMIT:
        raise EntryInvalid("format", "a number is out of range")
    if len(entry.model) > MODEL_LIMIT:
        raise EntryInvalid("format", f"a model's name of {len(entry.model)} characters")
    try:
        canonical = cbor2.dumps(fields)
    except ValueError as error:  # text with lone surrogates decodes in some versions and never encodes
        raise EntryInvalid("format", "text that cannot be encoded") from error
    if canonical != body:
        raise EntryInvalid("format", "another encoding of the same values")
    if entry.version != VERSION:
        raise EntryInvalid("version", f"{entry.version}; supported: {VERSION}")
    if entry.net != net:
        raise EntryInvalid("network", "of another network")
    if entry.kind not in SUPPORTED:
        raise EntryInvalid("kind", KINDS[entry.kind] if entry.kind < len(KINDS) else str(entry.kind))
    return entry


def _misfit(fields: Any) -> str:
    if type(fields) is not list or len(fields) != len(_TYPES):
        return f"not an array of {len(_TYPES)}"
    wrong = ((p, v, k) for p, (v, k) in enumerate(zip(fields, _TYPES, strict=True)) if type(v) is not k)
    place, value, kind = next(wrong)
    return f"field {place} is {type(value).__name__}, not {kind.__name__}"


def write_wire(body: bytes, signature: bytes) -> bytes:
    """`[body, signature]`: what travels."""
    if not 0x100 <= len(body) < 0x10000 or len(signature) != SIGNATURE_BYTES:
        return cbor2.dumps((body, signature))
    return b"\x82\x59" + len(body).to_bytes(2, "big") + body + b"\x58\x40" + signature


def read_wire(data: bytes) -> tuple[bytes, bytes]:
    """Body and signature of `[body, signature]`. Raises `EntryInvalid`."""
    if len(data) > ENTRY_LIMIT + 80:
        raise EntryInvalid("format", f"{len(data)} bytes")
    # Two byte strings with two bytes and one of length: nearly every entry, in a third of the time.
    end = len(data) - SIGNATURE_BYTES - 2
    if data[:2] == b"\x82\x59" and data[end : end + 2] == b"\x58\x40":
        body = data[4:end]
        if len(body) >= 0x100 and data[2:4] == len(body).to_bytes(2, "big"):
            return body, data[end + 2 :]
    try:
        value = cbor2.loads(data)
    except Exception as error:
        raise EntryInvalid("format", f"unreadable: {type(error).__name__}") from error
    if (
        type(value) is not list
        or len(value) != 2
        or type(value[0]) is not bytes
        or type(value[1]) is not bytes
    ):
        raise EntryInvalid("format", "not [body, signature]")
    if cbor2.dumps(value) != data:
        raise EntryInvalid("format", "another encoding of the same values")
    return value[0], value[1]


def read_form(data: bytes, net: bytes) -> Signed:
    """An entry off the wire with everything checked except its signature, which costs the most (55 us)."""
    body, signature = read_wire(data)
    return Signed(read_body(body, net), body, leaf_of(body), signature)


def require_signature(signed: Signed) -> None:
    if not signed_by_author(signed.entry.author, signed.leaf, signed.signature):
        raise EntryInvalid("signature", "not by its author")
