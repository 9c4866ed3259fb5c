"""The handshake: HELLO, WELCOME, and the keys of the session. Bytes in, bytes out, no I/O.

    initiator                                         responder
      HELLO   = 0x01 | envelope(HELLO, [ephemeral, instance, record, there_ms]) ->
      <-        WELCOME = 0x02 | confirmation (32) | envelope(WELCOME, [ephemeral, instance, record,
                                                                        hash of HELLO's envelope])
      first sealed message                                                      ->

Both signatures cover their sender's ephemeral key, WELCOME's covers the whole HELLO as well; the keys
come from both ephemerals, the hash of both envelopes and the network's secret. `confirmation` proves
that the responder has derived them, the first sealed message that the initiator has: a stranger who
replays a HELLO, or who knows the network's id but not its secret, cannot do either.

`there_ms` is 0, or what the initiator takes for the time at the responder: whoever was refused for its clock
has been told the time, and tries once more. The responder judges the age of a HELLO by its own clock
either way, so a wrong clock anywhere opens no door to replays.

`instance` is random and new with every start of a node: it tells a restart (which replaces the old
session) from a second connection of the same process (which settles with it, see peer.py).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Any, Final

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as SodiumError

from opengateway.identity import Identity
from opengateway.units import NetworkId, NodeId
from opengateway.wire.envelope import EVERYONE, HELLO, WELCOME, Envelope, open_envelope, sign_envelope
from opengateway.wire.limits import CLOCK_WINDOW_MS, HELLO_LIMIT, RECORD_LIMIT, SKEW_LIMIT_MS
from opengateway.wire.session import Opener, Sealer

HELLO_FRAME: Final = b"\x01"
WELCOME_FRAME: Final = b"\x02"
KEY_BYTES: Final = 32
INSTANCE_BYTES: Final = 16


class HandshakeRefused(ValueError):
    """No session with this one. `reason` is a short name, counted in the metrics; `detail` is for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Keys:
    """Two keys and the confirmation, from one handshake."""

    to_responder: bytes
    to_initiator: bytes
    confirmation: bytes


@dataclass(frozen=True, slots=True)
class Established:
    """What both ends know after the handshake."""

    peer: NodeId
    instance: bytes
    record: bytes
    """The peer's signed node record as it came: whoever uses it verifies it."""
    transcript: bytes
    """Names this session: the same 32 bytes at both ends."""
    sealer: Sealer
    opener: Opener
    ahead_ms: int = 0
    """How far the peer's clock is ahead of ours; what the frame took to get here is missing from it."""


@dataclass(frozen=True, slots=True)
class Us:
    """Who speaks: the same for every handshake of a node."""

    identity: Identity
    net: NetworkId
    secret: str
    instance: bytes


def derive_keys(shared: bytes, transcript: bytes, secret: str) -> Keys:
    """BLAKE2b, keyed: the X25519 result keys a hash of transcript and secret, that keys the rest."""
    root = hashlib.blake2b(
        transcript + secret.encode(), digest_size=KEY_BYTES, key=shared, person=b"OGW1 session"
    ).digest()

    def part(name: bytes) -> bytes:
        return hashlib.blake2b(name, digest_size=KEY_BYTES, key=root, person=b"OGW1 key").digest()

    return Keys(part(b"to responder"), part(b"to initiator"), part(b"confirmation"))


def transcript_of(hello: bytes, welcome: bytes) -> bytes:
    """Over the two envelopes, without the bytes before them."""
    both = hashlib.sha256(hello).digest() + hashlib.sha256(welcome).digest()
    return hashlib.sha256(b"OGW1 handshake\n" + both).digest()


