from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.identity import Identity, network_id
from opengateway.wire.envelope import EVERYONE, HELLO, WELCOME, EnvelopeRefused, open_envelope, sign_envelope
from opengateway.wire.gate import Gate
from opengateway.wire.handshake import (
    Established,
    HandshakeRefused,
    Initiator,
    Us,
    answer,
    exchange,
    transcript_of,
)
from opengateway.wire.limits import CLOCK_WINDOW_MS, HELLO_LIMIT, RECORD_LIMIT, Limits

NET = network_id("test")
NOW_MS = 1_750_000_000_000


def us(net: bytes = NET, secret: str = "") -> Us:
    return Us(Identity.generate(), net, secret, os.urandom(16))


A, B = us(), us()


def gate(limits: Limits | None = None) -> Gate:
    return Gate(B, limits or Limits(), 0.0)


def admitted(initiator: Initiator, door: Gate | None = None, *, now_ms: int = NOW_MS):
    return (door or gate()).admit(initiator.hello, "10.0.0.1", now=0.0, now_ms=now_ms)


def shake(a: Us, b: Us, record: bytes = b"record") -> tuple[Established, Established]:
    initiator = Initiator(a, b"record a", now_ms=NOW_MS)
    hello = open_envelope(initiator.hello[1:], b.net, HELLO, limit=HELLO_LIMIT)
    theirs, welcome = answer(b, hello, initiator.hello[1:], record, now_ms=NOW_MS)
    return initiator.welcomed(welcome, NOW_MS), theirs


def test_both_ends_hold_the_same_session_with_one_key_per_direction() -> None:
    ours, theirs = shake(A, B)
    assert (ours.peer, theirs.peer) == (B.identity.node_id, A.identity.node_id)
    assert (ours.record, theirs.record) == (b"record", b"record a")
    assert ours.transcript == theirs.transcript
    there, back = ours.sealer.seal(b"there", 0), theirs.sealer.seal(b"back", 0)
    assert theirs.opener.open(there) == b"there"
    assert ours.opener.open(back) == b"back"
    assert there[13:] != theirs.sealer.seal(b"there", 0)[13:]


def test_no_two_sessions_share_a_key() -> None:
    one, _ = shake(A, B)
    _, other = shake(A, B)
    with pytest.raises(ValueError, match="forged_frame"):
        other.opener.open(one.sealer.seal(b"x", 0))


def test_a_record_of_the_greatest_size_fits() -> None:
    assert shake(A, B, bytes(RECORD_LIMIT))[0].record == bytes(RECORD_LIMIT)


def test_without_the_networks_secret_the_confirmation_is_wrong() -> None:
    with pytest.raises(HandshakeRefused) as caught:
        shake(A, us(secret="guess"))
    assert caught.value.reason == "wrong_secret"


def test_only_who_is_expected_may_answer() -> None:
    stranger = us()
    initiator = Initiator(A, b"", now_ms=NOW_MS, expect=B.identity.node_id)
    hello = open_envelope(initiator.hello[1:], NET, HELLO)
    _, welcome = answer(stranger, hello, initiator.hello[1:], b"", now_ms=NOW_MS)
    with pytest.raises(HandshakeRefused) as caught:
        initiator.welcomed(welcome, NOW_MS)
    assert caught.value.reason == "wrong_peer"
    with pytest.raises(HandshakeRefused) as caught:
        Gate(stranger, Limits(), 0.0).admit(initiator.hello, "", now=0.0, now_ms=NOW_MS)
    assert caught.value.reason == "wrong_recipient"


def test_a_welcome_for_another_hello_is_refused() -> None:
    first, second = (Initiator(A, b"", now_ms=NOW_MS) for _ in range(2))
    _, welcome = answer(B, open_envelope(first.hello[1:], NET, HELLO), first.hello[1:], b"", now_ms=NOW_MS)
    with pytest.raises(HandshakeRefused) as caught:
        second.welcomed(welcome, NOW_MS)
    assert caught.value.reason == "wrong_hello"


