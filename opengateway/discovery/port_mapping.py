"""Keeps one port of the router open to us: NAT-PMP first, then UPnP; renewed, and removed at the end.

What the router says is only a proposal: nothing is advertised before peers have dialled it back
(reachability.py), so a router that lies, or that sits behind another one, does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from opengateway.discovery import natpmp, upnp
from opengateway.discovery.addresses import address_of
from opengateway.discovery.natpmp import Mapping, MappingRefused

log = logging.getLogger(__name__)

TRY_AGAIN_S: Final = 600.0
"""Without success: somebody may switch it on in the router's settings."""
SOONEST_S: Final = 30.0
"""Between two tries, whatever the router says of lifetimes."""
REMOVE_S: Final = 1.5
_ROUTES: Final = Path("/proc/net/route")


class PortMapper:
    """`changed` hears the outer address and port, or ("", 0) when there is none any more. On the loop."""

    def __init__(self, changed: Callable[[str, int], None], *, routes: Path = _ROUTES) -> None:
        self._changed = changed
        self._routes = routes
        self._task: asyncio.Task[None] | None = None
        self._again = asyncio.Event()
        self._port = 0
        self._router = ""
        self._igd: upnp.Igd | None = None
        self.how = ""
        """NAT-PMP or UPnP, while a port is mapped."""
        self.problem = ""
        """One clause for people, while none is."""

    def want(self, port: int) -> None:
        """Have this port of ours mapped from now on; nothing happens if it is wanted already."""
        if self._task is None:
            self._port = port
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def hurry(self) -> None:
        """The mapping is believed dead, or the network has changed: make it anew now."""
        self._again.set()

    async def close(self) -> None:
        """Remove what was mapped, if the router answers within a moment."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        with contextlib.suppress(MappingRefused, TimeoutError):
            async with asyncio.timeout(REMOVE_S):
                if self.how == "NAT-PMP":
                    await natpmp.map_port(self._router, self._port, 0, life_s=0)
                elif self.how == "UPnP" and self._igd is not None:
                    await upnp.unmap_port(self._igd, self._port)

    async def _keep(self) -> None:
        while True:
            wait = TRY_AGAIN_S
            try:
                mapping = await self._map()
            except MappingRefused as refused:
                log.info("no port is mapped: %s", refused)
                if self.how:
                    self._changed("", 0)
                self.how, self.problem = "", str(refused)
            except Exception:  # a router's nonsense must not end the asking for good
                log.exception("asking the router for a port failed")
            else:
                wait = max(mapping.life_s / 2, SOONEST_S)
                self._changed(mapping.address, mapping.port)
            self._again.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._again.wait()
                    await asyncio.sleep(SOONEST_S / 10)

    async def _map(self) -> Mapping:
        refusals = []
        router = default_router(self._routes)
        if router:
            try:
                return self._check(await natpmp.map_port(router, self._port, self._port), "NAT-PMP", router)
            except MappingRefused as refused:
                refusals.append(str(refused))
        try:
            try:
                self._igd, mapping = await upnp.map_port(self._port, self._port, self._igd)
            except MappingRefused:
                if self._igd is None:
                    raise
                self._igd, mapping = await upnp.map_port(self._port, self._port)  # it may have been replaced
            return self._check(mapping, "UPnP", router)
        except MappingRefused as refused:
            self._igd = None
            refusals.append(str(refused))
        raise MappingRefused(" and ".join(dict.fromkeys(refusals)))

    def _check(self, mapping: Mapping, how: str, router: str) -> Mapping:
        address = address_of(mapping.address)
        if address is None or not mapping.port:
            raise MappingRefused(f"the router answers {how}, but has no address outside")
        if how != self.how:
            log.info("the router forwards port %d to this node, by %s", mapping.port, how)
        self.how, self._router = how, router
        self.problem = (
            "" if address.is_global else "your router has no public address: it is itself behind another one"
        )
        return mapping


def default_router(routes: Path = _ROUTES) -> str:
    """IPv4 address of the default gateway; empty where there is none, or where the system does not say
    (only Linux has this table: elsewhere UPnP finds the router)."""
    try:
        lines = routes.read_text().splitlines()[1:]
    except OSError:
        return ""
    found = []
    for line in lines:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and int(fields[3], 16) & 2:
            router = socket.inet_ntoa(struct.pack("<I", int(fields[2], 16)))
            found.append((int(fields[6]), router))
    return min(found, default=(0, ""))[1]
