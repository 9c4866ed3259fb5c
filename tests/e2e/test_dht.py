"""Nodes that have nothing in common but a private DHT find each other, and answer each other's prompts."""

from __future__ import annotations

import time
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
        until(lambda: dht_of(here)["nodes"], "the DHT is entered")
        answer = here.post(CHAT, chat(model="pocket"))  # asked before anybody is known: it waits
        assert answer["choices"][0]["message"]["content"].strip() == "4"
        [peer] = here.get("/node/peers")["peers"]
        assert (peer["name"], peer["region"], peer["state"]) == ("far", "ap-south-1", "up")


def test_a_model_that_does_not_exist_is_looked_for_once_and_then_refused_at_once(
    doorway: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    _, known = doorway
    with Node(tmp_path, "alone", private_network(), dht={**DHT, "entries": [known]}) as alone:
        until(lambda: dht_of(alone)["nodes"], "the DHT is entered")
        first, answer = alone.request("POST", CHAT, chat(model="no-such-model"))
        assert (first, answer["error"]["code"]) == (404, "model_not_found")
        assert "no-such-model" in alone.get("/node/discovery")["seeking"]
        before = time.monotonic()
        assert alone.request("POST", CHAT, chat(model="no-such-model"))[0] == 404
        assert time.monotonic() - before < 4.0, "it is not waited for again"


@pytest.mark.timeout(180)
def test_a_node_that_moved_is_found_again_by_its_id(
    doorway: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    """It comes back on another port, having been killed; nobody dials anybody but by the DHT."""
    network, known = private_network(), doorway[1]
    found = {**DHT, "entries": [known]}
    with (
        Node(tmp_path, "mover", network, dht=found) as mover,
        Node(tmp_path, "stayer", network, dht=found) as stayer,
    ):
        mine = mover.info["node_id"]
        until(lambda: dht_of(mover)["copies"], "its whereabouts lie in the DHT")
        until(lambda: dht_of(stayer)["nodes"], "the DHT is entered")
        met = stayer.post("/node/connect", {"target": mine})
        assert met["id"] == mine
        mover.kill9()
        before = mover.info["wire_port"]
        mover.stop()
        mover.start()
        assert mover.info["wire_port"] != before

        def up() -> bool:
            return any(p["id"] == mine and p["state"] == "up" for p in stayer.get("/node/peers")["peers"])

        until(up, "it is up again", patience_s=90)


def test_dht_nodes_and_sequence_numbers_outlive_a_restart(
    doorway: tuple[dict[str, Any], str], tmp_path: Path
) -> None:
    network, known = private_network(), doorway[1]
    with Node(tmp_path, "a", network, dht={**DHT, "entries": [known]}) as node:
        until(lambda: dht_of(node)["copies"], "it lies in the DHT")
        used = int((node.home / "record.seq").read_text())
        node.stop()
        assert known in (node.home / "dht.nodes").read_text().splitlines()
        node.config = {**node.config, "dht": DHT}  # without the entry: only what was kept
        node.start()
        until(lambda: dht_of(node)["nodes"], "the DHT is entered again")
        assert int((node.home / "record.seq").read_text()) > used
