"""A real node whose disk is an old copy: its peer knows more of its ledger than itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from harness import Node, private_network, until
from sse import chat

from opengateway.ledger.audit import verify

CHAT = "/v1/chat/completions"
LEDGER = ("ledger.db", "ledger.db-wal", "ledger.db.mark")


def ask(node: Node) -> None:
    status, body = node.request("POST", CHAT, chat("Hello", max_tokens=8))[:2]
    assert status == 200, body


def balance(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/node/ledger/balance")
    return found


def ready(node: Node) -> None:
    until(lambda: node.get("/node/models")["network"], "the model is offered")


def test_a_node_with_an_old_copy_of_its_ledger_gets_back_what_its_peer_holds(tmp_path: Path) -> None:
    network = private_network()
    with (
        Node(tmp_path, "serving", network, engine={"kind": "pocket"}) as serving,
        Node(tmp_path, "asking", network, wire={"bootstrap": [serving.endpoint]}) as asking,
    ):
        ready(asking)
        ask(asking)
        until(lambda: balance(serving)["earned"] > 0, "the first is paid")
        asking.stop()
        home, old = asking.home, tmp_path / "old"
        old.mkdir()
        for name in LEDGER:
            if (home / name).exists():
                shutil.copy(home / name, old / name)
        asking.start()
        ready(asking)
        for _ in range(3):
            ask(asking)
        # Not the sums alone: they agree, too, while the last answer is not settled yet.
        until(lambda: not balance(asking)["held"], "all are settled")
        until(lambda: balance(serving)["earned"] == balance(asking)["spent"], "all are paid")
        spent, entries = balance(asking)["spent"], balance(asking)["entries"]
        asking.stop()
        for name in (*LEDGER, "ledger.db-shm"):
            (home / name).unlink(missing_ok=True)
        for file in old.iterdir():
            shutil.copy(file, home / file.name)
        asking.start()
        until(lambda: balance(asking)["entries"] == entries, "what was lost is back")
        assert balance(asking)["spent"] == spent and not balance(asking)["witnesses"]["read_only"]
        ready(asking)
        ask(asking)
        until(lambda: balance(serving)["earned"] == balance(asking)["spent"] > spent, "and it goes on")
        for node in (asking, serving):
            export = tmp_path / f"{node.name}.ogwl"
            export.write_bytes(node.get("/node/ledger/export"))
            report = verify(export)
            assert report.exit in {0, 1} and not report.enclosed, (
                report.findings
            )  # 1: the last EARN is on its way


def test_a_node_that_starts_again_does_not_keep_its_user_waiting(tmp_path: Path) -> None:
    """It has accounts, and its peer is there: the check is over before anybody could ask."""
    network = private_network()
    with (
        Node(tmp_path, "serving", network, engine={"kind": "pocket"}) as serving,
        Node(tmp_path, "asking", network, wire={"bootstrap": [serving.endpoint]}) as asking,
    ):
        ready(asking)
        ask(asking)
        asking.kill9()
        asking.start()
        ready(asking)
        ask(asking)
        until(lambda: balance(serving)["earned"] == balance(asking)["spent"] > 0, "both are paid")
        assert balance(asking)["held"] == 0
