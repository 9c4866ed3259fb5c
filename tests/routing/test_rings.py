"""How far away a peer is."""

from __future__ import annotations

import pytest

from opengateway.routing.rings import NEAREST_MS, private, ring_of


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
    ("theirs", "best_ms", "disproved", "ring"),
    [
        ("eu-west-1", NEAREST_MS, False, "nearest"),
        ("us-east-1", NEAREST_MS, False, "nearest"),  # it is near, wherever its owner believes to be
        ("atlantis-1", NEAREST_MS, False, "nearest"),
        ("eu-central-1", NEAREST_MS + 1, False, "country"),
        ("eu-west-1", 400.0, False, "continent"),  # a slow line is no distance
        ("eu-west-1", NEAREST_MS, True, "world"),
        ("eu-central-1", 1.0, True, "world"),
    ],
)
def test_a_round_trip_that_was_measured_goes_before_what_a_peer_says(
    theirs: str, best_ms: float, disproved: bool, ring: str
) -> None:
    assert ring_of(theirs, "eu-central-1", on_link=False, best_ms=best_ms, disproved=disproved) == ring
    assert ring_of(theirs, "eu-central-1", on_link=True, best_ms=best_ms, disproved=disproved) == "lan"


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
