"""Nodes on the same link find each other: multicast DNS (RFC 6762), service `_opengateway._tcp.local.`

Every node announces itself under its whole id, so the name is unique by construction and is not probed
for: probing costs 0.75 s and more, and a name that somebody else took would be a lie anyway. The
first question asks for multicast answers: two nodes on one machine share port 5353, and the kernel
gives a unicast answer to only one of them.

zeroconf binds its sockets once, to the addresses of that moment. So the interfaces are looked at every
second, and when they change everything is opened anew: 0.2 s, and no state that could be half right.
Whoever was known and is not heard again within `RECONFIRM` is reported lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING

from opengateway.discovery.addresses import Address, bindable, multicast_interfaces, near_networks
from opengateway.discovery.sightings import SERVICE, VERSION, Sighting, Sightings, plain
from opengateway.identity import base32
from opengateway.units import NetworkId, NodeId, Seconds

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

LOOK_EVERY = Seconds(1.0)
"""Between two looks at the interfaces; one look costs 0.3 ms."""

RETRY = Seconds(10.0)
"""Between two attempts to open the sockets while the interfaces stay the same."""

RECONFIRM = Seconds(4.0)
"""After a change of interfaces: two rounds of questions (0.1 s and 1.1 s) and their answers fit in twice."""

ANNOUNCE_AGAIN = Seconds(1.2)
"""zeroconf announces three times within half a second; RFC 6762, 8.3 wants a second between two. It is
needed: a neighbour drops our old address only if the new one reaches it more than a second later."""

SETTLE = (Seconds(1.5), Seconds(3.0))
"""A changed record is read again after these: an old address lives for a second more (10.2), and may
only go with the second announcement."""

RESOLVING_LIMIT = 16
"""Questions under way for nodes of whom only the name was heard: a flood of names must not make this
node flood the link in turn."""

RESOLVE_MS = 2000

NO_NETWORK = "no network interface is up: only nodes on this machine are found, until one comes up"
NOT_HEARD = (
    "this node does not hear its own multicast DNS: probably a firewall blocks UDP port 5353, "
    "so nodes on this network cannot find each other by themselves"
)


class Lan:
    """Announces this node on every link and reports the others. Lives on the running asyncio loop;
    `found` and `lost` are called there, `found` again whenever the endpoints change."""

    def __init__(
        self,
        node_id: NodeId,
        net: NetworkId,
        port: int,
        *,
        found: Callable[[Sighting], None],
        lost: Callable[[NodeId], None],
    ) -> None:
        self._node_id, self._net, self._port = node_id, net, port
        self._name = f"{base32(node_id)}.{SERVICE}"
        self._sightings = Sightings(net, found=found, lost=lost)
        self._interfaces: dict[str, tuple[Address, ...]] | None = None  # not looked at yet
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._heard_self = False
        self._retry_at = 0.0
        self._watch: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._resolving: set[str] = set()
        self.problem = ""
        """One sentence why multicast does not work here, for `doctor` and `status`; empty if it does."""

    async def start(self) -> None:
        """Announces and asks. Without any network it waits for one: see `problem`."""
        await self._look()
        self._watch = asyncio.create_task(self._watch_interfaces(), name="lan")

    async def close(self) -> None:
        """Says goodbye (three times in 250 ms) and forgets everybody; `lost` is not called."""
        if self._watch:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._shut(goodbye=True)
        self._sightings.clear()

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        return self._sightings.all()

    @property
    def ignored(self) -> Counter[str]:
        """What was heard and not believed, by reason."""
        return self._sightings.ignored

    async def _watch_interfaces(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            with contextlib.suppress(OSError):  # an interface can vanish while it is being looked at
                await self._look()

    async def _look(self) -> None:
        now = bindable(multicast_interfaces())
        works = self._zeroconf is not None and self.problem != NOT_HEARD
        if now == self._interfaces and (works or not now or time.monotonic() < self._retry_at):
            return
        await self._shut(goodbye=False)
        self._interfaces = now
        self._sightings.ours = plain(address for found in now.values() for address in found)
        self._sightings.near = near_networks()
        try:
            if now:
                await self._open(now)
        except Exception as error:  # port 5353 held exclusively, out of descriptors, an interface gone
            await self._shut(goodbye=False)
            self.problem = f"multicast DNS does not work here at the moment: {error}"
            self._retry_at = time.monotonic() + RETRY
            return
        finally:
            self._sightings.doubt_all()
            self._later(RECONFIRM, self._sightings.forget_unconfirmed)
        loopback = all(address.is_loopback for found in now.values() for address in found)
        if loopback:
            self.problem = NO_NETWORK
        elif self.problem != NOT_HEARD:  # that one is over when this node hears itself
            self.problem = ""

    async def _open(self, interfaces: dict[str, tuple[Address, ...]]) -> None:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

        # One address per interface and family: a second one would send everything twice.
        choice: list[str | int | tuple[tuple[str, int, int], int]] = []
        for name, addresses in interfaces.items():
            choice += [str(address) for address in addresses if address.version == 4][:1]
            if any(address.version == 6 for address in addresses):
                choice.append(socket.if_nametoindex(name))
        six = any(isinstance(item, int) for item in choice)
        four = any(isinstance(item, str) for item in choice)
        version = IPVersion.All if six and four else IPVersion.V6Only if six else IPVersion.V4Only
        self._zeroconf = AsyncZeroconf(interfaces=choice, ip_version=version)
        self._heard_self = False
        info = AsyncServiceInfo(
            SERVICE,
            self._name,
            port=self._port,
            properties={"v": VERSION, "id": base32(self._node_id), "net": self._net.hex()},
            server=f"{base32(self._node_id)}.local.",
            addresses=[a.packed for found in interfaces.values() for a in found],
        )
        announced = await self._zeroconf.async_register_service(info, cooperating_responders=True)
        self._start_task(self._announce_again(self._zeroconf, info, announced))
        self._browse(self._zeroconf)
        self._later(RECONFIRM, self._listen_for_self)

    async def _announce_again(
        self, zeroconf: AsyncZeroconf, info: AsyncServiceInfo, announced: Awaitable[object]
    ) -> None:
        with contextlib.suppress(OSError):  # an interface went away: the next look announces afresh
            await announced
            await asyncio.sleep(ANNOUNCE_AGAIN)
            await (await zeroconf.async_update_service(info))

    def _browse(self, zeroconf: AsyncZeroconf) -> None:
        from zeroconf import DNSQuestionType
        from zeroconf.asyncio import AsyncServiceBrowser

        self._browser = AsyncServiceBrowser(
            zeroconf.zeroconf, SERVICE, handlers=[self._heard], question_type=DNSQuestionType.QM
        )

    async def _shut(self, *, goodbye: bool) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        zeroconf, self._zeroconf = self._zeroconf, None
        browser, self._browser = self._browser, None
        if zeroconf is None:
            return
        if browser:
            await browser.async_cancel()
        if not goodbye:
            # What is not registered is not said goodbye to: the node stays, only its address moved.
            for info in zeroconf.zeroconf.registry.async_get_service_infos():
                zeroconf.zeroconf.registry.async_remove(info)
        await zeroconf.async_close()

    # -- what is heard ---------------------------------------------------------------------------

    def _heard(
        self,
        zeroconf: Zeroconf,
        service_type: str,  # noqa: ARG002 - zeroconf passes all four by name
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        """zeroconf's callback, on the loop."""
        from zeroconf import ServiceStateChange
        from zeroconf.asyncio import AsyncServiceInfo

        if self._zeroconf is None or self._zeroconf.zeroconf is not zeroconf:
            return
        if name.lower() == self._name:
            self._heard_self = True
            if self.problem == NOT_HEARD:
                self.problem = ""
        elif state_change is ServiceStateChange.Removed:
            self._sightings.forget(name)
        elif self._sightings.welcome(name):
            info = AsyncServiceInfo(SERVICE, name)
            if info.load_from_cache(zeroconf):
                self._sightings.judge(name, info)
                if state_change is ServiceStateChange.Updated:
                    for seconds in SETTLE:
                        self._later(seconds, lambda: self._read_again(name))
            elif name not in self._resolving:
                self._start_resolving(zeroconf, info)

    def _start_resolving(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        if len(self._resolving) >= RESOLVING_LIMIT:
            self.ignored["too_many_questions"] += 1
            return

        from zeroconf import DNSQuestionType

        async def resolve() -> None:
            try:
                if await info.async_request(zeroconf, RESOLVE_MS, DNSQuestionType.QM):
                    self._sightings.judge(info.name, info)
            finally:
                self._resolving.discard(info.name)

        self._resolving.add(info.name)
        self._start_task(resolve())

    def _read_again(self, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE, name)
        if self._zeroconf and name in self._sightings and info.load_from_cache(self._zeroconf.zeroconf):
            self._sightings.judge(name, info)

    def _listen_for_self(self) -> None:
        if not self._heard_self and self.problem in ("", NOT_HEARD):
            self.problem = NOT_HEARD
            self._retry_at = time.monotonic() + RETRY

    # -- time ------------------------------------------------------------------------------------

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def _start_task(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
