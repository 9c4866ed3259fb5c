"""NAT-PMP (RFC 6886): ask the router to forward a TCP port. A few bytes over UDP to its port 5351.

A router that speaks PCP (RFC 6887) answers NAT-PMP too, or says "unsupported version", which is a no.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

PORT: Final = 5351
MAP_TCP: Final = 2
ANSWER: Final = 128
"""Added to the number of the question."""
WAITS_S: Final = (0.25, 0.5, 1.0, 2.0)
"""Until the question is sent again; the RFC goes on to a minute, but then UPnP is the better bet."""
LIFE_S: Final = 7200
"""Recommended by the RFC; renewed after half of it."""
RESULTS: Final = {
    1: "it does not speak this version",
    2: "port mapping is switched off in its settings",
    3: "it has no connection to the internet itself",
    4: "its table of ports is full",
    5: "it does not know the question",
}


class MappingRefused(Exception):
    """The router forwards nothing; the words say why."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A port of the router that leads to us."""

    address: str
    """Its outer address, as it says."""
    port: int
    life_s: float


class _Asking(asyncio.DatagramProtocol):
    """Takes datagrams of the router only: the socket is connected to it."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue(maxsize=16)

    def datagram_received(self, data: bytes, addr: object) -> None:
        del addr
        if not self.answers.full():
            self.answers.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        """Nothing listens there; the next question may find that it does by now."""


async def map_port(router: str, inner: int, outer: int, life_s: int = LIFE_S, *, at: int = PORT) -> Mapping:
    """Have `router` forward a TCP port, `outer` if it is free, to `inner` of this machine. With `life_s` 0
    the mapping is removed. Raises `MappingRefused`."""
    loop = asyncio.get_running_loop()
    try:
        transport, asking = await loop.create_datagram_endpoint(_Asking, remote_addr=(router, at))
    except OSError as error:
        raise MappingRefused(f"the router {router} cannot be asked: {error.strerror}") from error
    try:
        question = struct.pack(">BBHHHI", 0, MAP_TCP, 0, inner, outer, life_s)
        answer = await _ask(transport, asking, question, 16)
        _, _, _, _, ours, port, life = struct.unpack(">BBHIHHI", answer)
        if ours != inner:
            raise MappingRefused("the router answered another question")
        if not life_s:
            return Mapping("", 0, 0.0)
        address = await _ask(transport, asking, bytes(2), 12)
        return Mapping(str(IPv4Address(address[8:12])), port, float(life))
    finally:
        transport.close()


async def _ask(transport: asyncio.DatagramTransport, asking: _Asking, question: bytes, size: int) -> bytes:
    for wait in WAITS_S:
        transport.sendto(question)
        try:
            async with asyncio.timeout(wait):
                while True:
                    answer = await asking.answers.get()
                    if len(answer) < 4 or answer[0] != 0 or answer[1] != ANSWER + question[1]:
                        continue
                    (result,) = struct.unpack_from(">H", answer, 2)
                    if result:
                        raise MappingRefused(f"the router refused: {RESULTS.get(result, f'code {result}')}")
                    if len(answer) == size:
                        return answer
        except TimeoutError:
            continue
    raise MappingRefused("the router does not answer NAT-PMP")
