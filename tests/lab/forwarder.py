"""The routers between the sites of a small internet: one process that carries packets between TUN devices.

Started by internet.py, which says what to do in JSON, a line each, and gets a line back. Ends with its
standard input; the devices go with it. The kernel's own netem is missing on many machines, so delays,
losses and cuts are made here; so is the NAT of homes, which then needs no nftables either.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Any

from lab.home_nat import HomeNat, Socket

DEVICE = "tun0"
MTU = 1500
BURST = 64
"""Packets taken from one device before the others have their turn."""

_NEW_NET = 0x40000000  # CLONE_NEWNET
_SET_INTERFACE = 0x400454CA  # TUNSETIFF
_TUN_WITHOUT_HEADER = 0x1001  # IFF_TUN | IFF_NO_PI


@dataclass(slots=True, eq=False)
class Site:
    """Somewhere with one public address: a server, or a home behind its router."""

    name: str
    region: str
    address: bytes
    device: int
    nat: HomeNat | None


class Forwarder:
    def __init__(self) -> None:
        self.sites: dict[str, Site] = {}
        self.by_address: dict[bytes, Site] = {}
        self.by_device: dict[int, Site] = {}
        self.delays: dict[tuple[str, str], float] = {}
        """(region, region) -> seconds one way."""
        self.drops: dict[tuple[str, str], float] = {}
        """(from, to) -> share lost; each a site, a region or `*`. The worst that fits counts."""
        self.counts: Counter[str] = Counter()
        self.carried: Counter[tuple[str, str]] = Counter()
        """Bytes from site to site."""
        self.chance = random.Random(7)
        self._paths: dict[tuple[Site, Site], tuple[float, float]] = {}
        self._under_way: list[tuple[float, int, Site, Site, bytearray]] = []
        self._order = count()
        self._poll = select.epoll()

    # -- packets -------------------------------------------------------------------------------

    def run(self) -> None:
        os.set_blocking(0, False)
        self._poll.register(0, select.EPOLLIN)
        said = b""
        while True:
            wait = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else -1
            for device, _ in self._poll.poll(wait):
                if device:
                    self._read(device)
                    continue
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, said = (said + data).split(b"\n")
                for line in lines:
                    self._obey(line)
            now = time.monotonic()
            while self._under_way and self._under_way[0][0] <= now:
                _, _, source, target, packet = heapq.heappop(self._under_way)
                self._arrive(source, target, packet, now)

    def _read(self, device: int) -> None:
        site, now = self.by_device[device], time.monotonic()
        for _ in range(BURST):
            try:
                packet = bytearray(os.read(device, 65536))
            except BlockingIOError:
                return
            except OSError:  # its namespace is gone
                self._poll.unregister(device)
                return
            if len(packet) >= 20 and packet[0] >> 4 == 4:
                self._carry(site, packet, now)

    def _carry(self, source: Site, packet: bytearray, now: float) -> None:
        if source.nat is not None and not source.nat.leave(packet, now):
            self.counts["not_translated"] += 1
            return
        target = self.by_address.get(bytes(packet[16:20]))
        if target is None or bytes(packet[12:16]) != source.address:  # no forged senders (BCP 38)
            self.counts["no_route"] += 1
            return
        delay, drop = self._path(source, target)
        if drop and self.chance.random() < drop:
            self.counts["dropped"] += 1
        elif delay:
            heapq.heappush(self._under_way, (now + delay, next(self._order), source, target, packet))
        else:
            self._arrive(source, target, packet, now)

    def _arrive(self, source: Site, target: Site, packet: bytearray, now: float) -> None:
        if target.nat is not None and not target.nat.enter(packet, now):
            self.counts["not_let_in"] += 1
            return
        try:
            os.write(target.device, packet)
        except OSError:  # switched off, or gone
            self.counts["undeliverable"] += 1
            return
        self.counts["packets"] += 1
        self.carried[source.name, target.name] += len(packet)

    def _path(self, source: Site, target: Site) -> tuple[float, float]:
        """Delay in seconds, share lost."""
        path = self._paths.get((source, target))
        if path is None:
            delay = self.delays.get((source.region, target.region), 0.0) if source is not target else 0.0
            froms, tos = (source.name, source.region, "*"), (target.name, target.region, "*")
            drop = max(self.drops.get((one, other), 0.0) for one in froms for other in tos)
            path = self._paths[source, target] = (delay, drop)
        return path

    # -- orders --------------------------------------------------------------------------------

    def _obey(self, line: bytes) -> None:
        order = json.loads(line)
        try:
            answer = getattr(self, "do_" + order.pop("do"))(**order)
        except Exception as error:  # told to the test, which fails by it
            answer = {"error": f"{type(error).__name__}: {error}"}
        self._paths.clear()
        print(json.dumps(answer or {}), flush=True)

    def do_attach(self, namespace: str, name: str, region: str, address: str, nat: str) -> None:
        """A TUN device in this namespace (a path), which leads to everybody else."""
        device = _tun_in(namespace)
        outer = socket.inet_aton(address)
        site = Site(name, region, outer, device, HomeNat(outer, nat == "symmetric") if nat else None)
        self.sites[name] = self.by_address[outer] = self.by_device[device] = site
        self._poll.register(device, select.EPOLLIN)

    def do_delay(self, source: str, target: str, one_way_ms: float) -> None:
        self.delays[source, target] = one_way_ms / 1000

    def do_drop(self, source: str, target: str, share: float) -> None:
        self.drops[source, target] = share
        if share >= 1:  # what is under way does not arrive either
            self._paths.clear()
            self._under_way = [one for one in self._under_way if self._path(one[2], one[3])[1] < 1]
            heapq.heapify(self._under_way)

    def do_readdress(self, name: str, address: str) -> None:
        """A home gets another address from its provider: the mappings are worth nothing then."""
        site = self.sites[name]
        del self.by_address[site.address]
        site.address = socket.inet_aton(address)
        self.by_address[site.address] = site
        if site.nat is not None:
            site.nat.outer = site.address
            site.nat.forget()

    def do_nat(self, name: str, forget: bool, udp_s: float | None, tcp_s: float | None) -> None:
        nat = self._nat(name)
        nat.udp_s = nat.udp_s if udp_s is None else udp_s
        nat.tcp_s = nat.tcp_s if tcp_s is None else tcp_s
        if forget:
            nat.forget()

    def do_unforward(self, name: str, protocol: int, outer_port: int) -> None:
        self._nat(name).forwards.pop((protocol, outer_port), None)

    def do_forward(self, name: str, protocol: int, outer_port: int, address: str, port: int) -> None:
        inner: Socket = (protocol, socket.inet_aton(address), port)
        self._nat(name).forwards[protocol, outer_port] = inner

    def do_count(self) -> dict[str, Any]:
        carried = [[source, target, size] for (source, target), size in self.carried.items()]
        return {"counts": self.counts, "carried": carried}

    def _nat(self, name: str) -> HomeNat:
        nat = self.sites[name].nat
        if nat is None:
            raise ValueError(f"{name} is not behind NAT")
        return nat


def _tun_in(namespace: str) -> int:
    """os.setns came with Python 3.12 only."""
    setns = ctypes.CDLL(None, use_errno=True).setns
    home, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(namespace, os.O_RDONLY)
    try:
        if setns(there, _NEW_NET):
            raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH22x", DEVICE.encode(), _TUN_WITHOUT_HEADER))
        return device
    finally:
        if setns(home, _NEW_NET):
            sys.exit("the forwarder cannot get back into its own network")
        os.close(home)
        os.close(there)


if __name__ == "__main__":
    Forwarder().run()
