"""A requester's promise while an answer streams: "of this OPEN I owe so much by now". Cumulative: the latest
one says it all, and those before it, lost or doubled, do not matter.

    body      = canonical CBOR ["ogw-voucher/1", leaf of the OPEN, n, completion tokens, amount, t_ms]
    name      = SHA-256(0x00 || body)                      what an EARN links to if no SETTLE ever comes
    signature = Ed25519(author of the OPEN, "OGW1 voucher\\n" || name)
    on the wire and in exports: canonical CBOR [body, signature]

It is no chain entry. A SETTLE or VOID of the same OPEN with a smaller amount is fraud (F5). Needs PyNaCl and
cbor2 and nothing else of a node, because the audit tool reads vouchers with this file.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import cbor2

from opengateway.identity import Identity, verify
from opengateway.ledger.entry import (
    INTEGER_LIMIT,
    SETTLE,
    VOID,
    Entry,
    EntryInvalid,
    Signed,
    Terms,
    leaf_of,
    read_body,
    read_wire,
    signed_by_author,
)

TAG = "ogw-voucher/1"
UNDER_SETTLE = "F5-under-settle"
VOUCHER_LIMIT = 256
"""Bytes of a body; the longest has 86."""

_DOMAIN = b"OGW1 voucher\n"


class Voucher(NamedTuple):
    """The fields in their order on the wire, after the tag."""

    open_leaf: bytes
    n: int
    """1, 2, 3 ...: of two vouchers for one OPEN the higher counts."""
    completion_tokens: int
    """Received so far."""
    amount: int
    """ucr owed so far, the prompt included."""
    t_ms: int

    @property
    def body(self) -> bytes:
        return cbor2.dumps((TAG, *self))

    def terms(self, opened: Entry) -> Terms:
        """What an EARN by this voucher says: its tokens, at the prices of the OPEN. Raises `EntryInvalid` if
        the amount is none that the prices make, or more than was held or asked for."""
        rest = self.amount - self.completion_tokens * opened.price_completion
        prompt = rest // opened.price_prompt if opened.price_prompt else 0
        if rest < 0 or rest != prompt * opened.price_prompt:
            raise EntryInvalid("amount", f"{self.amount} ucr for {self.completion_tokens} tokens")
        if self.amount > opened.hold:
            raise EntryInvalid("hold", f"vouches for {self.amount} of {opened.hold} ucr")
        prices = opened.price_prompt, opened.price_completion
        return Terms(opened.model, prompt, self.completion_tokens, *prices, amount=self.amount)


class SignedVoucher(NamedTuple):
    voucher: Voucher
    body: bytes
    name: bytes
    signature: bytes

    @property
    def wire(self) -> bytes:
        return cbor2.dumps((self.body, self.signature))


def name_of(body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + body).digest()


def sign_voucher(identity: Identity, voucher: Voucher) -> SignedVoucher:
    body = voucher.body
    name = name_of(body)
    return SignedVoucher(voucher, body, name, identity.sign(_DOMAIN + name))


def read_voucher(data: bytes) -> SignedVoucher:
    """A voucher off the wire, everything checked except its signature. Raises `EntryInvalid` only."""
    body, signature = read_wire(data)
    if len(body) > VOUCHER_LIMIT:
        raise EntryInvalid("format", f"a voucher of {len(body)} bytes")
    try:
        fields = cbor2.loads(body)
    except Exception as error:  # cbor2 raises many kinds on hostile input
        raise EntryInvalid("format", f"unreadable: {type(error).__name__}") from error
    if type(fields) is not list or len(fields) != 6 or fields[0] != TAG:
        raise EntryInvalid("format", "not a voucher")
    _, leaf, *numbers = fields
    if type(leaf) is not bytes or len(leaf) != 32:
        raise EntryInvalid("format", "a voucher names its OPEN by 32 bytes")
    if any(type(number) is not int or not 0 <= number < INTEGER_LIMIT for number in numbers):
        raise EntryInvalid("format", "a number of a voucher is out of range")
    voucher = Voucher(leaf, *numbers)
    if voucher.body != body:
        raise EntryInvalid("format", "another encoding of the same values")
    return SignedVoucher(voucher, body, name_of(body), signature)


def vouched_by(author: bytes, voucher: SignedVoucher) -> bool:
    return verify(author, _DOMAIN + voucher.name, voucher.signature)


def under_settle_proof(release: Signed, voucher: SignedVoucher) -> bytes:
    """For anybody to check: a SETTLE or VOID, and a voucher over more of the same OPEN."""
    pieces = [release.body, release.signature], [voucher.body, voucher.signature]
    return cbor2.dumps(["ogw-proof/1", UNDER_SETTLE, *pieces])


def check_under_settle(release: tuple[bytes, bytes], voucher: tuple[bytes, bytes], net: bytes) -> bytes:
    """The public key that these two (body, signature) convict. Raises `ValueError` if they prove nothing."""
    entry = read_body(release[0], net)
    promised = read_voucher(cbor2.dumps(voucher))
    if entry.kind not in (SETTLE, VOID) or promised.voucher.open_leaf != entry.link:
        raise ValueError("not a SETTLE and a voucher of one request")
    if not signed_by_author(entry.author, leaf_of(release[0]), release[1]):
        raise ValueError("a signature in this proof is not by its author")
    if not vouched_by(entry.author, promised):
        raise ValueError("the voucher in this proof is by somebody else")
    if entry.amount >= promised.voucher.amount:
        raise ValueError("this SETTLE pays what was vouched for")
    return entry.author
