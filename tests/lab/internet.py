"""A small internet in one machine: regions far apart, servers, and homes behind NAT.

    with Lab() as lab:
        net = three_regions(lab)
        relay = net.server("relay", EUROPE)
        flat, villa = net.home("flat", EUROPE), net.home("villa", ASIA, "symmetric")
        net.cut("flat", "relay", one_way=True)      # sites, regions or "*"
        net.split([EUROPE], [AMERICA, ASIA])
        net.heal()

Every server has a public address; a home is a router with a public address and one or more machines on a
link of their own behind it. All that travels between sites goes through forwarder.py. IPv4 only: homes have
IPv6 on their own link.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lab.hosts import Host, Lab, LabUnavailable, Link, NatKind
from lab.namespaces import FOLDER, RUN_LIMIT_S

EUROPE, AMERICA, ASIA = "eu-central-1", "us-east-1", "ap-northeast-1"
"""Frankfurt, N. Virginia, Tokyo."""
ONE_WAY_MS = {
    (EUROPE, AMERICA): 45.0,
    (AMERICA, ASIA): 80.0,
    (EUROPE, ASIA): 115.0,
    (EUROPE, EUROPE): 4.0,
    (AMERICA, AMERICA): 4.0,
    (ASIA, ASIA): 4.0,
}
"""Half of the round trips that are measured between these places, which are 1.4 to 2.5 times that of light
in fibre on the shortest way."""

_FIRST_OCTET = {EUROPE: 41, AMERICA: 63, ASIA: 101}
"""Of public addresses; every site has a /16 of its own, as real strangers have."""


@dataclass(slots=True, eq=False)
class Site:
    name: str
    region: str
    address: str
    """Public IPv4 address."""
    hosts: list[Host]
    """A server itself; the machines of a home."""
    router: Host
    link: Link | None = None
    """Of a home: where its machines are."""

    @property
    def host(self) -> Host:
        return self.hosts[0]


class Internet:
    """Made of `three_regions`, which registers it with the lab: it ends with it."""

    def __init__(self, lab: Lab) -> None:
        if reason := tun_unavailable():
            raise LabUnavailable(reason)
        self.lab = lab
        self.sites: dict[str, Site] = {}
        self._numbers = count(1)
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._process = subprocess.Popen(
            [*dies_with_us, sys.executable, "-m", "lab.forwarder"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._cuts: set[tuple[str, str]] = set()

    # -- building ------------------------------------------------------------------------------

    def server(self, name: str, region: str) -> Site:
        """A machine with a public address."""
        host = self.lab.host(name)
        return self._attach(Site(name, region, self._free_address(region), [host], host))

    def home(self, name: str, region: str, kind: NatKind = "cone", machines: int = 1) -> Site:
        """A router with NAT; behind it, on one link, the machines NAME-1, NAME-2 ..."""
        router = self.lab.host(f"{name}-router")
        hosts = [self.lab.host(f"{name}-{number}") for number in range(1, machines + 1)]
        link = self.lab.link(router, *hosts)
        router.sysctl("net/ipv4/ip_forward", 1)
        for host in hosts:
            host.ip(f"route replace default via {router.address()}")
        site = Site(name, region, self._free_address(region), hosts, router, link)
        return self._attach(site, kind)

    def _attach(self, site: Site, nat: str = "") -> Site:
        self._order(
            "attach",
            namespace=str(FOLDER / site.router.namespace),
            name=site.name,
            region=site.region,
            address=site.address,
            nat=nat,
        )
        address = [f"addr add {site.address}/32 dev tun0"] if not nat else []
        # A queue long enough for the forwarder to be busy for a moment: the kernel drops what does not fit.
        site.router.ip("link set tun0 up txqueuelen 10000", *address, "route add default dev tun0")
        self.sites[site.name] = site
        return site

    def _free_address(self, region: str) -> str:
        return f"{_FIRST_OCTET.get(region, 151)}.{next(self._numbers)}.7.1"

    # -- weather -------------------------------------------------------------------------------

    def delay(self, one: str, other: str, one_way_ms: float) -> None:
        """Between two regions, in both directions."""
        for source, target in ((one, other), (other, one)):
            self._order("delay", source=source, target=target, one_way_ms=one_way_ms)

    def lose(self, source: str, target: str, share: float) -> None:
        """This share of the packets, in this direction only, is lost. 0 ends it."""
        self._cuts.add((source, target))
        self._order("drop", source=source, target=target, share=share)

    def cut(self, one: str, other: str, *, one_way: bool = False) -> None:
        """Nothing passes from `one` to `other` any more, nor back unless `one_way`. Nobody is told."""
        self.lose(one, other, 1.0)
        if not one_way:
            self.lose(other, one, 1.0)

    def heal(self, one: str = "", other: str = "") -> None:
        """End what was cut or lost between these two; without names, everything."""
        for source, target in tuple(self._cuts):
            if not one or {source, target} == {one, other}:
                self._order("drop", source=source, target=target, share=0.0)
                self._cuts.discard((source, target))

    def split(self, these: Iterable[str], those: Iterable[str]) -> None:
        """Cut all of these off from all of those."""
        far = list(those)
        for one in these:
            for other in far:
                self.cut(one, other)

    # -- homes ---------------------------------------------------------------------------------

    def restart_router(self, home: Site) -> None:
        """All its mappings are forgotten; nobody is told."""
        self._order("nat", name=home.name, forget=True, udp_s=None, tcp_s=None)

    def mapping_lives(self, home: Site, *, udp_s: float | None = None, tcp_s: float | None = None) -> None:
        """How long an idle mapping is kept."""
        self._order("nat", name=home.name, forget=False, udp_s=udp_s, tcp_s=tcp_s)

    def forward(
        self, home: Site, port: int, *, to: Host | None = None, inner_port: int = 0, udp: bool = False
    ) -> None:
        """Open an outer port for a machine inside, as UPnP does."""
        inside = (to or home.host).address(home.link)
        self._order(
            "forward",
            name=home.name,
            protocol=17 if udp else 6,
            outer_port=port,
            address=inside,
            port=inner_port or port,
        )

    def unforward(self, home: Site, port: int, *, udp: bool = False) -> None:
        self._order("unforward", name=home.name, protocol=17 if udp else 6, outer_port=port)

    def new_address(self, home: Site) -> str:
        """The provider gives the home another public address."""
        home.address = self._free_address(home.region)
        self._order("readdress", name=home.name, address=home.address)
        return home.address

    # -- what happened -------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Of packets: `packets` arrived; `dropped`, `not_let_in`, `no_route`, ... tell why others did not."""
        return dict(self._order("count")["counts"])

    def carried(self) -> dict[tuple[str, str], int]:
        """Bytes that arrived, from site to site."""
        return {(source, target): size for source, target, size in self._order("count")["carried"]}

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _order(self, do: str, **words: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "it has ended"}')
        if "error" in answer:
            raise RuntimeError(f"the forwarder cannot {do}: {answer['error']}")
        return answer


def three_regions(lab: Lab) -> Internet:
    """Frankfurt, N. Virginia and Tokyo, as far apart as they are."""
    internet = Internet(lab)
    lab.take(internet)
    for (one, other), one_way_ms in ONE_WAY_MS.items():
        internet.delay(one, other, one_way_ms)
    return internet


def tun_unavailable() -> str:
    return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun here"
