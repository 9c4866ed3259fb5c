"""A computer whose clock is an hour off: a member like any other, and told so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Node, private_network, until
from sse import chat

SHIFT = Path(__file__).parents[1] / "clock_shift"
OFF_S = 3600


class LateNode(Node):
    """Its clock is an hour ahead."""

    @property
    def environment(self) -> dict[str, str]:
        shifted = {"PYTHONPATH": f"{SHIFT}:{Path(__file__).parents[2]}", "CLOCK_SHIFT_S": str(OFF_S)}
        return super().environment | shifted


@dataclass
class Three:
    off: Node
    one: Node
    other: Node


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    folder, network = tmp_path_factory.mktemp("clocks"), private_network()
    with Node(folder, "one", network, engine={"kind": "pocket"}) as one:
        known = {"bootstrap": [one.endpoint]}
        with Node(folder, "other", network, wire=known) as other:
            known = {"bootstrap": [one.endpoint, other.endpoint]}
            with LateNode(folder, "off", network, wire=known) as off:
                nodes = (one, other, off)
                until(
                    lambda: all(node.get("/node/status")["peers"]["total"] == 2 for node in nodes), "all up"
                )
                yield Three(off, one, other)


def off_s(node: Node) -> dict[str, float]:
    return {peer["name"]: peer["clock_off_s"] for peer in node.get("/node/peers")["peers"]}


def test_a_node_an_hour_off_sees_and_is_seen_with_everything_that_is_offered(three: Three) -> None:
    until(lambda: three.off.get("/node/models")["network"], "the node that is off sees what is offered")
    for node in (three.off, three.one, three.other):
        assert all(peer["state"] == "up" for peer in node.get("/node/peers")["peers"])


def test_everybody_knows_whose_clock_is_off_by_how_much(three: Three) -> None:
    assert off_s(three.one)["off"] == pytest.approx(OFF_S, abs=5)
    assert off_s(three.one)["other"] == pytest.approx(0, abs=5)
    assert off_s(three.off) == pytest.approx({"one": 0, "other": 0}, abs=5)
    assert not three.off.get("/node/status")["clock"]["ok"]
    assert three.one.get("/node/status")["clock"]["text"] == "it agrees with 1 of 2 peers"


def test_the_commands_say_it(three: Three) -> None:
    assert "+3600 s" in three.one.cli("peers").stdout
    assert "CLOCK" not in three.off.cli("peers").stdout
    for command in ("doctor", "status"):
        said = " ".join(three.off.cli(command).stdout.split())
        assert "3600 s ahead of those of most peers" in said
        assert "timedatectl" in said
        assert "3600 s" not in three.one.cli(command).stdout


def test_the_ledger_keeps_its_rule_and_says_what_is_wrong(three: Three) -> None:
    until(lambda: three.off.get("/node/models")["network"], "the model is offered")
    status, answer = three.off.request("POST", "/v1/chat/completions", chat())
    assert status >= 400
    assert "clocks of the two nodes differ by +3600 s" in answer["error"]["message"]
    assert "opengateway doctor" in answer["error"]["hint"]
    # Nothing was signed for it: an entry that is an hour ahead would date all that follow.
    assert [line["type"] for line in three.off.get("/node/ledger/history")["entries"]] == ["genesis"]
    three.other.post("/v1/chat/completions", chat())
