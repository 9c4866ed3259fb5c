from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from lab import hosts
from lab.hosts import Host, Lab
from lab.namespaces import nat_unavailable, ours, reap, unavailable

pytestmark = pytest.mark.lab
needs_nat = pytest.mark.skipif(bool(nat_unavailable()), reason=nat_unavailable())


def reaches(host: Host, address: str) -> bool:
    """Whether a TCP connection to port 9 is at least refused: somebody is there."""
    script = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)\n"
        "s.settimeout(1)\n"
        "try: s.connect((sys.argv[1], 9))\n"
        "except ConnectionRefusedError: print('there')\n"
        "except OSError as error: print(error)\n"
    )
    return host.run([sys.executable, "-c", script, address]).stdout.strip() == "there"


def test_hosts_on_a_link_reach_each_other_over_ipv4_and_ipv6(lab: Lab) -> None:
    anna, bert = lab.host("anna"), lab.host("bert")
    lab.link(anna, bert)
    assert reaches(anna, bert.address())
    assert reaches(anna, bert.address6())


def test_a_link_that_is_cut_passes_nothing_until_it_is_mended(lab: Lab) -> None:
    anna, bert = lab.host("anna"), lab.host("bert")
    link = lab.link(anna, bert)
    link.cut()
    assert not reaches(anna, bert.address())
    link.mend()
    assert reaches(anna, bert.address())
    link.cut(bert)
    assert not reaches(anna, bert.address())


def test_a_host_that_goes_down_and_comes_up_has_its_addresses_again(lab: Lab) -> None:
    anna, bert = lab.host("anna"), lab.host("bert")
    lab.link(anna, bert)
    bert.down()
    assert not reaches(anna, bert.address())
    bert.up()
    assert reaches(anna, bert.address())
    assert reaches(anna, bert.address6())


def test_a_changed_address_is_the_only_one_that_answers(lab: Lab) -> None:
    anna, bert = lab.host("anna"), lab.host("bert")
    lab.link(anna, bert)
    old = bert.address()
    new = bert.change_address()
    assert reaches(anna, new)
    assert not reaches(anna, old)


ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7)); print("up", flush=True)
while True:
    data, (address, port) = s.recvfrom(99)
    s.sendto(f"{address} {port}".encode(), (address, port))
"""
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5); s.bind(("0.0.0.0", 5000))
for address in sys.argv[1:]:
    s.sendto(b"who am I?", (address, 7)); print(s.recv(99).decode())
"""


@needs_nat
@pytest.mark.parametrize("kind", ["cone", "symmetric"])
def test_a_nat_box_gives_one_outer_port_per_socket_or_one_per_destination(
    lab: Lab, kind: hosts.NatKind
) -> None:
    home, near, far = lab.host("home"), lab.host("near"), lab.host("far")
    inside, outside = lab.link(home), lab.link(near, far)
    box = lab.nat_box(inside=inside, outside=outside, kind=kind)
    for server in (near, far):
        echo = server.popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True)
        assert echo.stdout
        assert echo.stdout.readline() == "up\n"
    seen = home.run([sys.executable, "-c", ASK, near.address(), far.address()]).stdout.split()
    assert seen[0::2] == [box.address(outside)] * 2
    assert (seen[1] == seen[3]) is (kind == "cone")
    assert not reaches(near, home.address()), "nobody outside comes in by himself"


def test_nothing_is_left_of_a_lab_that_failed() -> None:
    if unavailable():
        pytest.skip(unavailable())
    lab = Lab()
    with pytest.raises(ZeroDivisionError), lab:
        anna = lab.host("anna")
        lab.link(anna)
        process = anna.popen(["sh", "-c", "sleep 1000 & sleep 1000"])
        raise ZeroDivisionError
    assert process.returncode is not None
    assert list(ours(lab._prefix)) == []


def test_a_process_inside_is_in_the_hosts_network_and_not_in_ours(lab: Lab) -> None:
    anna = lab.host("anna")
    ours = str(Path("/proc/self/ns/net").readlink())
    assert anna.run(["readlink", "/proc/self/ns/net"]).stdout.strip() != ours
    assert {name for _, name in socket.if_nameindex()}.isdisjoint({"eth7", "bridge"})


def test_what_a_killed_test_run_left_is_removed_by_the_next() -> None:
    if unavailable():
        pytest.skip(unavailable())
    script = (
        "import os, signal\n"
        "from lab.hosts import Lab\n"
        "lab = Lab(); anna = lab.host('anna'); lab.link(anna)\n"
        "print(lab._prefix, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    tests = Path(__file__).parent.parent
    killed = subprocess.run(
        [sys.executable, "-c", script], check=False, stdout=subprocess.PIPE, text=True, cwd=tests, timeout=30
    )
    prefix = killed.stdout.strip()
    assert len(list(ours(prefix))) == 2
    reap()
    assert list(ours(prefix)) == []
