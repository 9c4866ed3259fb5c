"""Who may join, who is asked, and how a network notices who has left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Node, private_network, until
from pairs import Pair
from sse import chat

CHAT = "/v1/chat/completions"


def states(node: Node) -> list[str]:
    return [peer["state"] for peer in node.get("/node/peers")["peers"]]


@pytest.fixture(scope="module")
def loner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("loner"), "loner") as node:
        yield node


def test_a_node_without_model_and_peers_says_so_and_what_to_do(loner: Node) -> None:
    status, answer = loner.request("POST", CHAT, chat())
    assert status == 404
    assert answer["error"]["message"].startswith("this node serves no model, and no peer is connected")
    assert "opengateway connect" in answer["error"]["hint"]


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [
        ("127.0.0.1:1", 502, "127.0.0.1:1"),
        ("127.0.0.1:99999", 502, "99999"),
        ("tcp://nowhere.invalid:11436", 502, "nowhere.invalid"),
        ("somebody", 404, "no peer is known as 'somebody'"),
        ("", 400, "target"),
        ("x" * 400, 400, "target"),
        (7, 400, "target"),
    ],
)
def test_a_target_that_cannot_be_reached_is_named(loner: Node, target: Any, status: int, said: str) -> None:
    got, answer = loner.request("POST", "/node/connect", {"target": target})
    assert got == status, answer
    assert said in answer["error"]["message"]


def test_a_node_does_not_connect_to_itself(loner: Node) -> None:
    status, answer = loner.request("POST", "/node/connect", {"target": loner.endpoint})
    assert status == 502
    assert "itself" in answer["error"]["message"]


def test_the_wrong_secret_does_not_join(loner: Node, tmp_path: Path) -> None:
    network = {**private_network(), "network": {**loner.config["network"], "secret": "another one"}}
    with Node(tmp_path, "stranger", network) as stranger:
        status, answer = stranger.request("POST", "/node/connect", {"target": loner.endpoint})
        assert status == 502
        assert answer["error"]["message"]
        assert answer["error"]["hint"]
        assert states(loner) == []


def test_nodes_connect_and_part_on_their_owners_word(loner: Node, tmp_path: Path) -> None:
    with Node(tmp_path, "friend", loner.config | {"node_name": "friend"}) as friend:
        met = friend.post("/node/connect", {"target": loner.endpoint})
        assert met["name"] == "loner"
        assert met["short"] == loner.get("/node/status")["short"]
        until(lambda: states(loner) == ["up"], "the other side sees it")
        again = friend.post("/node/connect", {"target": met["short"]})
        assert again["id"] == met["id"]
        friend.post("/node/disconnect", {"target": "loner"})
        until(lambda: "up" not in states(friend) + states(loner), "they have parted", patience_s=3)
        assert friend.post("/node/connect", {"target": loner.endpoint})["id"] == met["id"]
        until(lambda: "up" in states(loner), "they have met again")
    until(lambda: "up" not in states(loner), "the goodbye is heard", patience_s=2)


def test_who_does_not_contribute_offers_nothing_and_serves_its_owner(tmp_path: Path, loner: Node) -> None:
    settings = loner.config | {
        "wire": {"bootstrap": [loner.endpoint]},
        "engine": {"kind": "pocket"},
        "contribute": {"when": "never"},
    }
    with Node(tmp_path, "miser", {**private_network(), **settings}) as miser:
        until(lambda: states(loner).count("up") == 1, "they have met")
        status, answer = loner.request("POST", CHAT, chat(model="pocket"))
        assert status == 404, answer
        assert miser.post(CHAT, chat())["choices"][0]["message"]["content"].strip() == "4"


def test_a_killed_peer_is_noticed_within_ten_seconds(tmp_path: Path, loner: Node) -> None:
    settings = loner.config | {"wire": {"bootstrap": [loner.endpoint]}}
    with Node(tmp_path, "victim", {**private_network(), **settings}) as victim:
        until(lambda: states(loner).count("up") == 1, "they have met")
        victim.kill9()
        killed = time.monotonic()
        until(lambda: states(loner).count("up") == 0, "it is missed", patience_s=10)
        assert time.monotonic() - killed < 10


def test_readiness_and_health_are_there_for_anybody(paced_pair: Pair) -> None:
    for node in (paced_pair.asking, paced_pair.serving):
        assert node.request("GET", "/healthz", headers={"Authorization": ""}) == (200, "ok")
        assert node.request("GET", "/readyz", headers={"Authorization": ""})[1] == {"ready": True, "why": []}
