"""Nodes that have nothing in common but a private DHT find each other, and answer each other's prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Node, private_network, until
from sse import chat

CHAT = "/v1/chat/completions"
DHT: dict[str, Any] = {"enabled": True, "port": 0}


def dht_of(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/node/discovery")["dht"]
    return found


def entry(node: Node) -> str:
    """Its DHT node, as `dht.entries` wants it."""
    return f"127.0.0.1:{until(lambda: dht_of(node)['port'], 'the DHT listens')}"


@pytest.fixture(scope="module")
def doorway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], str]]:
    """A network, and the DHT entry of it that everybody knows: a node of another network altogether, so that
    nobody can learn anything from it but through the DHT."""
    other = {**private_network(), "dht": DHT}
    with Node(tmp_path_factory.mktemp("doorway"), "doorway", other) as node:
        yield private_network(), entry(node)


def test_nodes_of_two_regions_meet_by_the_dht_alone(
    doorway: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    network, known = doorway
    found = {**DHT, "entries": [known]}
    with (
        Node(tmp_path, "far", network, region="ap-south-1", dht=found, engine={"kind": "pocket"}),
        Node(tmp_path, "here", network, region="eu-central-1", dht=found) as here,
    ):
        until(lambda: here.get("/node/models")["network"], "the far model is found", patience_s=40)
        answer = here.post(CHAT, chat())
        assert answer["choices"][0]["message"]["content"].strip() == "4"
        [peer] = here.get("/node/peers")["peers"]
        assert (peer["name"], peer["region"], peer["state"]) == ("far", "ap-south-1", "up")
