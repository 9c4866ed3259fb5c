"""UPnP Internet Gateway Device, as much of it as forwarding one TCP port takes: find the router by SSDP,
read its description, call AddPortMapping.

What answers on a home network is any device at all, so everything is bounded: size, time, and where the
control address may lead (the host that answered, nowhere else).
"""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass
from html import escape, unescape
from typing import Final
from urllib.parse import urljoin, urlsplit

from opengateway.discovery.natpmp import Mapping, MappingRefused

GROUP: Final = ("239.255.255.250", 1900)
SEARCH_S: Final = 2.0
CALL_S: Final = 3.0
READ_LIMIT: Final = 64 * 1024
OTHERS_S: Final = 0.1
"""After the first answer: others, if there are any, are as quick."""
ROUTERS: Final = 4
"""Answers looked at: a home has one router, and a television that claims to be one."""
LIFE_S: Final = 3600
ONLY_PERMANENT: Final = "725"
"""OnlyPermanentLeasesSupported: many cheap routers."""
_SERVICES: Final = ("WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1")
_SEARCH: Final = (
    "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
    'MAN: "ssdp:discover"\r\nMX: 1\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n'
)
_NAME: Final = "OpenGateway"


@dataclass(frozen=True, slots=True)
class Igd:
    """A router, ready to be called."""

    control: str
    """URL."""
    service: str
    local: str
    """Our address towards it."""


async def map_port(inner: int, outer: int, igd: Igd | None = None) -> tuple[Igd, Mapping]:
    """Have the router forward TCP port `outer` to `inner` of this machine. Raises `MappingRefused`."""
    igd = igd or await find()
    life = LIFE_S
    try:
        await _add(igd, inner, outer, life)
    except MappingRefused as refused:
        if ONLY_PERMANENT not in str(refused):
            raise
        life = 0
        await _add(igd, inner, outer, life)
    answer = await _call(igd, "GetExternalIPAddress", {})
    address = _first("NewExternalIPAddress", answer)
    return igd, Mapping(address, outer, float(life or LIFE_S))


async def unmap_port(igd: Igd, outer: int) -> None:
    """Raises `MappingRefused`."""
    which = {"NewRemoteHost": "", "NewExternalPort": str(outer), "NewProtocol": "TCP"}
    await _call(igd, "DeletePortMapping", which)


async def _add(igd: Igd, inner: int, outer: int, life_s: int) -> None:
    wanted = {
        "NewRemoteHost": "",
        "NewExternalPort": str(outer),
        "NewProtocol": "TCP",
        "NewInternalPort": str(inner),
        "NewInternalClient": igd.local,
        "NewEnabled": "1",
        "NewPortMappingDescription": _NAME,
        "NewLeaseDuration": str(life_s),
    }
    await _call(igd, "AddPortMapping", wanted)


async def find() -> Igd:
    """The first router that answers and can forward ports. Raises `MappingRefused`."""
    for host, location in await _search():
        try:
            page = await _http("GET", location, host)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            continue
        for service in _SERVICES:
            for block in re.findall(r"<service>(.*?)</service>", page, re.DOTALL)[:64]:
                if _first("serviceType", block).endswith(service):
                    control = urljoin(location, _first("controlURL", block))
                    if _leads_to(control, host):
                        return Igd(control, _first("serviceType", block), _local_address(host))
    raise MappingRefused("no router answers UPnP")


class _Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue(maxsize=16)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.queue.full():
            self.queue.put_nowait((data[:4096], addr[0]))


async def _search() -> list[tuple[str, str]]:
    """(host, where its description is), of whoever answers and describes itself on its own address."""
    loop = asyncio.get_running_loop()
    found: list[tuple[str, str]] = []
    try:
        transport, answers = await loop.create_datagram_endpoint(_Answers, local_addr=("0.0.0.0", 0))  # noqa: S104
    except OSError:
        return []
    try:
        transport.sendto(_SEARCH.encode(), GROUP)
        async with asyncio.timeout(SEARCH_S) as limit:
            while len(found) < ROUTERS:
                data, host = await answers.queue.get()
                location = re.search(rb"(?im)^location:\s*(\S{1,512})\s*$", data)
                where = location.group(1).decode("ascii", "replace") if location else ""
                if _leads_to(where, host):
                    found.append((host, where))
                    limit.reschedule(loop.time() + OTHERS_S)
    except TimeoutError:
        pass
    finally:
        transport.close()
    return found


def _leads_to(url: str, host: str) -> bool:
    try:
        return url.startswith("http://") and urlsplit(url).hostname == host
    except ValueError:
        return False


async def _call(igd: Igd, action: str, words: dict[str, str]) -> str:
    inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in words.items())
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{escape(igd.service)}">{inside}</u:{action}></s:Body></s:Envelope>'
    )
    header = f'SOAPAction: "{igd.service}#{action}"\r\nContent-Type: text/xml; charset="utf-8"\r\n'
    try:
        return await _http("POST", igd.control, urlsplit(igd.control).hostname or "", header, body)
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise MappingRefused(f"the router does not answer {action}: {error or 'it is silent'}") from error


async def _http(method: str, url: str, host: str, header: str = "", body: str = "") -> str:
    """One request; the body of the answer. Raises `MappingRefused` for a SOAP fault, `ValueError` else."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "") or "/"
    if any(ord(letter) <= 32 for letter in path):
        raise ValueError("a space in the path")
    data = body.encode()
    async with asyncio.timeout(CALL_S):
        reader, writer = await asyncio.open_connection(host, parts.port or 80, limit=READ_LIMIT)
        try:
            head = f"{method} {path} HTTP/1.0\r\nHost: {parts.netloc}\r\nConnection: close\r\n{header}"
            writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
            answer = b""
            while len(answer) < READ_LIMIT and (more := await reader.read(READ_LIMIT - len(answer))):
                answer += more
        finally:
            writer.close()
    status, _, page = answer.partition(b"\r\n\r\n")
    text = page.decode("utf-8", "replace")
    code = status.split(b" ", 2)[1:2]
    if code == [b"200"]:
        return text
    if fault := _first("errorCode", text):
        raise MappingRefused(f"the router refused: {fault} {_first('errorDescription', text)}".strip())
    raise ValueError(f"HTTP status {code[0].decode('ascii', 'replace') if code else 'missing'}")


def _first(tag: str, text: str) -> str:
    """What the first element of this name holds, in whatever namespace; no more than 512 characters."""
    found = re.search(rf"<(?:\w+:)?{tag}\b[^>]*>([^<]{{0,512}})</", text)
    return unescape(found.group(1)).strip() if found else ""


def _local_address(host: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing
        return str(probe.getsockname()[0])
