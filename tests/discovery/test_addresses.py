from __future__ import annotations

from ipaddress import ip_address

import pytest

from opengateway.discovery.addresses import by_rank, interfaces, local_endpoints, parse_endpoint


def test_ipv4_comes_before_ipv6_link_local_after_routable_and_loopback_last() -> None:
    texts = ["127.0.0.1", "fe80::1%eth0", "169.254.1.1", "2001:db8::1", "192.168.1.5"]
    assert [str(a) for a in by_rank(map(ip_address, texts))] == [
        "192.168.1.5",
        "2001:db8::1",
        "169.254.1.1",
        "fe80::1%eth0",
        "127.0.0.1",
    ]


def test_a_scoped_address_is_an_endpoint_on_this_machine_only() -> None:
    text = "tcp://[fe80::1%eth0]:11436"
    assert parse_endpoint(text, scoped=True) == (ip_address("fe80::1%eth0"), 11436)
    with pytest.raises(ValueError, match="interface"):
        parse_endpoint(text)
    with pytest.raises(ValueError, match="interface"):
        parse_endpoint("tcp://[fe80::1]:11436", scoped=True)


def test_every_endpoint_of_this_machine_may_stand_in_a_record() -> None:
    found = local_endpoints(11436)
    assert found
    for text in found:
        assert parse_endpoint(text)[1] == 11436


def test_loopback_is_named_only_where_there_is_nothing_else() -> None:
    addresses = [a for found in interfaces().values() for a in found]
    outside = [a for a in addresses if not a.is_loopback and not (a.version == 6 and a.is_link_local)]
    loopback = [text for text in local_endpoints(1) if parse_endpoint(text)[0].is_loopback]
    assert bool(loopback) is not bool(outside)
