"""Asking a router for a port: small routers on loopback. Whole nodes do it in tests/lab/test_nat.py."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from opengateway.discovery import natpmp, upnp
from opengateway.discovery.natpmp import Mapping, MappingRefused
from opengateway.discovery.port_mapping import default_router

ADDRESS = struct.pack(">BBHI4B", 0, 128, 0, 7, 203, 0, 113, 9)


def mapped(question: bytes, *, op: int = 130, result: int = 0, inner: int = 0, life: int = -1) -> bytes:
    """The answer to a request for a port."""
    _, _, _, asked, outer, wanted = struct.unpack(">BBHHHI", question)
    return struct.pack(">BBHIHHI", 0, op, result, 7, inner or asked, outer, wanted if life < 0 else life)


class PmpRouter(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self.answer = answer
        self.questions: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.questions.append(data)
        for reply in self.answer(data):
            self.transport.sendto(reply, addr)


def ask(answer: Callable[[bytes], list[bytes]], **settings: Any) -> tuple[Mapping, list[bytes]]:
    """What comes of asking such a router for port 11436."""

    async def main() -> tuple[Mapping, list[bytes]]:
        loop = asyncio.get_running_loop()
        transport, router = await loop.create_datagram_endpoint(
            lambda: PmpRouter(answer), local_addr=("127.0.0.1", 0)
        )
        try:
            at = transport.get_extra_info("sockname")[1]
            found = await natpmp.map_port("127.0.0.1", 11436, 11436, at=at, **settings)
            return found, router.questions
        finally:
            transport.close()

    return asyncio.run(main())


def honest(question: bytes) -> list[bytes]:
    return [ADDRESS] if question == bytes(2) else [mapped(question)]


def test_nat_pmp_asks_as_rfc_6886_says_and_believes_the_answer() -> None:
    found, questions = ask(honest)
    assert found == Mapping("203.0.113.9", 11436, 7200.0)
    assert questions == [bytes.fromhex("0002 0000 2cac 2cac 00001c20"), bytes(2)]


def test_nat_pmp_removes_a_mapping_with_a_lifetime_of_nothing() -> None:
    found, [question] = ask(honest, life_s=0)
    assert found.port == 0
    assert question[8:] == bytes(4)


def test_a_lost_datagram_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natpmp, "WAITS_S", (0.05, 0.5, 5.0))
    seen: list[bytes] = []

    def deaf(question: bytes) -> list[bytes]:
        seen.append(question)
        return [] if len(seen) == 1 else honest(question)

    assert ask(deaf)[0].port == 11436


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q: [mapped(q, result=2)], "port mapping is switched off"),
        (lambda q: [mapped(q, result=99)], "code 99"),
        (lambda q: [mapped(q, inner=1)], "answered another question"),
        (lambda _: [], "does not answer NAT-PMP"),
        (lambda q: [b"", b"\0", b"\0\x82", bytes(300), mapped(q, op=131), mapped(q)[:-1]], "does not answer"),
    ],
)
def test_a_router_that_refuses_or_talks_nonsense_maps_nothing(
    answer: Callable[[bytes], list[bytes]], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(natpmp, "WAITS_S", (0.05, 0.1))
    with pytest.raises(MappingRefused, match=words):
        ask(answer)


# -- UPnP ------------------------------------------------------------------------------------------

SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"


def fault(code: int) -> tuple[int, str]:
    return 500, f"<errorCode>{code}</errorCode><errorDescription>because</errorDescription>"


@asynccontextmanager
async def device(answer: Callable[[str, str], tuple[int, str]]) -> Any:
    """A web server that answers (head, body) of each request; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(head.rpartition("Content-Length: ")[2].split()[0])
        code, page = answer(head, (await reader.readexactly(size)).decode())
        writer.write(f"HTTP/1.0 {code} OK\r\n\r\n{page}".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def upnp_map(answer: Callable[[str, str], tuple[int, str]]) -> Mapping:
    async def main() -> Mapping:
        async with device(answer) as port:
            igd = upnp.Igd(f"http://127.0.0.1:{port}/control?x=1", SERVICE, "192.168.1.5")
            return (await upnp.map_port(11436, 11436, igd))[1]

    return asyncio.run(main())


def test_upnp_asks_for_the_port_and_then_for_the_address() -> None:
    heard: list[tuple[str, str]] = []

    def router(head: str, body: str) -> tuple[int, str]:
        heard.append((head, body))
        return (
            200,
            "<NewExternalIPAddress>203.0.113.9</NewExternalIPAddress>" if "GetExternal" in head else "",
        )

    assert upnp_map(router) == Mapping("203.0.113.9", 11436, 3600.0)
    add, get = heard
    assert add[0].startswith("POST /control?x=1 HTTP/1.0\r\n")
    assert f'SOAPAction: "{SERVICE}#AddPortMapping"' in add[0]
    assert "<NewInternalClient>192.168.1.5</NewInternalClient>" in add[1]
    assert "<NewLeaseDuration>3600</NewLeaseDuration>" in add[1]
    assert "#GetExternalIPAddress" in get[0]


def test_a_router_that_only_knows_permanent_leases_gets_one() -> None:
    def router(head: str, body: str) -> tuple[int, str]:
        if "AddPortMapping" in head and "<NewLeaseDuration>0<" not in body:
            return fault(725)
        return 200, "<x:NewExternalIPAddress>203.0.113.9</x:NewExternalIPAddress>"

    assert upnp_map(router).address == "203.0.113.9"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (fault(718), "refused: 718 because"),
        ((404, "no"), "HTTP status 404"),
        ((500, "<" * 200_000), "HTTP status 500"),
    ],
)
def test_a_upnp_router_that_refuses_says_why(answer: tuple[int, str], words: str) -> None:
    with pytest.raises(MappingRefused, match=words):
        upnp_map(lambda _head, _body: answer)


def test_nothing_listening_is_a_refusal_and_no_crash() -> None:
    igd = upnp.Igd("http://127.0.0.1:1/", SERVICE, "192.168.1.5")
    with pytest.raises(MappingRefused, match="does not answer"):
        asyncio.run(upnp.map_port(11436, 11436, igd))


def described(control: str) -> str:
    return f"<service><serviceType>{SERVICE}</serviceType><controlURL>{control}</controlURL></service>"


@pytest.mark.parametrize("control", ["http://198.51.100.1/x", "//198.51.100.1/x", "ftp:/x"])
def test_a_device_cannot_send_us_to_another_host(control: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with device(lambda _head, _body: (200, described(control))) as port:

            async def found() -> list[tuple[str, str]]:
                return [("127.0.0.1", f"http://127.0.0.1:{port}/root.xml")]

            monkeypatch.setattr(upnp, "_search", found)
            with pytest.raises(MappingRefused, match="no router answers"):
                await upnp.find()

    asyncio.run(main())


def test_the_default_router_is_read_from_the_routing_table(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        "eth0\t00000000\tFE01A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    )
    assert default_router(table) == "192.168.1.254"
    assert default_router(tmp_path / "missing") == ""
