"""How far away a peer is."""

from __future__ import annotations

import pytest

from opengateway.routing.rings import private, ring_of


@pytest.mark.parametrize(
    ("theirs", "ours", "on_link", "ring"),
    [
        ("us-west-2", "eu-central-1", True, "lan"),
        ("eu-central-1", "eu-central-1", False, "nearest"),
        ("us-east-1", "us-west-2", False, "country"),
        ("eu-west-1", "eu-central-1", False, "continent"),
        ("us-east-1", "eu-central-1", False, "world"),
        ("atlantis-1", "eu-central-1", False, "world"),
    ],
)
def test_the_ring_follows_from_link_and_regions(theirs: str, ours: str, on_link: bool, ring: str) -> None:
    assert ring_of(theirs, ours, on_link=on_link) == ring


@pytest.mark.parametrize(
    ("hosts", "answer"),
    [
        (["127.0.0.1"], True),
        (["192.168.1.4"], True),
        (["fe80::1%eth0"], True),
        (["8.8.8.8", "10.0.0.1"], True),
        (["8.8.8.8"], False),
        (["example.org"], False),
        ([], False),
    ],
)
def test_an_address_that_the_internet_cannot_route_is_on_our_network(hosts: list[str], answer: bool) -> None:
    assert private(hosts) is answer