@given(st.integers(8, 400), st.integers(1, 255))
def test_a_changed_welcome_is_refused(at: int, change: int) -> None:
    initiator = Initiator(A, b"", now_ms=NOW_MS)
    _, welcome = answer(
        B, open_envelope(initiator.hello[1:], NET, HELLO), initiator.hello[1:], b"", now_ms=NOW_MS
    )
    changed = bytearray(welcome)
    changed[1 + at % (len(welcome) - 1)] ^= change
    with pytest.raises((HandshakeRefused, EnvelopeRefused)):
        initiator.welcomed(bytes(changed), NOW_MS)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_as_hello_or_welcome_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises((HandshakeRefused, EnvelopeRefused)):
        gate().admit(b"\x01" + data, "", now=0.0, now_ms=NOW_MS)
    with pytest.raises((HandshakeRefused, EnvelopeRefused)):
        Initiator(A, b"", now_ms=NOW_MS).welcomed(b"\x02" + data, NOW_MS)


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        bytes([1]) + bytes(31),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ],
)
def test_every_x25519_point_of_small_order_is_refused(key: bytes) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        exchange(os.urandom(32), key)
    assert caught.value.reason == "small_order_key"
    body = [key, bytes(16), b"", bytes(32)]
    initiator = Initiator(A, b"", now_ms=NOW_MS)
    body[3] = initiator.hello_hash
    welcome = sign_envelope(B.identity, NET, WELCOME, body, t_ms=NOW_MS, recipient=A.identity.node_id)
    with pytest.raises(HandshakeRefused) as caught:
        initiator.welcomed(b"\x02" + bytes(32) + welcome, NOW_MS)
    assert caught.value.reason == "small_order_key"


@pytest.mark.parametrize("offset", [-CLOCK_WINDOW_MS, 0, CLOCK_WINDOW_MS])
def test_clocks_may_differ_by_the_window(offset: int) -> None:
    assert admitted(Initiator(A, b"", now_ms=NOW_MS + offset)).recipient == EVERYONE


@pytest.mark.parametrize(
    ("offset", "words"),
    [(-120_001, "120 s behind"), (120_001, "120 s ahead of"), (3_600_000, "3600 s ahead of")],
)
def test_a_clock_outside_the_window_is_told_by_how_much(offset: int, words: str) -> None:
    with pytest.raises(HandshakeRefused, match=words) as caught:
        admitted(Initiator(A, b"", now_ms=NOW_MS + offset))
    assert caught.value.reason == "clock_skew"


def test_a_hello_is_admitted_once_however_late_within_its_time() -> None:
    door, initiator = gate(), Initiator(A, b"", now_ms=NOW_MS + CLOCK_WINDOW_MS)
    admitted(initiator, door)
    for later in (0, CLOCK_WINDOW_MS, 2 * CLOCK_WINDOW_MS):
        admitted(Initiator(us(), b"", now_ms=NOW_MS + later), door, now_ms=NOW_MS + later)
        with pytest.raises(HandshakeRefused, match="replayed_hello"):
            admitted(initiator, door, now_ms=NOW_MS + later)
    with pytest.raises(HandshakeRefused, match="clock_skew"):
        admitted(initiator, door, now_ms=NOW_MS + 2 * CLOCK_WINDOW_MS + 1)


def test_an_address_has_a_burst_then_a_rate_and_does_not_spend_anothers() -> None:
    door = gate(Limits(hellos_burst=3, hellos_per_address_per_s=2))

    def knock(address: str, now: float) -> bool:
        try:
            door.admit(Initiator(A, b"", now_ms=NOW_MS).hello, address, now=now, now_ms=NOW_MS)
        except HandshakeRefused as refused:
            assert refused.reason == "hello_flood"
            return False
        return True

    assert [knock("10.0.0.1", 0.0) for _ in range(4)] == [True, True, True, False]
    assert knock("10.0.0.2", 0.0)
    assert [knock("10.0.0.1", 1.0) for _ in range(3)] == [True, True, False]


def test_one_ipv6_subnet_is_one_address() -> None:
    door = gate(Limits(hellos_burst=1, hellos_per_address_per_s=0.001))
    door.admit(Initiator(A, b"", now_ms=NOW_MS).hello, "2001:db8:1:2::3", now=0.0, now_ms=NOW_MS)
    with pytest.raises(HandshakeRefused, match="hello_flood"):
        door.admit(Initiator(A, b"", now_ms=NOW_MS).hello, "2001:db8:1:2:ffff::1", now=0.0, now_ms=NOW_MS)
    door.admit(Initiator(A, b"", now_ms=NOW_MS).hello, "2001:db8:1:3::3", now=0.0, now_ms=NOW_MS)


def test_everybody_together_has_a_budget_too() -> None:
    door = gate(Limits(hellos_per_s=5))
    for n in range(5):
        door.admit(Initiator(A, b"", now_ms=NOW_MS).hello, f"10.0.0.{n}", now=0.0, now_ms=NOW_MS)
    with pytest.raises(HandshakeRefused, match="hello_flood"):
        door.admit(Initiator(A, b"", now_ms=NOW_MS).hello, "10.0.0.9", now=0.0, now_ms=NOW_MS)


def test_the_transcript_covers_both_envelopes() -> None:
    assert len({transcript_of(b"a", b"b"), transcript_of(b"a", b"c"), transcript_of(b"c", b"b")}) == 3
