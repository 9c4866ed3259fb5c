"""The audit tool as people and programs use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_forge import EARN, Forge
from ledger_world import START_MS, Node, world

from opengateway.ledger.audit import Limits, verify_pair
from opengateway.ledger.audit_cli import main
from opengateway.ledger.merkle import Frontier

NOW = Limits(now_ms=START_MS + 3_600_000)


def exported(node: Node) -> Path:
    path = node.path.with_suffix(".ogwl")
    path.write_bytes(node.export())
    return path


def codes(path: tuple[Path, Path]) -> set[str]:
    return {finding.code for report in verify_pair(*path, limits=NOW)[:3] for finding in report.findings}


def test_two_nodes_that_dealt_honestly_agree(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        for _ in range(10):
            ann.ask(bob)
            bob.ask(ann)
        found = verify_pair(exported(ann), exported(bob), limits=NOW)
        assert found.exit == 0
        assert found.first.checked["evidence"] == found.second.checked["evidence"] == 20


def test_a_settle_on_its_way_is_a_warning_between_two_nodes(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        rid, opening = ann.open(bob)
        bob.admit(opening, ann)
        ann.settle(rid)
        files = exported(ann), exported(bob)
        assert codes(files) == {"W_NOCOUNTER", "W_INFLIGHT"}
        assert verify_pair(*files, limits=NOW).exit == 1


def test_an_older_export_is_behind_what_the_other_node_holds(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        old = exported(bob)
        ann.ask(bob)
        found = verify_pair(exported(ann), old, limits=NOW)
        assert "E_TRUNCATED" in {finding.code for finding in found.second.findings}
        assert found.exit == 4


def test_a_rewritten_entry_is_proved_by_what_the_other_node_holds(tmp_path: Path) -> None:
    """Signed again with all links and totals, but the other node kept the first version."""
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        for _ in range(3):
            ann.ask(bob)
        forge = Forge(bob, tmp_path)
        forge.sign(forge.find(EARN), t_ms=forge.records[1].entry.t_ms + 1)
        forge.rechain(2)
        assert verify_pair(exported(ann), forge.save(), limits=NOW).exit == 3


def test_a_debt_hidden_from_both_its_own_halves_shows_in_the_pair(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        for _ in range(2):
            ann.ask(bob)
        forge = Forge(ann, tmp_path)
        del forge.records[-2:]
        found = verify_pair(forge.save(), exported(bob), limits=NOW)
        assert "E_DISAGREE" in {finding.code for finding in found.between.findings}
        assert found.exit == 2


def test_a_ledger_does_not_pair_with_itself(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        path = exported(here.node("ann"))
        assert verify_pair(path, path, limits=NOW).exit == 2


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "opengateway.ledger.audit_cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )


def test_the_verdict_comes_first_and_what_was_not_checked_last(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        done = run(str(exported(ann)))
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].startswith("VALID: ")
    assert any("0.0051" in line for line in lines)
    assert "Not checked" in done.stdout
    assert not done.stderr


def test_json_carries_everything_that_a_program_needs(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        forge = Forge(ann, tmp_path)
        forge.sign(2, taken=7)
        done = run("verify", str(forge.save()), "--json")
    report = json.loads(done.stdout)
    assert report["exit"] == done.returncode == 3
    assert report["format"] == "OGWL1"
    assert report["checks"]["totals"]["bad"] == 1
    assert report["proofs"][0]["kind"] == "F2-history"
    assert {"code", "seq", "detail", "severity", "offset", "cascade_of"} == set(report["findings"][0])


def test_pair_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        files = str(exported(ann)), str(exported(bob))
        assert main(["pair", *files]) == 0
        assert capsys.readouterr().out.startswith("THEY AGREE\n")


@pytest.mark.parametrize(
    "arguments", [[], ["--nonsense"], ["verify"], ["pair", "one"], ["verify", "a", "--credit-limit", "x"]]
)
def test_wrong_usage_is_64(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 64


def test_the_tool_loads_nothing_of_a_node(tmp_path: Path) -> None:
    """It must run where PyNaCl and cbor2 are all there is."""
    allowed = {"nacl", "cbor2", "cffi", "_cffi_backend", "opengateway"}
    code = (
        "import sys, sysconfig; before = set(sys.modules); import opengateway.ledger.audit_cli as tool;"
        "print(*sorted({n.partition('.')[0] for n in set(sys.modules) - before} - sys.stdlib_module_names));"
        "print(*sorted(n for n in sys.modules if n.startswith('opengateway.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    foreign, ours = (line.split() for line in done.stdout.splitlines())
    assert {name for name in foreign if not name.startswith("_")} <= allowed
    assert not {
        name for name in ours if "store" in name or "book" in name or "engines" in name or "app" in name
    }


def test_the_root_is_that_of_rfc_6962() -> None:
    """The tree hashes of the seven inputs that Certificate Transparency's own tests use."""
    import hashlib

    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    tree = Frontier()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for text in inputs:
        tree.append(hashlib.sha256(b"\0" + bytes.fromhex(text)).digest())
    assert tree.root().hex() == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
