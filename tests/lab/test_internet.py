from __future__ import annotations

import subprocess
import sys

import pytest
from lab.hosts import Host, Lab
from lab.internet import AMERICA, ASIA, EUROPE, Internet, Site, three_regions
from lab.namespaces import ours

pytestmark = pytest.mark.lab

ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7)); print("up", flush=True)
while True:
    data, (address, port) = s.recvfrom(99)
    s.sendto(f"{address} {port}".encode(), (address, port))
"""
TOUCH = """
import socket, sys
s = socket.socket(); s.settimeout(3)
try: s.connect((sys.argv[1], 9))
except ConnectionRefusedError: sys.exit(0)
sys.exit("nobody is there")
"""
LATE = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7)); print("up", flush=True)
while True:
    data, address = s.recvfrom(99)
    print("asked", flush=True)
    time.sleep(float(sys.stdin.readline()))
    s.sendto(b"answer", address)
"""
CALL = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[2])); s.sendto(b"hello", (sys.argv[1], 7))
try: print(s.recv(99).decode())
except TimeoutError: print("nothing")
"""
SINK = """
import hashlib, socket
s = socket.socket(); s.bind(("0.0.0.0", 80)); s.listen(); print("up", flush=True)
c, _ = s.accept(); h = hashlib.sha256()
while data := c.recv(65536): h.update(data)
print(h.hexdigest())
"""
SOURCE = """
import hashlib, os, socket, sys
s = socket.create_connection((sys.argv[1], 80), 5); data = os.urandom(2_000_000)
s.sendall(data); s.close(); print(hashlib.sha256(data).hexdigest())
"""
ASK = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[1])); s.bind(("0.0.0.0", 5000))
for line in sys.stdin:
    began = time.monotonic()
    s.sendto(b"who am I?", (line.strip(), 7))
    try:
        print(s.recv(99).decode(), (time.monotonic() - began) * 1000, flush=True)
    except TimeoutError:
        print("nobody 0 0", flush=True)
"""


class Asker:
    """A UDP socket on a machine, kept open: asks an echo who it sees."""

    def __init__(self, host: Host, patience_s: float = 5.0) -> None:
        command = [sys.executable, "-c", ASK, str(patience_s)]
        self._process = host.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, site: Site) -> tuple[str, int, float]:
        """Address and port that the echo saw, and the round trip in ms; "nobody" if nothing came back."""
        self._process.stdin.write(site.address + "\n")
        self._process.stdin.flush()
        address, port, ms = self._process.stdout.readline().split()
        return address, int(port), float(ms)


def echo(site: Site) -> None:
    process = site.host.popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"


def test_servers_are_as_far_apart_as_their_regions(net: Internet) -> None:
    here = net.server("here", EUROPE)
    others = [net.server("near", EUROPE), net.server("west", AMERICA), net.server("east", ASIA)]
    asker = Asker(here.host)
    for other, round_trip in zip(others, (8, 90, 230), strict=True):
        echo(other)
        answers = [asker.ask(other) for _ in range(4)]
        assert {address for address, _, _ in answers} == {here.address}
        assert all(ms >= round_trip for _, _, ms in answers)
        assert min(ms for _, _, ms in answers) < round_trip + 40


def test_a_home_is_seen_by_its_routers_address_and_cannot_be_called(net: Internet) -> None:
    server, home = net.server("server", EUROPE), net.home("home", EUROPE)
    echo(server)
    echo(home)
    assert Asker(home.host).ask(server)[:2] == (home.address, 5000)
    asker = Asker(server.host, 0.3)
    assert asker.ask(home)[0] == "nobody"
    net.forward(home, 7, udp=True)
    assert asker.ask(home)[0] == server.address


def test_a_cone_keeps_its_port_and_a_symmetric_nat_takes_one_per_destination(net: Internet) -> None:
    servers = [net.server("one", EUROPE), net.server("two", AMERICA)]
    for server in servers:
        echo(server)
    cone, symmetric = net.home("cone", EUROPE), net.home("symmetric", EUROPE, "symmetric")
    asker = Asker(cone.host)
    assert [asker.ask(server)[1] for server in servers] == [5000, 5000]
    asker = Asker(symmetric.host)
    ports = [asker.ask(server)[1] for server in servers]
    assert 5000 not in ports and len(set(ports)) == 2


