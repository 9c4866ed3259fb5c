"""Nodes that have nothing in common but a signed bootstrap document, or an invitation."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from harness import Node, private_network, until
from sse import chat

from opengateway.discovery.bootstrap import Bootstrap, Entry, sign, write
from opengateway.identity import Identity, base32, from_base32, network_id

CHAT = "/v1/chat/completions"


def names(node: Node) -> set[str]:
    return {peer["name"] for peer in node.get("/node/peers")["peers"] if peer["state"] == "up"}


def document(network: dict[str, Any], *entrances: Node, by: tuple[Identity, ...]) -> bytes:
    now = int(time.time()) * 1000
    found = Bootstrap(
        network_id(network["network"]["name"], network["network"]["secret"]),
        now,
        now + 3_600_000,
        tuple(Entry(from_base32(node.info["node_id"]), (f"tcp://{node.endpoint}",)) for node in entrances),
        (),
    )
    for publisher in by:
        found = sign(found, publisher)
    return write(found)


def test_nodes_that_know_only_a_signed_document_learn_of_each_other(tmp_path: Path) -> None:
    network, publishers = private_network(), (Identity.generate(), Identity.generate())
    listed = tmp_path / "bootstrap.json"
    settings = {
        "source": str(listed),
        "publishers": [base32(one.node_id) for one in publishers],
        "needed": 2,
    }
    with Node(tmp_path, "entrance", network, region="us-east-1") as entrance:
        listed.write_bytes(document(network, entrance, by=publishers))
        with (
            Node(
                tmp_path,
                "serving",
                network,
                region="ap-south-1",
                engine={"kind": "pocket"},
                bootstrap=settings,
            ) as serving,
            Node(tmp_path, "asking", network, region="sa-east-1", bootstrap=settings) as asking,
        ):
            until(lambda: names(asking) >= {"entrance", "serving"}, "they know each other", patience_s=40)
            answer = asking.post(CHAT, chat())
            assert answer["choices"][0]["message"]["content"].strip() == "4"
            entrance.stop()  # for good: nothing of theirs depends on it any more
            until(lambda: "entrance" not in names(asking), "the entrance is gone")
            assert asking.post(CHAT, chat())["choices"][0]["message"]["content"].strip() == "4"
            assert names(serving) == {"asking"}
            found = asking.get("/node/discovery")["bootstrap"]
            assert (found["nodes"], found["problem"]) == (1, "")
            assert (asking.home / "bootstrap.json").read_bytes() == listed.read_bytes()


def test_a_document_that_too_few_have_signed_is_refused_and_said(tmp_path: Path) -> None:
    network, publishers = private_network(), (Identity.generate(), Identity.generate())
    listed = tmp_path / "bootstrap.json"
    settings = {"source": str(listed), "publishers": [base32(one.node_id) for one in publishers], "needed": 2}
    with Node(tmp_path, "entrance", network) as entrance:
        listed.write_bytes(document(network, entrance, by=publishers[:1]))
        with Node(tmp_path, "wary", network, bootstrap=settings) as wary:
            problem = until(lambda: wary.get("/node/discovery")["bootstrap"]["problem"], "it is refused")
            assert "1 of the trusted publishers signed it, and 2 must" in problem
            assert problem in [warning["text"] for warning in wary.get("/node/status")["warnings"]]
            assert names(wary) == set()


def test_an_invitation_brings_a_node_into_a_private_network(tmp_path: Path) -> None:
    network = private_network()
    with Node(tmp_path, "host", network, engine={"kind": "pocket"}) as host:
        port = host.info["wire_port"]
        invited = host.cli("invite", "--address", f"localhost:{port}", "--json")
        assert invited.returncode == 0, invited.stderr
        line = json.loads(invited.stdout)["invitation"]
        secret = network["network"]["secret"]
        assert secret not in invited.stdout + invited.stderr
        guest = Node(
            tmp_path, "guest", {key: network[key] for key in ("http", "wire", "lan", "dht", "engine")}
        )
        guest.home.mkdir(parents=True)
        (guest.home / "config.json").write_text(json.dumps(guest.config))
        joined = guest.cli("join", "-", stdin=line + "\n")
        assert joined.returncode == 0, joined.stderr
        assert secret not in joined.stdout + joined.stderr
        guest.config = json.loads((guest.home / "config.json").read_text())
        with guest:
            until(lambda: names(guest) == {"host"}, "the guest is in")
            assert guest.post(CHAT, chat())["choices"][0]["message"]["content"].strip() == "4"
            shown = guest.cli("config", "get", "--json")
            assert secret not in shown.stdout
            assert secret not in guest.cli("doctor").stdout + guest.log_tail()