class Initiator:
    """One dialled handshake. `expect` is the id that must answer, or `EVERYONE` if any may."""

    def __init__(
        self, us: Us, record: bytes, *, now_ms: int, expect: bytes = EVERYONE, there_ms: int = 0,
        ephemeral: bytes = b"", nonce: bytes = b"",
    ) -> None:  # fmt: skip
        self._us = us
        self._expect = expect
        self.there_ms = there_ms
        self._ephemeral = ephemeral or os.urandom(KEY_BYTES)
        body = [crypto_scalarmult_base(self._ephemeral), us.instance, record, there_ms]
        self._envelope = sign_envelope(
            us.identity, us.net, HELLO, body, t_ms=now_ms, recipient=expect, nonce=nonce
        )
        self.hello = HELLO_FRAME + self._envelope
        """The frame to send."""

    @property
    def hello_hash(self) -> bytes:
        """What WELCOME and REFUSAL must name."""
        return hashlib.sha256(self._envelope).digest()

    def welcomed(self, frame: bytes, now_ms: int) -> Established:
        """The session, from a WELCOME frame. Raises `HandshakeRefused` or `EnvelopeRefused`."""
        confirmation, welcome = frame[1 : 1 + KEY_BYTES], frame[1 + KEY_BYTES :]
        envelope = open_envelope(welcome, self._us.net, WELCOME, limit=HELLO_LIMIT)
        # Fresh because it answers our HELLO: its time only says how that clock goes.
        check_envelope(envelope, self._us.identity.node_id, now_ms, window_ms=SKEW_LIMIT_MS, exactly_us=True)
        if self._expect and envelope.sender != self._expect:
            raise HandshakeRefused("wrong_peer", "another node answers at this address")
        theirs, instance, record, hello_hash = _body(envelope, bytes)
        if hello_hash != self.hello_hash:
            raise HandshakeRefused("wrong_hello", "the WELCOME answers another HELLO")
        transcript = transcript_of(self._envelope, welcome)
        keys = derive_keys(exchange(self._ephemeral, theirs), transcript, self._us.secret)
        self._ephemeral = b""
        if not hmac.compare_digest(confirmation, keys.confirmation):
            raise HandshakeRefused("wrong_secret", "the other node does not have this network's secret")
        return Established(
            envelope.sender, instance, record, transcript,
            Sealer(keys.to_responder), Opener(keys.to_initiator), envelope.t_ms - now_ms,
        )  # fmt: skip


def answer(
    us: Us, hello: Envelope, envelope: bytes, record: bytes, *, now_ms: int, ephemeral: bytes = b"",
    nonce: bytes = b"",
) -> tuple[Established, bytes]:  # fmt: skip
    """The session and the WELCOME frame for a HELLO that has been opened and checked. The peer is not
    proven before the first sealed message opens. Raises `HandshakeRefused`."""
    theirs, instance, their_record, _ = _body(hello, int)
    ephemeral = ephemeral or os.urandom(KEY_BYTES)
    shared = exchange(ephemeral, theirs)
    body = [crypto_scalarmult_base(ephemeral), us.instance, record, hashlib.sha256(envelope).digest()]
    welcome = sign_envelope(
        us.identity, us.net, WELCOME, body, t_ms=now_ms, recipient=hello.sender, nonce=nonce
    )
    transcript = transcript_of(envelope, welcome)
    keys = derive_keys(shared, transcript, us.secret)
    established = Established(
        hello.sender, instance, their_record, transcript,
        Sealer(keys.to_initiator), Opener(keys.to_responder), hello.t_ms - now_ms,
    )  # fmt: skip
    return established, WELCOME_FRAME + keys.confirmation + welcome


def check_hello(envelope: Envelope, us: NodeId, now_ms: int) -> None:
    """Sender, recipient and age of a HELLO, and how wrong its sender's clock may be. Raises
    `HandshakeRefused`."""
    *_, there_ms = _body(envelope, int)
    check_envelope(envelope, us, now_ms, window_ms=SKEW_LIMIT_MS if there_ms else CLOCK_WINDOW_MS)
    if there_ms and abs(there_ms - now_ms) > CLOCK_WINDOW_MS:
        raise HandshakeRefused("clock_skew", f"its HELLO is {abs(there_ms - now_ms) / 1000:.0f} s off")


def check_envelope(
    envelope: Envelope, us: NodeId, now_ms: int, *, window_ms: int, exactly_us: bool = False
) -> None:
    """Sender, recipient and time of a HELLO or WELCOME. Raises `HandshakeRefused`."""
    if envelope.sender == us:
        raise HandshakeRefused("own_address", "this address leads back to the node itself")
    if envelope.recipient != us and (exactly_us or envelope.recipient != EVERYONE):
        raise HandshakeRefused("wrong_recipient", "another node was expected at this address")
    offset = envelope.t_ms - now_ms
    if abs(offset) > window_ms:
        way = "ahead of" if offset > 0 else "behind"
        raise HandshakeRefused(
            "clock_skew", f"the sender's clock is {abs(offset) / 1000:.0f} s {way} the receiver's"
        )


def exchange(ours: bytes, theirs: bytes) -> bytes:
    """X25519. Raises `HandshakeRefused` for a key of small order, which would give a known secret."""
    try:
        shared: bytes = crypto_scalarmult(ours, theirs)
    except (CryptoError, SodiumError) as error:
        raise HandshakeRefused("small_order_key", "X25519") from error
    if not any(shared):  # libsodium refuses these already; a build without that check must not
        raise HandshakeRefused("small_order_key", "X25519")
    return shared


def _body(envelope: Envelope, last: type) -> list[Any]:
    body = envelope.body
    if [type(part) for part in body] != [bytes, bytes, bytes, last]:
        raise HandshakeRefused("malformed", f"expected three byte strings and {last.__name__}")
    if len(body[0]) != KEY_BYTES or len(body[1]) != INSTANCE_BYTES or len(body[2]) > RECORD_LIMIT:
        raise HandshakeRefused("malformed", "lengths")
    return body
