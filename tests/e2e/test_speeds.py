"""How fast a machine is, known again after a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import Node, private_network, until

LONG = {"prompt": "Once", "max_tokens": 40, "temperature": 0, "logit_bias": {"2": -100}}
"""Without the token that ends an answer."""


def speeds(node: Node) -> list[Any]:
    found: list[Any] = node.get("/node/resources")["speeds"]
    return found


def test_a_speed_that_was_measured_survives_a_restart(tmp_path: Path) -> None:
    network = private_network()
    with Node(tmp_path, "a", network, engine={"kind": "pocket"}) as node:
        assert speeds(node) == []
        node.post("/v1/completions", LONG)
        [before] = until(lambda: speeds(node), "the speed of the answer")
        assert before["generate_tps"] > 0
    [kept] = (node.home / "speeds").glob("*.json")
    assert "machine" in json.loads(kept.read_bytes())
    with Node(tmp_path, "a", network, engine={"kind": "pocket"}) as node:
        [after] = speeds(node)
        assert after["generate_tps"] == before["generate_tps"]
