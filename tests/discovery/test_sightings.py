from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import ServiceInfo

from opengateway.discovery import sightings as rules
from opengateway.discovery.sightings import SERVICE, Sighting, Sightings
from opengateway.identity import base32, network_id
from opengateway.units import NodeId

NET = network_id("test")
ANNA = NodeId(bytes(range(32)))
NAME = f"{base32(ANNA)}.{SERVICE}"
TEXTS = {"v": "1", "id": base32(ANNA), "net": NET.hex()}


class Heard:
    def __init__(self) -> None:
        self.found: list[Sighting] = []
        self.lost: list[NodeId] = []
        self.sightings = Sightings(NET, found=self.found.append, lost=self.lost.append)

    def announce(
        self,
        name: str = NAME,
        texts: dict[str, str] | bytes = TEXTS,  # type: ignore[assignment]
        addresses: Iterable[str] = ("192.168.1.5",),
        port: int = 11436,
    ) -> None:
        info = ServiceInfo(
            SERVICE,
            name,
            port=port,
            properties=texts,
            server="somebody.local.",
            parsed_addresses=list(addresses),
        )
        self.sightings.judge(name, info)


def test_a_well_formed_announcement_is_a_sighting_and_repeating_it_changes_nothing() -> None:
    heard = Heard()
    heard.announce()
    heard.announce()
    heard.announce(name=NAME.upper().replace(SERVICE.upper(), SERVICE))
    assert heard.found == [Sighting(ANNA, ("tcp://192.168.1.5:11436",))]


def test_changed_endpoints_are_reported_again() -> None:
    heard = Heard()
    heard.announce()
    heard.announce(addresses=["192.168.1.6"])
    assert [sighting.endpoints for sighting in heard.found] == [
        ("tcp://192.168.1.5:11436",),
        ("tcp://192.168.1.6:11436",),
    ]


def test_a_node_that_leaves_is_lost_once_and_one_never_seen_never() -> None:
    heard = Heard()
    heard.announce()
    heard.sightings.forget(NAME)
    heard.sightings.forget(NAME)
    assert heard.lost == [ANNA]


def test_what_lies_in_our_own_network_comes_first() -> None:
    heard = Heard()
    heard.sightings.near = (ip_network("192.168.1.0/24"),)
    heard.announce(addresses=["10.9.9.9", "172.17.0.1", "192.168.1.5", "2001:db8::5"])
    assert heard.found[0].endpoints == (
        "tcp://192.168.1.5:11436",
        "tcp://10.9.9.9:11436",
        "tcp://172.17.0.1:11436",
        "tcp://[2001:db8::5]:11436",
    )


def test_an_address_that_we_have_too_is_no_way_to_another_machine() -> None:
    heard = Heard()
    heard.sightings.ours = frozenset({"172.17.0.1", "192.168.1.9"})
    heard.announce(addresses=["172.17.0.1", "192.168.1.5"])
    assert heard.found[0].endpoints == ("tcp://192.168.1.5:11436",)


def test_a_node_on_the_same_machine_is_found_at_our_own_addresses() -> None:
    heard = Heard()
    heard.sightings.ours = frozenset({"172.17.0.1", "192.168.1.9"})
    heard.announce(addresses=["172.17.0.1", "192.168.1.9"])
    assert heard.found[0].endpoints == ("tcp://172.17.0.1:11436", "tcp://192.168.1.9:11436")


def test_loopback_counts_only_where_we_have_nothing_else_either() -> None:
    heard = Heard()
    heard.sightings.ours = frozenset({"192.168.1.9"})
    heard.announce(addresses=["127.0.0.1"])
    assert heard.sightings.ignored == {"addresses": 1}
    heard.sightings.ours = frozenset({"127.0.0.1", "::1"})
    heard.announce(addresses=["127.0.0.1"])
    assert heard.found[0].endpoints == ("tcp://127.0.0.1:11436",)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("id", {"texts": TEXTS | {"id": base32(bytes(32))}}),
        ("id", {"texts": TEXTS | {"id": "short"}}),
        ("id", {"texts": {}}),
        ("id", {"texts": b"\xff" * 40}),
        ("id", {"texts": b"\x00" * 4000}),
        ("id", {"name": f"nobody.{SERVICE}"}),
        ("id", {"name": f"{'1' * 52}.{SERVICE}"}),
        ("version", {"texts": TEXTS | {"v": "2"}}),
        ("other_network", {"texts": TEXTS | {"net": network_id("other").hex()}}),
        ("other_network", {"texts": TEXTS | {"net": NET.hex() + "00"}}),
        ("addresses", {"port": 0}),
        ("addresses", {"addresses": []}),
        ("addresses", {"addresses": ["0.0.0.0", "224.0.0.251", "255.255.255.255", "::", "fe80::1"]}),
    ],
)
def test_what_is_not_ours_or_makes_no_sense_is_ignored_and_counted(reason: str, change: dict) -> None:
    heard = Heard()
    heard.announce(**change)
    assert heard.found == []
    assert heard.sightings.ignored == {reason: 1}


def test_a_thousand_addresses_are_cut_to_a_few() -> None:
    heard = Heard()
    heard.announce(addresses=[f"10.0.{i // 250}.{i % 250}" for i in range(1, 1000)])
    assert len(heard.found[0].endpoints) == rules.ADDRESS_LIMIT


def test_a_flood_of_nodes_ends_at_the_limit_and_those_known_stay() -> None:
    heard = Heard()
    heard.announce()
    for i in range(rules.SIGHTING_LIMIT + 10):
        text = base32((1000 + i).to_bytes(32, "big"))
        heard.announce(name=f"{text}.{SERVICE}", texts=TEXTS | {"id": text})
    assert len(heard.sightings.all()) == rules.SIGHTING_LIMIT
    assert heard.sightings.ignored == {"too_many": 11}
    assert NAME in heard.sightings


def test_after_a_change_of_network_whoever_is_not_heard_again_is_lost() -> None:
    heard = Heard()
    text = base32(bytes(32))
    heard.announce()
    heard.announce(name=f"{text}.{SERVICE}", texts=TEXTS | {"id": text})
    heard.sightings.doubt_all()
    heard.announce()
    heard.sightings.forget_unconfirmed()
    assert heard.lost == [NodeId(bytes(32))]


@given(st.binary(max_size=600), st.integers(0, 65535), st.lists(st.ip_addresses().map(str), max_size=12))
def test_no_announcement_whatever_is_an_error(texts: bytes, port: int, addresses: list[str]) -> None:
    Heard().announce(texts=texts, port=port, addresses=addresses)


def test_a_link_local_address_is_named_by_its_interface() -> None:
    index, name = socket.if_nameindex()[0]
    assert rules._dialable(f"fe80::1%{index}") == ip_address(f"fe80::1%{name}")
    assert rules._dialable("fe80::1") is None
    assert rules._dialable("fe80::1%999999") is None
