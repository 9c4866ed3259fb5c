"""PROTOCOL.md is the specification: its tables and its vectors are what the code does."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from nacl.bindings import crypto_scalarmult, crypto_secretbox, crypto_secretbox_open
from nacl.signing import SigningKey, VerifyKey

from opengateway.wire import envelope, handshake, knock, limits, refusals, session
from opengateway.wire.codec import KINDS, decode_message, encode_message
from opengateway.wire.fields import FIELDS
from opengateway.wire.messages import STREAM_WINDOW
from opengateway.wire.relay import RelayLimits
from tools import make_vectors

PAGE = (Path(limits.__file__).parent / "PROTOCOL.md").read_text()


def vectors(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((make_vectors.FOLDER / f"{name}.json").read_text())
    return found


def table(heading: str) -> dict[str, str]:
    """First column -> the others, of the table whose first heading is `heading`."""
    rows = iter(PAGE.splitlines())
    assert any(row.startswith(f"| {heading} |") for row in rows), heading
    next(rows)
    found = {}
    for row in rows:
        if not row.startswith("|"):
            break
        first, *others = (cell.strip() for cell in row.strip("|").split("|"))
        found[first] = " | ".join(others)
    return found


def test_the_table_of_messages_is_what_the_codec_does() -> None:
    code = {
        str(number): f"{kind.__name__} | "
        + ", ".join(
            f"`{name}` {field.kind}" + (f" ({field.limit})" if field.kind != "bool" else "")
            for name, field in FIELDS[kind.__name__].items()
        )
        for number, kind in KINDS.items()
    }
    assert table("number") == code


def test_the_table_of_limits_is_what_the_code_keeps() -> None:
    defaults, quotas = limits.Limits(), RelayLimits()
    code = {
        "bytes of a frame": defaults.frame,
        "messages in a frame": limits.MESSAGES_PER_FRAME,
        "bytes of HELLO, WELCOME, REFUSAL": defaults.hello,
        "bytes of a node record": limits.RECORD_LIMIT,
        "bytes of an envelope": envelope.ENVELOPE_LIMIT,
        "bytes on the way to one peer": defaults.queued_bytes,
        "bytes after which a Ping is due": limits.ACK_EVERY_BYTES,
        "chunks ahead of Grant": STREAM_WINDOW,
        "streams per peer": limits.STREAMS_PER_PEER,
        "sessions": defaults.sessions,
        "HELLOs a second from one address": int(defaults.hellos_per_address_per_s),
        "HELLOs at once from one address": defaults.hellos_burst,
        "HELLOs a second from everybody": int(defaults.hellos_per_s),
        "half-open handshakes": defaults.half_open,
        "seconds a handshake may be half open": int(defaults.half_open_s),
        "nonces remembered": limits.NONCES_KEPT,
        "ms that a HELLO may be old": limits.CLOCK_WINDOW_MS,
        "ms that clocks may differ": limits.SKEW_LIMIT_MS,
        "ms by which a set clock is told": limits.CLOCK_STEP_MS,
        "seconds between Pings of who dialled": int(limits.PING_EVERY_S),
        "seconds between Pings of who was dialled": int(limits.MEASURE_EVERY_S),
        "seconds of silence": int(limits.SILENT_AFTER_S),
        "seconds without a Pong": int(limits.UNANSWERED_AFTER_S),
        "seconds of an epoch": int(limits.REKEY_AFTER_S),
        "frames of an epoch": limits.REKEY_AFTER_FRAMES,
        "refused frames that end a session": limits.REFUSALS_PER_SESSION,
        "bytes of a piece of a frame on a circuit": limits.FRAGMENT,
        "bytes on the way on one half of a circuit": limits.CIRCUIT_WINDOW,
        "circuits that one relay may open to a node": limits.CIRCUITS_IN,
        "circuits of one node at a relay": quotas.circuits_per_node,
        "circuits at a relay": quotas.circuits,
        "reservations at a relay": quotas.reservations,
        "seconds of a reservation": quotas.life_s,
        "seconds of a circuit without a frame": int(quotas.idle_s),
    }
    assert table("limit") == {name: str(value) for name, value in code.items()}


def test_the_table_of_reasons_is_what_the_code_says() -> None:
    assert table("reason") == refusals.REASONS


def test_the_tables_of_kinds_and_frames_are_what_the_code_sends() -> None:
    assert table("kind") == {
        name: str(getattr(envelope, name))
        for name in ("HELLO", "WELCOME", "RECORD", "REFUSAL", "WHEREABOUTS", "QUOTE")
    }
    opening = handshake.HELLO_FRAME + handshake.WELCOME_FRAME + refusals.REFUSAL_FRAME
    first_bytes = [*opening, *knock.KNOCK_FRAME, *knock.KNOCKED_FRAME, session.SEALED]
    assert list(table("first byte")) == [f"0x{byte:02x}" for byte in first_bytes]


@pytest.mark.parametrize("name", make_vectors.files())
def test_the_vectors_are_up_to_date(name: str) -> None:
    assert (make_vectors.FOLDER / name).read_text() == make_vectors.files()[name]


def test_every_message_has_a_vector() -> None:
    found = vectors("messages")
    assert {vector["name"] for vector in found} == set(FIELDS)
    for vector in found:
        encoded = bytes.fromhex(vector["encoded"])
        message = decode_message(encoded)
        assert type(message).__name__ == vector["name"]
        assert encode_message(message) == encoded


# What follows uses nothing of ours: it is PROTOCOL.md once more, in fifty lines.


def mac(key: bytes, person: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32, key=key, person=person).digest()


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def signed(envelope: bytes) -> list[Any]:
    statement, signature = cbor2.loads(envelope)
    fields: list[Any] = cbor2.loads(statement)
    VerifyKey(fields[3]).verify(b"OGW1 envelope\n" + sha(statement), signature)
    return fields


def unhex(vector: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(vector[name]) for name in names]


def test_another_implementation_agrees_on_envelopes() -> None:
    for vector in vectors("envelope"):
        seed, net, recipient, nonce, body = unhex(vector, "seed", "net", "recipient", "nonce", "body")
        key = SigningKey(seed)
        fields = [1, net, vector["kind"], bytes(key.verify_key), recipient, vector["t_ms"], nonce]
        statement = cbor2.dumps([*fields, cbor2.loads(body)])
        signature = key.sign(b"OGW1 envelope\n" + sha(statement)).signature
        assert cbor2.dumps([statement, signature]).hex() == vector["envelope"]


def test_another_implementation_agrees_on_handshakes() -> None:
    for vector in vectors("handshake"):
        net = sha(
            b"opengateway/1 network\n" + vector["network"].encode() + b"\n" + vector["secret"].encode()
        )[:8]
        assert net.hex() == vector["net"]
        hello, welcome, ours = unhex(vector, "hello", "welcome", "initiator_ephemeral")
        assert (hello[0], welcome[0]) == (1, 2)
        hello, confirmation, welcome = hello[1:], welcome[1:33], welcome[33:]
        theirs, _, _, hello_hash = signed(welcome)[7]
        assert signed(hello)[7][2] == b"record of the initiator" and hello_hash == sha(hello)
        transcript = sha(b"OGW1 handshake\n" + sha(hello) + sha(welcome))
        root = mac(crypto_scalarmult(ours, theirs), b"OGW1 session", transcript + vector["secret"].encode())
        assert hmac.compare_digest(mac(root, b"OGW1 key", b"confirmation"), confirmation)
        assert mac(root, b"OGW1 key", b"to responder").hex() == vector["to_responder"]
        assert mac(root, b"OGW1 key", b"to initiator").hex() == vector["to_initiator"]


def test_another_implementation_agrees_on_sealed_frames() -> None:
    first = bytes.fromhex(vectors("frames")[0]["key"])
    for vector in vectors("frames"):
        key, message, frame = unhex(vector, "key", "message", "frame")
        assert key == (first if vector["epoch"] == 0 else mac(first, b"OGW1 rekey", b""))
        header = b"\x10" + vector["epoch"].to_bytes(4, "big") + vector["counter"].to_bytes(8, "big")
        assert header + crypto_secretbox(message, header + bytes(11), key) == frame
        assert crypto_secretbox_open(frame[13:], frame[:13] + bytes(11), key) == message


def test_another_implementation_agrees_on_quotes() -> None:
    for vector in vectors("quotes"):
        fields = signed(bytes.fromhex(vector["envelope"]))
        assert fields[2] == 6
        terms = vector["terms"]
        assert fields[7][0] == vector["stream"]
        assert fields[7][1].hex() == terms.pop("offer")
        assert fields[7][2:] == list(terms.values())
