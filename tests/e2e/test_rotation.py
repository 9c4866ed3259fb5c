"""A node gives up its key: the others follow, by themselves, to the last ucr."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import Node, private_network, until
from homes import homes
from ledger_second import second_opinion
from sse import chat

from opengateway.ledger.audit import verify
from opengateway.units import CREDIT

CHAT = "/v1/chat/completions"


@dataclass
class Town:
    """bob serves; he owes ann 70 credits and cat owes bob 40. ann has served cat for 30."""

    ann: Node
    bob: Node
    cat: Node
    stolen: Path
    """A copy of ann's home, with both her keys, made before anything else happened."""

    def __iter__(self) -> Iterator[Node]:
        return iter((self.ann, self.bob, self.cat))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    network = private_network()
    with homes(tmp_path, network["network"], "ann", "bob", "cat") as (ann, bob, cat):
        ann.serve(bob, 70)
        bob.serve(cat, 40)
        ann.serve(cat, 30)
    stolen = tmp_path / "thief"
    shutil.copytree(tmp_path / "ann", stolen)
    with contextlib.ExitStack() as running:
        first = running.enter_context(Node(tmp_path, "bob", network, engine={"kind": "pocket"}))
        known = {"bootstrap": [first.endpoint]}
        others = [running.enter_context(Node(tmp_path, name, network, wire=known)) for name in ("ann", "cat")]
        met(others[0], first, others[1])
        yield Town(others[0], first, others[1], stolen)


def met(*nodes: Node) -> None:
    for node in nodes:
        until(lambda node=node: status(node)["peers"]["total"] == len(nodes) - 1, "all have met")  # type: ignore[misc]


def status(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/node/status")
    return found


def accounts(node: Node) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in node.get("/node/ledger/peers")["peers"]}


def owed(node: Node, peer: str) -> int:
    """By `peer`, in whole credits, once the two agree."""

    def agreed() -> bool:
        account = accounts(node).get(peer)
        return account is not None and not account["moving"]

    until(agreed, f"{node.name} has an account with {peer[:10]} that is agreed on")
    return round(accounts(node)[peer]["net"] / CREDIT)


def rotate(node: Node, *more: str) -> tuple[str, str]:
    """The node goes on under a new key; the old id and the new one."""
    old = status(node)["node_id"]
    node.stop()
    done = node.cli("key", "rotate", "--yes", "--json", *more)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["old"] == old != said["new"]
    node.start()
    assert status(node)["node_id"] == said["new"]
    return said["old"], said["new"]


def clean(node: Node, folder: Path) -> None:
    path = folder / f"{node.name}.ogwl"
    path.write_bytes(node.get("/node/ledger/export"))
    report = verify(path)
    assert report.exit in {0, 1} and not report.proofs, report.findings
    second_opinion(path, report)


@pytest.mark.timeout(300)
def test_a_planned_change_and_a_thief_afterwards(town: Town, tmp_path: Path) -> None:
    ann, bob, cat = town
    old, new = rotate(ann)
    met(ann, bob, cat)
    ids = {node.name: status(node)["node_id"] for node in town}
    assert (owed(ann, ids["bob"]), owed(ann, ids["cat"])) == (70, 30)
    assert (owed(bob, new), owed(cat, new)) == (-70, -30)
    for node in (bob, cat):
        assert old not in accounts(node)
        assert all(peer["id"] != old for peer in node.get("/node/peers")["peers"]), "a ghost"

    until(lambda: ann.get("/node/models")["network"], "the model is offered")
    code, answer = ann.request("POST", CHAT, chat(max_tokens=8))
    assert code == 200, answer
    until(lambda: accounts(bob)[new]["served"] > 0, "the next prompt is paid from the new key")
    for node in town:
        clean(node, tmp_path)

    town.stolen.rename(tmp_path / "copy")
    thief_home = tmp_path / "copy"
    with Node(thief_home.parent, "copy", ann.config, wire={"bootstrap": [bob.endpoint]}) as thief:
        assert status(thief)["node_id"] == old

        def knows() -> str:
            text: str = thief.get("/node/ledger/balance")["witnesses"]["read_only"]
            return text

        assert "given up" in until(knows, "the old key is told that it was given up")
        assert status(thief)["peers"]["total"] == 0
        code, answer = thief.request("POST", CHAT, chat(max_tokens=8, timeout=1))
        assert code >= 400, answer


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_key_and_ledger_come_back_from_what_the_others_hold(town: Town, tmp_path: Path) -> None:
    ann, bob, cat = town
    env = {"OPENGATEWAY_PASSPHRASE": "correct horse battery staple"}
    backup = tmp_path / "keys.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*next(iter(env.items())))
        assert ann.cli("key", "backup", str(backup)).returncode == 0
        old = status(ann)["node_id"]
        ann.stop()
        for path in ann.home.iterdir():
            if path.name != "config.json":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        done = ann.cli("key", "restore", str(backup))
        assert done.returncode == 1 and "--lost" in done.stderr
        done = ann.cli("key", "rotate", "--lost", "--yes", "--from", str(backup))
        assert done.returncode == 0, done.stderr
    ann.start()
    met(ann, bob, cat)
    new = status(ann)["node_id"]
    ids = {node.name: status(node)["node_id"] for node in town}
    assert (owed(ann, ids["bob"]), owed(ann, ids["cat"])) == (70, 30)
    assert (owed(bob, new), owed(cat, new)) == (-70, -30)
    assert old not in accounts(bob)
    for node in town:
        clean(node, tmp_path)
    for node in (bob, cat):
        node.stop()
        node.start()
    met(ann, bob, cat)
    assert (owed(bob, new), owed(cat, new)) == (-70, -30)
    assert old not in {peer["id"] for peer in bob.get("/node/peers")["peers"]}
