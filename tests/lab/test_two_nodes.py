"""Whole nodes on real hosts: nothing is typed but `opengateway start`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.hosts import Lab, Link
from lab.whole_node import COMMAND_LIMIT_S, Node, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


@pytest.fixture
def network(lab: Lab, tmp_path: Path) -> Iterator[tuple[Node, Node, Link]]:
    """The asking node without a model, and the serving one; both just ready."""
    hosts = lab.host("asking"), lab.host("serving")
    link = lab.link(*hosts)
    asking, serving = (
        Node(hosts[0], tmp_path / "asking", "none"),
        Node(hosts[1], tmp_path / "serving", "pocket"),
    )
    try:
        for starting in [asking.start(), serving.start()]:
            assert starting.wait(COMMAND_LIMIT_S) == 0
        yield asking, serving, link
    finally:
        for node in (asking, serving):  # shown where the test failed
            print(node.tell())


def test_two_started_nodes_see_each_other_and_one_answers_for_the_other(
    network: tuple[Node, Node, Link],
) -> None:
    asking, serving, _ = network
    until(lambda: "serving" in asking.peers(), "the asking node sees the other", 3)
    until(lambda: "asking" in serving.peers(), "the serving node sees the other", 3)
    assert asking.peers()["serving"]["ring"] == "lan"
    assert asking.type("prompt", "What is 2+2?").strip() == "4"


def test_a_node_that_is_stopped_says_goodbye_and_comes_back_when_it_is_started(
    network: tuple[Node, Node, Link],
) -> None:
    asking, serving, _ = network
    until(lambda: "serving" in asking.peers(), "they see each other", 10)
    serving.type("stop")
    until(lambda: "serving" not in asking.peers(), "the goodbye is noticed", 2)
    assert serving.start().wait(COMMAND_LIMIT_S) == 0
    until(lambda: "serving" in asking.peers(), "it is found again", 3)


def test_a_node_that_is_killed_is_noticed_within_ten_seconds_and_found_again_when_it_restarts(
    network: tuple[Node, Node, Link],
) -> None:
    asking, serving, _ = network
    until(lambda: "serving" in asking.peers(), "they see each other", 10)
    os.kill(serving.pid, signal.SIGKILL)
    until(lambda: "serving" not in asking.peers(), "the death is noticed", 10)
    assert serving.start().wait(COMMAND_LIMIT_S) == 0
    until(lambda: "serving" in asking.peers(), "it is found again", 3)
    assert asking.type("prompt", "What is 2+2?").strip() == "4"


def test_a_link_cut_silently_is_noticed_within_ten_seconds_and_used_again_when_it_is_mended(
    network: tuple[Node, Node, Link],
) -> None:
    asking, serving, link = network
    until(lambda: "serving" in asking.peers() and "asking" in serving.peers(), "they see each other", 10)
    link.cut()
    until(lambda: not asking.peers() and not serving.peers(), "both notice", 10)
    link.mend()
    until(lambda: asking.peers() and serving.peers(), "both are back", 10)


@pytest.mark.parametrize("moves", ["asking", "serving"])
def test_a_changed_address_is_followed(network: tuple[Node, Node, Link], moves: str) -> None:
    asking, serving, _ = network
    until(lambda: "serving" in asking.peers(), "they see each other", 10)
    moved = asking if moves == "asking" else serving
    moved.host.change_address()
    changed = time.monotonic()

    def heard_since() -> bool:
        """The session may live on over a new connection: it need not be down in between."""
        peers = asking.peers() | serving.peers()
        since = time.monotonic() - changed - 1
        return len(peers) == 2 and all(peer["last_seen_s"] < since for peer in peers.values())

    until(heard_since, "both hear each other again", 15)
    assert asking.type("prompt", "What is 2+2?").strip() == "4"
