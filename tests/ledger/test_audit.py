"""The audit tool as people and programs use it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_forge import EARN, OPEN, SETTLE, Forge
from ledger_second import NODE, VERIFIER
from ledger_world import START_MS, Node, world

from opengateway.identity import base32
from opengateway.ledger.audit import Limits, verify, verify_pair
from opengateway.ledger.audit_cli import main
from opengateway.ledger.merkle import Frontier
from opengateway.ledger.ogwl import skim
from tools.bench.audit import write

ROOT = Path(__file__).parents[2]

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


def test_a_ledger_exported_while_the_clock_is_an_hour_behind_is_in_order(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        here.clock.now_ms -= 3_600_000
        found = verify_pair(exported(ann), exported(bob), limits=NOW)
        assert found.exit == 0, found.first.findings


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
        cwd=ROOT,
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


BLOCKER = """
import sys

ALLOWED = {"nacl", "cbor2", "cffi", "_cffi_backend", "opengateway", "_sodium"} | sys.stdlib_module_names
OURS = {"units", "errors", "identity", "wire", "wire.cbor", "ledger"}
LEDGER = (
    *("audit", "entry", "evidence", "findings", "head", "merkle", "ogwl", "price", "rotation", "rules"),
    *("voucher", "witness"),
)


class Blocker:
    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        if top == "opengateway" and rest:
            inside = rest.partition(".")[2]
            if rest in OURS or (rest.startswith("ledger.") and inside.startswith(LEDGER)):
                return None
        elif top in ALLOWED or top.startswith("_"):
            return None
        raise ModuleNotFoundError(f"blocked: {name}", name=name)


