"""Peers cosign each other's ledgers without being told to."""

from __future__ import annotations

import json
from pathlib import Path

from harness import Node, private_network, until

from opengateway.ledger.audit import Limits, verify
from opengateway.ledger.audit_policy import read_policy


def test_three_nodes_cosign_each_other_and_an_audit_with_a_quorum_passes(tmp_path: Path) -> None:
    network = private_network()
    with (
        Node(tmp_path, "a", network) as a,
        Node(tmp_path, "b", network, wire={"bootstrap": [a.endpoint]}) as b,
        Node(tmp_path, "c", network, wire={"bootstrap": [a.endpoint, b.endpoint]}) as c,
    ):
        for node in (a, b, c):

            def cosigned_by_both(node: Node = node) -> bool:
                return len(node.get("/node/ledger/balance")["witnesses"]["cosigned_by"]) == 2

            until(cosigned_by_both, f"both others have cosigned {node.name}'s ledger")
        rules = tmp_path / "policy.json"
        witnesses = [node.get("/node/status")["node_id"] for node in (b, c)]
        rules.write_text(json.dumps({"witnesses": witnesses, "quorum": 2}))
        export = tmp_path / "a.ogwl"
        export.write_bytes(a.get("/node/ledger/export"))
        report = verify(export, limits=Limits(policy=read_policy(rules)))
        assert report.exit == 0, report.findings