def test_machines_of_a_home_share_its_address_and_a_link(net: Internet) -> None:
    server, home = net.server("server", EUROPE), net.home("home", EUROPE, machines=2)
    echo(server)
    askers = [Asker(host) for host in home.hosts]
    seen = [asker.ask(server) for asker in askers]
    assert [address for address, _, _ in seen] == [home.address] * 2
    assert seen[0][1] != seen[1][1]
    home.hosts[0].run([sys.executable, "-c", TOUCH, home.hosts[1].address()])


def test_a_cut_path_is_silent_in_the_directions_that_were_cut(net: Internet) -> None:
    one, other = net.server("one", EUROPE), net.server("other", EUROPE)
    echo(other)
    asker = Asker(one.host, 0.3)
    assert asker.ask(other)[0] == one.address
    net.cut("other", "one", one_way=True)
    before = net.carried()
    assert asker.ask(other)[0] == "nobody"
    after = net.carried()
    assert after["one", "other"] > before["one", "other"]
    assert after["other", "one"] == before["other", "one"]
    net.heal("one", "other")
    assert asker.ask(other)[0] == one.address
    net.split([EUROPE, "one"], ["other"])
    assert asker.ask(other)[0] == "nobody"
    net.heal()
    assert asker.ask(other)[0] == one.address


def test_an_idle_mapping_and_a_restarted_router_forget_who_was_talked_to(net: Internet) -> None:
    server, home = net.server("server", EUROPE), net.home("home", EUROPE)
    late = server.host.popen(
        [sys.executable, "-c", LATE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert late.stdout.readline() == "up\n"

    def call(*, lives_s: float, after_s: float, patience_s: float, restart: bool = False) -> str:
        net.mapping_lives(home, udp_s=lives_s)
        command = [sys.executable, "-c", CALL, server.address, str(patience_s)]
        caller = home.host.popen(command, stdout=subprocess.PIPE, text=True)
        assert late.stdout.readline() == "asked\n"
        if restart:
            net.restart_router(home)
        late.stdin.write(f"{after_s}\n")
        late.stdin.flush()
        return str(caller.stdout.read())

    assert call(lives_s=30, after_s=0, patience_s=10) == "answer\n"
    assert call(lives_s=0.1, after_s=0.3, patience_s=0.7) == "nothing\n"
    assert call(lives_s=30, after_s=0, patience_s=0.5, restart=True) == "nothing\n"


@pytest.mark.parametrize("kind", ["cone", "symmetric"])
def test_a_stream_through_nat_arrives_whole(net: Internet, kind: str) -> None:
    server, home = net.server("server", EUROPE), net.home("home", EUROPE, kind)
    sink = server.host.popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True)
    assert sink.stdout.readline() == "up\n"
    sent = home.host.run([sys.executable, "-c", SOURCE, server.address]).stdout
    assert sink.stdout.read() == sent


def test_a_home_that_gets_another_address_is_there(net: Internet) -> None:
    server, home = net.server("server", EUROPE), net.home("home", EUROPE)
    echo(server)
    asker = Asker(home.host)
    before = asker.ask(server)[0]
    assert net.new_address(home) == asker.ask(server)[0] != before


def test_nothing_is_left_of_an_internet_that_failed(net: Internet) -> None:
    with pytest.raises(ZeroDivisionError), Lab() as lab:
        net = three_regions(lab)
        net.home("home", EUROPE)
        process = net._process
        raise ZeroDivisionError
    assert process.returncode == 0
    assert not list(ours(lab._prefix))


def test_an_order_that_cannot_be_carried_out_fails_the_test(net: Internet) -> None:
    server = net.server("server", EUROPE)
    with pytest.raises(RuntimeError, match="not behind NAT"):
        net.restart_router(server)