sys.meta_path.insert(0, Blocker())
from opengateway.ledger.audit_cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_tool_needs_pynacl_and_cbor2_and_nothing_of_a_node(tmp_path: Path) -> None:
    """Everything else cannot be imported at all, and each command still works."""
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        one, other = str(exported(ann)), str(exported(bob))
        database = str(ann.path)
    folder = tmp_path / "net"
    folder.mkdir()
    proof = tmp_path / "proof"
    proof.write_bytes(b"no proof")
    for arguments, code in (
        ((one,), 0),
        (("pair", one, other), 0),
        (("net", str(folder)), 5),
        (("prove", str(proof)), 2),
        (("export", database, str(folder / "ann.ogwl")), 0),
        (("certify", one, "--key", str(tmp_path / "key"), "--out", str(tmp_path / "certificate")), 0),
        ((one, "--since", str(tmp_path / "certificate")), 0),
        (("net", str(folder)), 0),
    ):
        done = subprocess.run(
            [sys.executable, "-c", BLOCKER, *arguments],
            capture_output=True, text=True, check=False, timeout=30, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert not done.stderr


def test_an_export_from_the_database_is_that_of_the_node(tmp_path: Path) -> None:
    """Also while the node runs; only the time it was written may differ."""
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        for _ in range(3):
            ann.ask(bob)
        rid, opening = ann.open(bob)
        bob.admit(opening, ann)
        voucher = ann.book.vouch(rid, prompt_tokens=10, completion_tokens=5)
        ann.book.commit()
        bob.book.vouched(voucher, ann.id)
        bob.book.commit()
        for node in (ann, bob):
            made = tmp_path / "made.ogwl"
            assert main(["export", str(node.path), str(made)]) == 0
            mine, its = skim(made), skim(exported(node))
            assert mine.trailer is not None and its.trailer is not None
            assert mine.trailer.vouchers == its.trailer.vouchers != []
            assert mine.header._replace(created_ms=0) == its.header._replace(created_ms=0)
            reports = verify(made, limits=NOW), verify(exported(node), limits=NOW)
            assert reports[0].subject.root == reports[1].subject.root
            assert {one.code for one in reports[0].findings} <= {"W_UNSETTLED"}
        here.clock.now_ms = 4_000_000_000_000  # in 2096: later than now, whenever this runs
        ann.ask(bob)
        assert main(["export", str(ann.path), str(made)]) == 0
        assert skim(made).header.created_ms >= here.clock.now_ms - 10_000
        assert main(["export", str(tmp_path / "nothing.db"), str(made)]) == 5
        assert main(["export", str(exported(ann)), str(made)]) == 5


@pytest.mark.timeout(180)
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    path = tmp_path / "two.ogwl"
    write(path, 3000)
    whole = path.read_bytes()
    bad = bytearray(whole)
    for place in (len(bad) // 5, len(bad) // 2, len(bad) - 3000):
        bad[place] ^= 1
    changed = tmp_path / "bad.ogwl"
    changed.write_bytes(bad)
    for file, code in ((path, 0), (changed, 2)):
        said = [run("verify", str(file), "--json", "--jobs", jobs) for jobs in ("1", "2")]
        one, two = (json.loads(done.stdout) for done in said)
        assert one.pop("perf")["signatures"] == two.pop("perf")["signatures"] > 6000
        assert one == two
        assert one["exit"] == code
        assert one["subject"]["entries"] > 2 * 2048


def seen(forge: Forge) -> set[str]:
    return {finding.code for finding in verify(forge.save(), limits=NOW).findings}


def test_a_lie_far_from_its_truth_is_found_across_chunks(tmp_path: Path) -> None:
    """A hold released 3,000 entries later; a total with a peer that was another one chunk before."""
    path = tmp_path / "far.ogwl"
    author = write(path, 1500)
    forge = Forge.of(author, path)
    opening, last = forge.find(OPEN), len(forge.records) - 1
    assert seen(forge) == set()
    moved = forge.records.pop(opening + 1)
    assert moved.entry.kind == SETTLE
    forge.records.append(moved)
    forge.rechain(opening + 1)
    codes = seen(forge)
    assert "E_NOOPEN" not in codes and "E_HOLD" not in codes
    forge.records[-1].half = []
    entry = forge.records[-1].entry
    forge.sign(last, rid=bytes(16))
    assert "E_NOOPEN" in seen(forge)
    forge.sign(last, rid=entry.rid)
    first = 2048  # of its chunk, so only the chunk before knows what must come before it
    forge.sign(first, moved_in=1)
    assert "E_PAIR" in seen(forge)


def test_json_goes_to_a_file_and_words_to_the_terminal(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        done = run("verify", str(exported(ann)), "--json", str(tmp_path / "report.json"))
    assert done.stdout.startswith("VALID")
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "VALID"


def test_prove_says_whom_a_proof_convicts(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        forge = Forge(ann, tmp_path)
        forge.sign(2, taken=7)
        report = json.loads(run("verify", str(forge.save()), "--json").stdout)
        proof = tmp_path / "proof"
        proof.write_bytes(base64.b64decode(report["proofs"][0]["base64"]))
        done = run("prove", str(proof))
        assert done.returncode == 3
        assert done.stdout.startswith("FRAUD PROVEN: F2-history")
        assert base32(ann.id) in done.stdout


def test_a_sample_says_what_it_left_out_and_is_not_certified(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        for _ in range(5):
            ann.ask(bob)
        path = str(exported(ann))
    done = run("verify", path, "--sample", "3")
    assert done.returncode == 0 and "all but one entry in 3" in done.stdout
    key, out = str(tmp_path / "key"), tmp_path / "certificate"
    done = run("certify", path, "--sample", "3", "--key", key, "--out", str(out))
    assert "No certificate" in done.stdout and not out.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"quorums": 1}',
        '{"quorum": -1}',
        '{"witnesses": ["x"]}',
        '{"witnesses": [], "quorum": "4"}',
    ],
)
def test_a_policy_with_a_mistake_is_wrong_usage(tmp_path: Path, text: str) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(text)
    done = run("verify", str(tmp_path / "none"), "--policy", str(policy))
    assert done.returncode == 64
    assert "policy.json" in done.stderr or "must be" in done.stderr


def test_the_second_verifier_says_when_it_is_used_wrongly() -> None:
    if NODE is None:
        pytest.skip("the second verifier needs Node.js, which is not installed")
    for arguments in ([], ["--nonsense"], ["a", "b"]):
        done = subprocess.run([NODE, str(VERIFIER), *arguments], capture_output=True, check=False, timeout=30)
        assert done.returncode == 64


def test_the_root_is_that_of_rfc_6962() -> None:
    """The tree hashes of the seven inputs that Certificate Transparency's own tests use."""
    import hashlib

    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    tree = Frontier()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for text in inputs:
        tree.append(hashlib.sha256(b"\0" + bytes.fromhex(text)).digest())
    assert tree.root().hex() == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
