"""The translation alone: packets in, packets out."""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from lab import forwarder
from lab.home_nat import ICMP, TCP, UDP, HomeNat

INSIDE, OUTSIDE, FAR, FARTHER = (
    socket.inet_aton(a) for a in ("10.0.1.2", "41.1.7.1", "63.2.7.1", "101.3.7.1")
)


def total(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    s = sum(struct.unpack(f">{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def packet(
    protocol: int, source: bytes, port: int, target: bytes, target_port: int, data: bytes
) -> bytearray:
    if protocol == UDP:
        segment = struct.pack(">HHHH", port, target_port, 8 + len(data), 0) + data
    elif protocol == TCP:
        segment = struct.pack(">HHIIBBHHH", port, target_port, 1, 2, 0x50, 0x18, 99, 0, 0) + data
    else:
        segment = struct.pack(">BBHHH", 8, 0, 0, port, 1) + data
    pseudo = source + target + struct.pack(">BBH", 0, protocol, len(segment)) if protocol != ICMP else b""
    at = {UDP: 6, TCP: 16, ICMP: 2}[protocol]
    segment = segment[:at] + total(pseudo + segment).to_bytes(2) + segment[at + 2 :]
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, protocol, 0, source, target)
    return bytearray(head[:10] + total(head).to_bytes(2) + head[12:] + segment)


def is_sound(packet: bytearray) -> bool:
    head, segment, protocol = bytes(packet[:20]), bytes(packet[20:]), packet[9]
    pseudo = head[12:20] + struct.pack(">BBH", 0, protocol, len(segment)) if protocol != ICMP else b""
    return total(head) in (0, 0xFFFF) and total(pseudo + segment) in (0, 0xFFFF)


@given(
    st.sampled_from([TCP, UDP, ICMP]),
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.binary(),
    st.booleans(),
)
def test_what_was_translated_has_sound_checksums(
    protocol: int, port: int, target_port: int, data: bytes, symmetric: bool
) -> None:
    nat = HomeNat(OUTSIDE, symmetric)
    one = packet(protocol, INSIDE, port, FAR, target_port, data)
    assert is_sound(one)
    assert nat.leave(one, 0.0)
    assert is_sound(one) and bytes(one[12:16]) == OUTSIDE


def test_only_whom_a_socket_has_talked_to_may_answer() -> None:
    nat = HomeNat(OUTSIDE)
    assert nat.leave(packet(UDP, INSIDE, 5000, FAR, 7, b""), 0.0)
    answer = packet(UDP, FAR, 7, OUTSIDE, 5000, b"hi")
    assert nat.enter(answer, 1.0)
    assert answer == packet(UDP, FAR, 7, INSIDE, 5000, b"hi")
    assert not nat.enter(packet(UDP, FAR, 8, OUTSIDE, 5000, b"hi"), 1.0)
    assert not nat.enter(packet(UDP, FARTHER, 7, OUTSIDE, 5000, b"hi"), 1.0)
    assert not nat.enter(packet(UDP, FAR, 7, OUTSIDE, 5000, b"hi"), 40.0)


def test_of_a_fragment_or_an_unknown_protocol_nothing_passes() -> None:
    one = packet(UDP, INSIDE, 5000, FAR, 7, b"")
    one[6] |= 0x20
    assert not HomeNat(OUTSIDE).leave(one, 0.0)
    one = packet(UDP, INSIDE, 5000, FAR, 7, b"")
    one[9] = 47
    assert not HomeNat(OUTSIDE).leave(one, 0.0)


def test_the_forwarder_passes_no_forged_sender() -> None:
    carrier = forwarder.Forwarder()
    one = forwarder.Site("one", "here", FAR, -1, None)
    other = forwarder.Site("other", "here", FARTHER, -1, None)
    carrier.by_address = {FAR: one, FARTHER: other}
    carrier._carry(one, packet(UDP, INSIDE, 1, FARTHER, 1, b""), 0.0)
    assert carrier.counts == {"no_route": 1}
