"""What is fuzzed: everything that reads bytes from the network or from a file that somebody else wrote.

A target takes bytes and returns whether they were accepted. It raises `Defect`, or whatever the code under
test raises and should not. What is signed on the way is signed here: no fuzzer gets past a signature.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from opengateway import config
from opengateway.discovery import bootstrap, invitation
from opengateway.discovery.record import RecordRefused, open_record
from opengateway.discovery.whereabouts import open_whereabouts
from opengateway.errors import SetupError
from opengateway.identity import Identity
from opengateway.ledger.audit import Limits, verify
from opengateway.ledger.audit_proof import convicts, places_in
from opengateway.ledger.entry import EntryInvalid, read_form
from opengateway.ledger.mandate import MandateInvalid, read_mandate
from opengateway.ledger.rotation import RotationInvalid, read_rotation
from opengateway.ledger.rules import RuleBroken, check_terms
from opengateway.ledger.stamp import StampInvalid, read_stamp
from opengateway.ledger.voucher import read_voucher
from opengateway.wire import cbor
from opengateway.wire.codec import MessageRefused, decode_messages, encode_message
from opengateway.wire.envelope import (
    HELLO,
    RECORD,
    WHEREABOUTS,
    EnvelopeRefused,
    open_envelope,
    sign_envelope,
)
from opengateway.wire.gate import Gate
from opengateway.wire.handshake import HELLO_FRAME, HandshakeRefused, Initiator, Us, answer
from opengateway.wire.limits import Limits as WireLimits
from tools.fuzz import seeds
from tools.fuzz.seeds import ME, NET, NET_OF_VECTORS, NOW, OTHER

FOLDER: Final = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path()
"""For targets that read a file: memory, or the current folder."""


class Defect(Exception):
    """The code under test did something that it must never do."""


class Target(NamedTuple):
    run: Callable[[bytes], bool]
    seeds: Callable[[], list[bytes]]
    longest: int = 4096
    """Bytes tried: some more than the reader takes."""


def _canonical(data: bytes) -> bool:
    try:
        value = cbor.decode(data)
    except cbor.NotCanonical:
        return False
    if cbor.encode(value) != data:
        raise Defect("two encodings of one value")
    return True


def _messages(data: bytes) -> bool:
    try:
        found, unknown = decode_messages(data)
    except MessageRefused:
        return False
    if not unknown and b"".join(map(encode_message, found)) != data:
        raise Defect("a message that is written otherwise than it was read")
    return True


def _envelope(data: bytes) -> bool:
    """As it comes, and as a statement that its sender has really signed."""
    accepted = False
    signature = ME.sign(b"OGW1 envelope\n" + hashlib.sha256(data).digest())
    for wire in (data, cbor.encode([data, signature])):
        try:
            found = open_envelope(wire, NET, RECORD)
            if found.sender != ME.node_id:
                raise Defect("signed by somebody else")
            accepted = True
        except EnvelopeRefused:
            pass
    return accepted


def _body(data: bytes) -> list[Any] | None:
    """An array of what the fuzzer says, for whoever signs it."""
    try:
        value = cbor.decode(data)
    except cbor.NotCanonical:
        return None
    return value if type(value) is list and len(data) < 12_000 else None


def _handshake(data: bytes) -> bool:
    """A HELLO with this body, signed by its sender; and a WELCOME frame that is these bytes."""
    us = Us(ME, NET, "", b"i" * 16)
    try:
        Initiator(us, b"record", now_ms=NOW, ephemeral=b"e" * 32, nonce=b"n" * 16).welcomed(data, NOW)
        raise Defect("a WELCOME that nobody wrote")
    except (HandshakeRefused, EnvelopeRefused):
        pass
    body = _body(data)
    if body is None:
        return False
    envelope = sign_envelope(OTHER, NET, HELLO, body, t_ms=NOW, recipient=ME.node_id, nonce=b"n" * 16)
    try:
        gate = Gate(us, WireLimits(), 0.0)
        hello = gate.admit(HELLO_FRAME + envelope, "192.0.2.1", now=0.0, now_ms=NOW)
        answer(us, hello, envelope, b"record", now_ms=NOW, ephemeral=b"f" * 32, nonce=b"m" * 16)
    except (HandshakeRefused, EnvelopeRefused):
        return False
    return True


def _record(data: bytes) -> bool:
    body = _body(data)
    if body is None:
        return False
    wire = sign_envelope(OTHER, NET, RECORD, body, t_ms=NOW, nonce=b"n" * 16)
    try:
        read = open_record(wire, NET, now_ms=NOW)
    except RecordRefused:
        return False
    read.places()
    return True


def _whereabouts(data: bytes) -> bool:
    body = _body(data)
    if body is None:
        return False
    wire = sign_envelope(OTHER, NET, WHEREABOUTS, body, t_ms=NOW, nonce=b"n" * 16)
    try:
        open_whereabouts(wire, NET, now_ms=NOW)
    except RecordRefused:
        return False
    return True


def _entry(data: bytes) -> bool:
    try:
        found = read_form(data, NET_OF_VECTORS)
        check_terms(found.entry)
    except (EntryInvalid, RuleBroken):
        return False
    if found.wire != data or found.entry.body != found.body:
        raise Defect("two encodings of one entry")
    return True


def _papers(data: bytes) -> bool:
    """Everything small beside entries: papers of changed keys, mandates, vouchers, stamps, fault proofs."""
    accepted = False
    try:
        accepted = read_rotation(data, NET_OF_VECTORS, known=True).wire == data
        if not accepted:
            raise Defect("papers that are written otherwise than they were read")
    except RotationInvalid:
        pass
    with suppress(MandateInvalid):
        accepted |= read_mandate(data, NET_OF_VECTORS).wire == data
    with suppress(EntryInvalid):
        accepted |= bool(read_voucher(data))
    with suppress(StampInvalid):
        accepted |= bool(read_stamp(data, NET_OF_VECTORS, Identity(b"k" * 32).node_id))
    try:
        convicts(data, None)
        places_in(data)
        accepted = True
    except ValueError:
        pass
    return accepted


def _export(data: bytes) -> bool:
    path = FOLDER / f"opengateway-fuzz-{os.getpid()}.ogwl"
    try:
        path.write_bytes(data)
        return verify(path, limits=Limits(now_ms=NOW)).exit < 5
    finally:
        path.unlink(missing_ok=True)


def _bootstrap(data: bytes) -> bool:
    try:
        found = bootstrap.read(data)
    except bootstrap.BootstrapRefused:
        return False
    if bootstrap.read(bootstrap.write(found)) != found:
        raise Defect("a document that is written otherwise than it was read")
    return True


def _invitation(data: bytes) -> bool:
    """As it is typed, and with the checksum that belongs to it."""
    packed = base64.b32encode(data + invitation.checksum(data)).decode().rstrip("=")
    accepted = False
    for line in (data.decode(errors="replace"), invitation.PREFIX + packed):
        try:
            invitation.read(line, now_ms=NOW)
            accepted = True
        except invitation.InvitationRefused:
            pass
    return accepted


def _config(data: bytes) -> bool:
    path = FOLDER / f"opengateway-fuzz-{os.getpid()}.json"
    try:
        path.write_bytes(data)
        config.flat(config.parse(config.read(path), path))
    except SetupError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


TARGETS: Final[dict[str, Target]] = {
    "cbor": Target(_canonical, lambda: seeds.vectors("messages", "encoded")[:12]),
    "messages": Target(_messages, lambda: seeds.vectors("messages", "encoded")),
    "envelope": Target(_envelope, seeds.statements),
    "handshake": Target(_handshake, seeds.hello_bodies),
    "record": Target(_record, seeds.record_bodies),
    "whereabouts": Target(_whereabouts, seeds.whereabouts_bodies),
    "entry": Target(_entry, seeds.entries, 1200),
    "papers": Target(
        _papers,
        lambda: [
            *seeds.ledger_vectors("papers of D to E", "mandate of C over X to P", "stamp of C"),
            *seeds.proofs(),
        ],
    ),
    "export": Target(_export, seeds.exports, 1 << 15),
    "bootstrap": Target(_bootstrap, seeds.documents, 1 << 14),
    "invitation": Target(_invitation, seeds.invitations, 1024),
    "config": Target(_config, seeds.settings),
}
