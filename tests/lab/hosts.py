"""Hosts, links and NAT boxes made of network namespaces, for tests that need a real network.

    with Lab() as lab:
        anna, bert = lab.host("anna"), lab.host("bert")
        link = lab.link(anna, bert)
        process = anna.popen(["sleep", "9"])
        link.cut()

A link is a bridge in a namespace of its own, so nothing of a lab ever appears among the machine's own
interfaces, and deleting namespaces is all the cleaning up there is.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from itertools import count
from typing import Any, Literal, Protocol, Self

from lab.namespaces import FOLDER, RUN_LIMIT_S, delete, ip, nat_unavailable, ours, owner, unavailable

_numbers = count(1)


class LabUnavailable(Exception):
    """No lab can be built here; the message says why."""


class Host:
    """One machine: a namespace with loopback up, and an interface eth0, eth1 ... per link."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.name = name
        self.namespace = lab._namespace(name)
        self._lab = lab
        self._links: list[Link] = []
        self._processes: list[subprocess.Popen[Any]] = []
        # Addresses at once instead of after a second of duplicate address detection.
        for family in ("all", "default"):
            self.sysctl(f"net/ipv6/conf/{family}/accept_dad", 0)
            self.sysctl(f"net/ipv6/conf/{family}/disable_ipv6", 0)
        self.ip("link set lo up")

    def ip(self, *commands: str) -> None:
        """`ip` commands, run inside."""
        ip(*commands, inside=self.namespace)

    def sysctl(self, path: str, value: int) -> None:
        self.run(["sh", "-c", f"echo {value} > /proc/sys/{path}"])

    def command(self, command: Sequence[str]) -> list[str]:
        """What to execute so that `command` runs inside, and dies with this process. Every step
        replaces itself, so the pid is the command's own."""
        enter = ["nsenter", f"--net={FOLDER / self.namespace}", *command]
        return ["setpriv", "--pdeathsig", "KILL", *enter] if shutil.which("setpriv") else enter

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """A process inside. Killed and waited for when the lab ends, if it still runs."""
        process = subprocess.Popen(self.command(command), **options)
        self._processes.append(process)
        return process

    def run(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """A command inside, to its end; its output as text. Raises `CalledProcessError`."""
        options = {"check": True, "capture_output": True, "text": True, "timeout": RUN_LIMIT_S} | options
        return subprocess.run(self.command(command), **options)  # noqa: PLW1510 - it is in the options

    def interface(self, link: Link | None = None) -> str:
        return f"eth{self._links.index(link or self._links[0])}"

    def address(self, link: Link | None = None) -> str:
        """Its IPv4 address on this link (the first one made, unless named)."""
        link = link or self._links[0]
        return link.addresses[self]

    def address6(self, link: Link | None = None) -> str:
        link = link or self._links[0]
        return link.address6(self)

    def down(self, link: Link | None = None) -> None:
        """As if the cable was pulled and the interface switched off: its addresses go with it."""
        self.ip(f"link set {self.interface(link)} down")

    def up(self, link: Link | None = None) -> None:
        link = link or self._links[0]
        self.ip(f"link set {self.interface(link)} up")
        link.configure(self)

    def change_address(self, link: Link | None = None) -> str:
        """A new IPv4 address instead of the old one, as after a new DHCP lease. Returns the new one."""
        link = link or self._links[0]
        old, new = link.addresses[self], link.free_address()
        link.addresses[self] = new
        device = self.interface(link)
        self.ip(f"addr del {old}/24 dev {device}", f"addr add {new}/24 dev {device}")
        self.ip(f"route replace 224.0.0.0/4 dev {device}")
        return new

    def firewall_udp(self, port: int) -> None:
        """As a desktop's firewall does: what comes in for this UDP port is dropped without a word."""
        if shutil.which("nft"):
            self.run(["nft", "add table inet firewall"])
            self.run(["nft", "add chain inet firewall in { type filter hook input priority 0 ; }"])
            self.run(["nft", f"add rule inet firewall in udp dport {port} drop"])
        else:
            for command in ("iptables", "ip6tables"):
                self.run([command, *f"-A INPUT -p udp --dport {port} -j DROP".split()])

    def firewall_off(self) -> None:
        if shutil.which("nft"):
            self.run(["nft", "delete table inet firewall"])
        else:
            for command in ("iptables", "ip6tables"):
                self.run([command, "-F", "INPUT"])

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        for process in self._processes:
            process.wait(RUN_LIMIT_S)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    with contextlib.suppress(OSError):
                        stream.close()
        delete(self.namespace)


class Link:
    """One Ethernet: a bridge. 10.x.y.0/24 and fd00:x:y::/64, where x.y is the link's number."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.namespace = lab._namespace(f"link{number}")
        self.net = f"10.{number // 250}.{number % 250}"
        self.net6 = f"fd00:{number:x}:"
        self.addresses: dict[Host, str] = {}
        self._next = count(1)
        ip(
            "link add name bridge type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set bridge up",
            inside=self.namespace,
        )

    def free_address(self) -> str:
        return f"{self.net}.{next(self._next)}"

    def address6(self, host: Host) -> str:
        return f"{self.net6}:{list(self.addresses).index(host) + 1:x}"

    def join(self, host: Host) -> None:
        host._links.append(self)
        self.addresses[host] = self.free_address()
        device, port = host.interface(self), self._port(host)
        ip(
            f"link add name {port} type veth peer name {device} netns {host.namespace}",
            f"link set {port} master bridge up",
            inside=self.namespace,
        )
        host.up(self)

    def configure(self, host: Host) -> None:
        device = host.interface(self)
        host.ip(
            f"addr replace {self.addresses[host]}/24 dev {device}",
            f"addr replace {self.address6(host)}/64 dev {device} nodad",
            f"route replace 224.0.0.0/4 dev {device} metric {10 + host._links.index(self)}",
        )

    def cut(self, host: Host | None = None) -> None:
        """Without a host: nothing passes any more, and nobody's interface says so. With one: its cable
        is pulled, and its interface knows."""
        device = self._port(host) if host else "bridge"
        ip(f"link set {device} down", inside=self.namespace)

    def mend(self, host: Host | None = None) -> None:
        device = self._port(host) if host else "bridge"
        ip(f"link set {device} up", inside=self.namespace)

    def shape(self, host: Host, *, delay_ms: int = 0, loss_percent: float = 0) -> None:
        """What travels to `host` is late, or lost. Needs the kernel's netem."""
        rule = f"delay {delay_ms}ms loss {loss_percent}%"
        command = f"tc qdisc replace dev {self._port(host)} root netem {rule}"
        subprocess.run(
            ["nsenter", f"--net={FOLDER / self.namespace}", *command.split()],
            check=True,
            capture_output=True,
            timeout=RUN_LIMIT_S,
        )

    def _port(self, host: Host) -> str:
        return f"port{list(self.addresses).index(host)}"

    def close(self) -> None:
        delete(self.namespace)


NatKind = Literal["cone", "symmetric"]


class Part(Protocol):
    def close(self) -> None: ...


class Lab:
    """Everything that one test builds. Gone at the end of `with`, also after an error."""

    def __init__(self) -> None:
        if reason := unavailable():
            raise LabUnavailable(reason)
        self._prefix = f"{owner()}-{next(_numbers)}"
        self._parts: list[Part] = []
        self._links = count(1)
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def host(self, name: str) -> Host:
        host = Host(self, name)
        self._parts.append(host)
        return host

    def link(self, *hosts: Host) -> Link:
        link = Link(self, next(self._links))
        self._parts.append(link)
        for host in hosts:
            link.join(host)
        return link

    def take(self, part: Part) -> None:
        """Something else that ends with the lab: what was made last ends first."""
        self._parts.append(part)

    def nat_box(self, *, inside: Link, outside: Link, kind: NatKind = "cone", name: str = "") -> Host:
        """A router as homes have them. Every host on `inside` gets it as its way out.

        "cone" keeps one outer port per inner socket whoever is talked to (and lets in only whom it has
        talked to): hole punching works. "symmetric" takes a new random port per destination: it does not.
        """
        if reason := nat_unavailable():
            raise LabUnavailable(reason)
        residents = list(inside.addresses)
        box = self.host(name or f"nat{len(self._parts)}")
        inside.join(box)
        outside.join(box)
        box.sysctl("net/ipv4/ip_forward", 1)
        out = box.interface(outside)
        if shutil.which("nft"):
            how = "masquerade fully-random" if kind == "symmetric" else "masquerade persistent"
            box.run(["nft", "add table ip nat"])
            box.run(["nft", "add chain ip nat out { type nat hook postrouting priority 100 ; }"])
            box.run(["nft", f"add rule ip nat out oifname {out} {how}"])
            box.run(["nft", "add table ip walls"])
            box.run(["nft", "add chain ip walls in { type filter hook forward priority 0 ; }"])
            box.run(
                ["nft", f"add rule ip walls in iifname {out} ct state != {{ established, related }} drop"]
            )
        else:
            how = ["--random-fully"] if kind == "symmetric" else []
            box.run(["iptables", "-t", "nat", "-A", "POSTROUTING", "-o", out, "-j", "MASQUERADE", *how])
            strangers = "-m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP"
            box.run(["iptables", "-A", "FORWARD", "-i", out, *strangers.split()])
        for host in residents:
            host.ip(f"route replace default via {box.address(inside)}")
        return box

    def close(self) -> None:
        atexit.unregister(self.close)
        failures: list[Exception] = []
        while self._parts:
            try:
                self._parts.pop().close()
            except Exception as error:  # the rest must be cleaned up all the same
                failures.append(error)
        for namespace in ours(f"{self._prefix}-"):  # made, but never became a part: its setup failed
            delete(namespace)
        if failures:
            raise ExceptionGroup("the lab could not be taken down", failures)

    def _namespace(self, name: str) -> str:
        namespace = f"{self._prefix}-{name}"
        ip(f"netns add {namespace}")
        return namespace
