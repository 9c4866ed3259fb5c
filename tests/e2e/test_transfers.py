"""Credit that moves between running nodes: by command, by itself, and to the owner's main node."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Node, private_network, until
from homes import Home, homes, net_of
from sse import chat

from opengateway.units import CREDIT


def audited(node: Node, file: Path) -> int:
    file.write_bytes(node.get("/node/ledger/export"))
    words = "import sys; from opengateway.ledger.audit_cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", words, "verify", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout
    return done.returncode


@pytest.fixture
def triangle(tmp_path: Path) -> Iterator[tuple[list[Node], list[Home]]]:
    """bob owes ann 100 credits, vic owes bob 90, and ann owes vic 60, more than vic gives to strangers. Only
    vic serves."""
    network = private_network()
    with homes(tmp_path, network["network"], "ann", "bob", "vic") as made:
        ann, bob, vic = made
        ann.serve(bob, 100)
        bob.serve(vic, 90)
        vic.serve(ann, 60)
    with contextlib.ExitStack() as running:
        nodes = [running.enter_context(Node(tmp_path, "vic", network, engine={"kind": "pocket"}))]
        for name in ("bob", "ann"):
            known = {"bootstrap": [node.endpoint for node in nodes]}
            nodes.append(running.enter_context(Node(tmp_path, name, network, wire=known)))
        nodes.reverse()
        until(lambda: nodes[0].get("/node/models")["network"], "the model is offered")
        until(lambda: all(node.get("/node/status")["peers"]["total"] == 2 for node in nodes), "all have met")
        yield nodes, made


def test_the_command_moves_credit_to_another_peer(
    triangle: tuple[list[Node], list[Home]], tmp_path: Path
) -> None:
    nodes, (_, bob, vic) = triangle
    done = nodes[0].cli("ledger", "transfer", "12.5", "--from", bob.id[:10], "--to", "vic")
    assert done.returncode == 0, done.stdout + done.stderr
    assert net_of(nodes[0], bob) == 100 * CREDIT - 12_500_000
    assert net_of(nodes[0], vic) == -60 * CREDIT + 12_500_000
    for node in nodes:
        until(lambda node=node: audited(node, tmp_path / "x.ogwl") == 0, "all signatures are there")  # type: ignore[misc]
    export = tmp_path / "export.ogwl"
    done = nodes[0].cli("ledger", "export", str(export), "--tiles", str(tmp_path / "tiles"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiles/checkpoint").read_text().startswith("opengateway/")
    assert (tmp_path / "tiles/tile/0").is_dir()
    refused = nodes[0].cli("ledger", "transfer", "500", "--from", "bob", "--to", "vic")
    assert refused.returncode == 1 and "owes" in refused.stderr
    wrong = nodes[0].cli("ledger", "transfer", "-1", "--from", "bob", "--to", "vic")
    assert wrong.returncode == 2


def test_a_request_that_would_be_refused_moves_the_credit_itself(
    triangle: tuple[list[Node], list[Home]],
) -> None:
    nodes, (_, bob, vic) = triangle
    status, answer = nodes[0].request("POST", "/v1/chat/completions", chat(max_tokens=32))
    assert status == 200, answer
    assert answer["choices"][0]["message"]["content"].strip() == "4"
    assert net_of(nodes[0], bob) < 40 * CREDIT
    until(lambda: -CREDIT < net_of(nodes[0], vic) <= CREDIT, "nothing is owed to vic any more")


@pytest.fixture
def circle(tmp_path: Path) -> Iterator[tuple[list[Node], list[Home]]]:
    """Everybody has asked the next one: ann owes vic more than vic gives to strangers, vic owes xia, xia owes
    bob, bob owes ann. Vic owes nobody who owes ann, so there is no way over one other."""
    network = private_network()
    with homes(tmp_path, network["network"], "ann", "bob", "xia", "vic") as made:
        ann, bob, xia, vic = made
        vic.serve(ann, 60)
        xia.serve(vic, 70)
        bob.serve(xia, 80)
        ann.serve(bob, 90)
    with contextlib.ExitStack() as running:
        nodes = [running.enter_context(Node(tmp_path, "vic", network, engine={"kind": "pocket"}))]
        for name in ("xia", "bob", "ann"):
            known = {"bootstrap": [node.endpoint for node in nodes]}
            nodes.append(running.enter_context(Node(tmp_path, name, network, wire=known)))
        nodes.reverse()
        until(lambda: nodes[0].get("/node/models")["network"], "the model is offered")
        until(lambda: all(node.get("/node/status")["peers"]["total"] == 3 for node in nodes), "all have met")
        yield nodes, made


def test_a_circle_of_four_serves_itself_over_two_others(
    circle: tuple[list[Node], list[Home]], tmp_path: Path
) -> None:
    nodes, (ann, bob, xia, vic) = circle
    status, answer = nodes[0].request("POST", "/v1/chat/completions", chat(max_tokens=32))
    assert status == 200, answer
    assert answer["choices"][0]["message"]["content"].strip() == "4"
    until(lambda: -CREDIT < net_of(nodes[0], vic) <= CREDIT, "nothing is owed to vic any more")
    moved = 90 * CREDIT - net_of(nodes[0], bob)
    assert 60 * CREDIT < moved < 61 * CREDIT
    for node, creditor, debtor, owed in (
        (nodes[1], bob, xia, 80),
        (nodes[2], xia, vic, 70),
    ):
        until(
            lambda node=node, debtor=debtor, owed=owed: net_of(node, debtor) == owed * CREDIT - moved,  # type: ignore[misc]
            f"{creditor.name} gave up as much of what {debtor.name} owes",
        )
    for node in nodes:
        until(lambda node=node: audited(node, tmp_path / "x.ogwl") == 0, "all signatures are there")  # type: ignore[misc]
    assert net_of(nodes[1], ann) == moved - 90 * CREDIT


def test_earnings_go_to_the_owners_main_node(tmp_path: Path) -> None:
    network = private_network()
    with homes(tmp_path, network["network"], "main", "second", "debtor") as (main, second, debtor):
        second.serve(debtor, 7)
    with (
        Node(tmp_path, "main", network, ledger={"own_nodes": [second.id]}) as first,
        Node(tmp_path, "debtor", network, wire={"bootstrap": [first.endpoint]}) as third,
        Node(
            tmp_path,
            "second",
            network,
            wire={"bootstrap": [third.endpoint, first.endpoint]},
            ledger={"sweep_to": main.id},
        ) as other,
    ):
        until(lambda: net_of(first, debtor) == 7 * CREDIT, "the main node is owed what was earned")
        until(lambda: net_of(other, debtor) == 0, "and no longer the other")
        assert net_of(first, second) == -7 * CREDIT
