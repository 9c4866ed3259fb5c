"""What a home's router does to packets: one outer address, ports given out and forgotten.

`cone` keeps one outer port per inner socket whoever is talked to, `symmetric` takes a new random one per
destination; both let in only whom the socket has talked to (in the words of RFC 4787, endpoint-independent
or address-and-port-dependent mapping, and always address-and-port-dependent filtering).
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

ICMP, TCP, UDP = 1, 6, 17
ECHO_REQUEST, ECHO_REPLY = 8, 0

Socket = tuple[int, bytes, int]
"""Protocol, IPv4 address, port (of ICMP the echo's identifier)."""

_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2}


@dataclass(slots=True)
class Mapping:
    inner: Socket
    outer_port: int
    used: float
    friends: dict[tuple[bytes, int], float] = field(default_factory=dict)
    """Who was talked to, and when last: they may answer."""


@dataclass(slots=True)
class HomeNat:
    outer: bytes
    """The home's public IPv4 address."""
    symmetric: bool = False
    udp_s: float = 30.0
    """Seconds after which an idle UDP mapping is forgotten: common home routers take 30 to 180."""
    tcp_s: float = 7200.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    forwards: dict[tuple[int, int], Socket] = field(default_factory=dict)
    """(protocol, outer port) -> inner socket that anybody may reach, as UPnP makes them."""
    _out: dict[tuple[Socket, tuple[bytes, int] | None], Mapping] = field(default_factory=dict)
    _in: dict[tuple[int, int], Mapping] = field(default_factory=dict)

    def forget(self) -> None:
        """As if the router was switched off and on."""
        self._out.clear()
        self._in.clear()

    def leave(self, packet: bytearray, now: float) -> bool:
        """Give an outgoing packet the outer address. False: not a packet that a home's router passes."""
        ends = _ends(packet)
        if ends is None or (ends[0] == ICMP and packet[_header(packet)] != ECHO_REQUEST):
            return False
        protocol, source, port, target, target_port = ends
        inner = (protocol, source, port)
        forwarded = next((key[1] for key, to in self.forwards.items() if to == inner), None)
        if forwarded is None:
            mapping = self._mapping(inner, (target, target_port), now)
            mapping.used = mapping.friends[target, target_port] = now
        _rewrite(packet, 12, 0, self.outer, mapping.outer_port if forwarded is None else forwarded)
        return True

    def enter(self, packet: bytearray, now: float) -> bool:
        """Send an incoming packet on to whom it is for. False: nobody inside has asked for it."""
        ends = _ends(packet)
        if ends is None or (ends[0] == ICMP and packet[_header(packet)] != ECHO_REPLY):
            return False
        protocol, source, source_port, _, port = ends
        inner = self.forwards.get((protocol, port))
        if inner is None:
            mapping = self._in.get((protocol, port))
            if mapping is None or not self._fresh(mapping.friends.get((source, source_port)), protocol, now):
                return False
            mapping.used = mapping.friends[source, source_port] = now
            inner = mapping.inner
        _rewrite(packet, 16, 2, inner[1], inner[2])
        return True

    def _mapping(self, inner: Socket, target: tuple[bytes, int], now: float) -> Mapping:
        key = (inner, target if self.symmetric else None)
        mapping = self._out.get(key)
        if mapping is not None and self._fresh(mapping.used, inner[0], now):
            return mapping
        if mapping is not None:
            del self._in[inner[0], mapping.outer_port]
        mapping = self._out[key] = Mapping(inner, self._free_port(inner), now)
        self._in[inner[0], mapping.outer_port] = mapping
        return mapping

    def _free_port(self, inner: Socket) -> int:
        protocol, _, port = inner
        while self.symmetric or (protocol, port) in self._in or (protocol, port) in self.forwards:
            port = self.chance.randrange(1024, 65536)
            if (protocol, port) not in self._in and (protocol, port) not in self.forwards:
                break
        return port

    def _fresh(self, used: float | None, protocol: int, now: float) -> bool:
        return used is not None and now - used <= (self.tcp_s if protocol == TCP else self.udp_s)


def _header(packet: bytearray) -> int:
    return (packet[0] & 0x0F) * 4


def _ends(packet: bytearray) -> tuple[int, bytes, int, bytes, int] | None:
    """Protocol, source, its port, target, its port. None for fragments and other protocols."""
    protocol, start = packet[9], _header(packet)
    if protocol not in _CHECKSUM_AT or len(packet) < start + 8 or int.from_bytes(packet[6:8]) & 0x3FFF:
        return None
    if protocol == ICMP:
        echo = int.from_bytes(packet[start + 4 : start + 6])
        return protocol, bytes(packet[12:16]), echo, bytes(packet[16:20]), echo
    source_port, target_port = struct.unpack_from(">HH", packet, start)
    return protocol, bytes(packet[12:16]), source_port, bytes(packet[16:20]), target_port


def _rewrite(packet: bytearray, address_at: int, port_at: int, address: bytes, port: int) -> None:
    protocol, start = packet[9], _header(packet)
    old_address = bytes(packet[address_at : address_at + 4])
    packet[address_at : address_at + 4] = address
    _adjust(packet, 10, old_address, address)
    at = start + (4 if protocol == ICMP else port_at)
    old_port = bytes(packet[at : at + 2])
    new_port = port.to_bytes(2)
    packet[at : at + 2] = new_port
    sum_at = start + _CHECKSUM_AT[protocol]
    if protocol == UDP and not any(packet[sum_at : sum_at + 2]):
        return  # sent without one
    pseudo = protocol != ICMP  # TCP and UDP sum over the addresses as well
    _adjust(
        packet, sum_at, (old_address if pseudo else b"") + old_port, (address if pseudo else b"") + new_port
    )


def _adjust(packet: bytearray, at: int, old: bytes, new: bytes) -> None:
    """The checksum after a change of some 16-bit words (RFC 1624, equation 3)."""
    total = ~int.from_bytes(packet[at : at + 2]) & 0xFFFF
    for i in range(0, len(old), 2):
        total += (~int.from_bytes(old[i : i + 2]) & 0xFFFF) + int.from_bytes(new[i : i + 2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[at : at + 2] = (~total & 0xFFFF).to_bytes(2)
