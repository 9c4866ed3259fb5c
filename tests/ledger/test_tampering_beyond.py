"""Falsifications that show only beside something else: vouchers, transfers, checkpoints, certificates, other
ledgers. The numbers are those of the list in LEDGER.md; test_tampering.py has the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from ledger_forge import EARN, OPEN, SETTLE, Forge, flipped
from ledger_second import second_opinion
from ledger_world import NET, START_MS, Node, World, world

from opengateway.identity import Identity, base32, network_id
from opengateway.ledger.audit import Limits, verify, verify_pair
from opengateway.ledger.audit_certificate import certify
from opengateway.ledger.audit_net import Ring, find_rings, verify_net
from opengateway.ledger.audit_policy import read_policy
from opengateway.ledger.audit_proof import convicts, proof_of
from opengateway.ledger.entry import ADJ, ROTATE, ZERO32, Terms, leaf_of, sign
from opengateway.ledger.findings import Report
from opengateway.ledger.voucher import Voucher, sign_voucher
from opengateway.units import CREDIT

NOW = Limits(now_ms=START_MS + 86_400_000)
WITNESSES = [Identity(bytes([n]) * 32) for n in range(1, 6)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("beyond")) as made:
        ann, bob = made.node("ann"), made.node("bob")
        for _ in range(6):
            ann.ask(bob)
            bob.ask(ann)
        yield made


@pytest.fixture
def forge(place: World, tmp_path: Path) -> Forge:
    return Forge(place.nodes[0], tmp_path)


def audit(forge: Forge, notes: tuple[str, ...] = (), policy: dict[str, Any] | None = None) -> Report:
    """By both verifiers, which must agree."""
    path, options = forge.save(), []
    files = []
    for place, note in enumerate(notes):
        files.append(path.with_name(f"note{place}"))
        files[-1].write_text(note)
        options += ["--checkpoint", str(files[-1])]
    limits = NOW
    if policy is not None:
        rules = path.with_name("policy.json")
        rules.write_text(json.dumps(policy))
        options += ["--policy", str(rules)]
        limits = NOW._replace(policy=read_policy(rules))
    report = verify(path, checkpoints=files, limits=limits)
    second_opinion(path, report, *options)
    return report


def expect(report: Report, code: str, exit_code: int) -> None:
    assert code in {finding.code for finding in report.findings}, report.findings[:5]
    assert report.exit == exit_code


def test_07b_a_cut_tail_behind_a_cosigned_checkpoint(forge: Forge) -> None:
    note = forge.note(len(forge.records), *WITNESSES)
    assert audit(forge, (note,)).exit == 0
    while forge.records[-1].entry.kind != EARN or len(forge.records) > 15:
        forge.records.pop()
    expect(audit(forge, (note,)), "E_BEHIND", 4)


def test_05b_a_deleted_entry_signed_again_has_another_root_than_the_checkpoint(forge: Forge) -> None:
    note = forge.note(len(forge.records) - 1, *WITNESSES)
    gone = forge.find(EARN)
    del forge.records[gone]
    forge.rechain(gone)
    expect(audit(forge, (note,)), "E_ROOT", 2)


def test_a_checkpoint_of_the_same_key_in_another_network_is_not_of_this_ledger(forge: Forge) -> None:
    note = forge.note(len(forge.records), *WITNESSES, net=network_id("another network"))
    expect(audit(forge, (note,)), "E_CHECKPOINT", 2)
    forge.notes = [note]
    expect(audit(forge), "E_CHECKPOINT", 2)


def test_35b_a_hidden_debt_shows_in_the_checkpoint(forge: Forge) -> None:
    size = len(forge.records) - 2
    forge.notes = [forge.note(size)]
    at = forge.find(OPEN)
    rid = forge.records[at].entry.rid
    forge.records = [record for record in forge.records if record.entry.rid != rid]
    forge.rechain(at)
    expect(audit(forge), "E_ROOT", 2)


def test_checkpoints_of_any_size_fit_an_honest_ledger(forge: Forge) -> None:
    forge.notes = [forge.note(size, WITNESSES[0]) for size in range(1, len(forge.records) + 1)]
    report = audit(forge)
    assert (report.exit, report.findings) == (0, [])
    assert len(report.checkpoints) == len(forge.records)


def test_36_a_checkpoint_that_its_author_did_not_sign(forge: Forge) -> None:
    note = forge.note(10, *WITNESSES)
    head, mark, tail = note.partition("\n— ")
    place = tail.index(" ") + 20
    bad = head + mark + tail[:place] + ("A" if tail[place] != "A" else "B") + tail[place + 1 :]
    expect(audit(forge, (bad,)), "E_CHECKPOINT", 2)
    expect(audit(forge, ("nothing\n",)), "E_CHECKPOINT", 2)


def test_36b_a_checkpoint_without_the_quorum_that_the_policy_wants(forge: Forge) -> None:
    policy = {"witnesses": [base32(one.node_id) for one in WITNESSES], "quorum": 4}
    size = len(forge.records)
    assert audit(forge, (forge.note(size, *WITNESSES[:4]),), policy).exit == 0
    expect(audit(forge, (forge.note(size, *WITNESSES[:3]),), policy), "E_QUORUM", 2)
    strangers = [Identity.generate() for _ in range(5)]
    expect(audit(forge, (forge.note(size, *strangers),), policy), "E_QUORUM", 2)
    expect(audit(forge, (), policy), "E_QUORUM", 2)


def test_36c_a_cosignature_that_is_not_its_witnesss(forge: Forge) -> None:
    note, other = forge.note(10, WITNESSES[0]), forge.note(11, WITNESSES[0])
    mixed = note[: note.rindex("— ")] + other[other.rindex("— ") :]
    expect(audit(forge, (mixed,)), "E_COSIG", 2)


def test_a_checkpoint_of_somebody_else_is_none_of_this_ledger(forge: Forge, place: World) -> None:
    other = Forge(place.nodes[1], forge.path.parent)
    expect(audit(forge, (other.note(5),)), "E_CHECKPOINT", 2)


def test_36d_two_checkpoints_of_one_size_prove_a_rewrite(forge: Forge) -> None:
    report = audit(forge, (forge.note(10), forge.note(10, root=bytes(32))))
    expect(report, "E_CONFLICT", 3)
    kind, proof = report.proofs[0]
    assert convicts(proof, None)[:2] == (kind, forge.author.node_id) == ("F6-rewrite", forge.author.node_id)
    forge.proofs = [proof]
    assert audit(forge).exit == 0


def test_40_a_witness_that_cosigns_two_roots_is_convicted(forge: Forge) -> None:
    bad = WITNESSES[2]
    report = audit(forge, (forge.note(10, bad), forge.note(10, bad, root=bytes(32))))
    expect(report, "E_EQUIVOCATION", 3)
    proof = dict(report.proofs)["F7-witness"]
    assert convicts(proof, None).key == bad.node_id
    forge.proofs = [proof]
    assert audit(forge).exit == 0
    forge.proofs = [flipped(proof, len(proof) - 100)]
    expect(audit(forge), "E_PROOF", 2)


def voucher(forge: Forge, at: int, by: Identity, more: int = 0) -> list[bytes]:
    """For the request that the entry at `at` ends, over that much more than it settles."""
    end = forge.records[at].entry
    signed = sign_voucher(by, Voucher(end.link, 1, end.completion_tokens, end.amount + more, end.t_ms))
    return [signed.body, signed.signature]


def test_37_a_settle_below_a_voucher_is_proven(forge: Forge) -> None:
    at = forge.find(SETTLE)
    forge.vouchers = [voucher(forge, at, forge.author)]
    assert audit(forge).exit == 0
    forge.vouchers = [voucher(forge, at, forge.author, 100)]
    report = audit(forge)
    expect(report, "E_UNDERSETTLE", 3)
    kind, proof = report.proofs[0]
    assert convicts(proof, NET)[:2] == (kind, forge.author.node_id)
    assert len(proof) < 1000


def test_37b_a_counterparty_that_settled_below_its_voucher_is_proven(forge: Forge, place: World) -> None:
    settle = forge.records[forge.find(EARN)].other
    bob = place.nodes[1].identity
    signed = sign_voucher(
        bob, Voucher(settle.link, 1, settle.completion_tokens, settle.amount + 1, settle.t_ms)
    )
    forge.vouchers = [[signed.body, signed.signature]]
    expect(audit(forge), "E_UNDERSETTLE", 3)


def test_37c_a_voucher_by_somebody_else_is_found(forge: Forge) -> None:
    forge.vouchers = [voucher(forge, forge.find(SETTLE), Identity.generate())]
    expect(audit(forge), "E_VOUCHER", 2)
    forge.vouchers = [[b"no", b"voucher"]]
    expect(audit(forge), "E_VOUCHER", 2)


def vanished(tmp_path: Path, here: World) -> tuple[Node, Node, Forge]:
    """Bob vouched for an answer of Ann's and was never seen again; Ann earned by its voucher."""
    ann, bob = here.node("ann"), here.node("bob")
    rid, opening = bob.open(ann, most=200)
    ann.admit(opening, bob)
    voucher = bob.book.vouch(rid, prompt_tokens=10, completion_tokens=64)
    bob.book.commit()
    ann.book.vouched(voucher, bob.id)
    ann.book.delivered(rid, bob.id, 10, 100)
    ann.book.commit()
    here.clock.pass_ms(16 * 60_000)
    ann.book.commit()
    ann.book.commit()
    return ann, bob, Forge(ann, tmp_path)


def test_an_earn_by_voucher_is_valid_with_its_voucher_and_its_open(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob, forge = vanished(tmp_path, here)
        report = audit(forge)
        assert (report.exit, report.findings) == (0, [])
        assert report.checked["vouchers"] == 1
        files = tmp_path / "a.ogwl", tmp_path / "b.ogwl"
        files[0].write_bytes(ann.export())
        files[1].write_bytes(bob.export())
        found = verify_pair(*files, limits=NOW)
        assert {finding.code for finding in found.between.findings} == {"W_INFLIGHT"}
        assert found.exit == 1


@pytest.mark.parametrize(
    ("part", "code"), [(0, "E_PEERFORMAT"), (1, "E_PEERSIG"), (2, "E_PEERFORMAT"), (3, "E_PEERSIG")]
)
def test_a_flipped_bit_beside_an_earn_by_voucher(tmp_path: Path, part: int, code: str) -> None:
    with world(tmp_path) as here:
        forge = vanished(tmp_path, here)[2]
        record = forge.records[forge.find(EARN)]
        record.half[part] = flipped(record.half[part], 0)
        expect(audit(forge), code, 2)


def test_an_earn_by_voucher_over_more_than_the_voucher(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        forge = vanished(tmp_path, here)[2]
        at = forge.find(EARN)
        entry = forge.records[at].entry
        forge.sign(at, completion_tokens=100, amount=entry.amount + 36 * 100)
        forge.rechain(at)
        expect(audit(forge), "E_MISMATCH", 2)


def test_41_a_ledger_rolled_back_behind_its_own_certificate(forge: Forge) -> None:
    auditor = Identity.generate()
    whole = verify(forge.save(), limits=NOW)
    certificate = forge.path.with_name("certificate")
    certificate.write_bytes(certify(whole, auditor))
    again = verify(forge.path, since=certificate, limits=NOW)
    assert again.exit == 0 and again.signatures == 0
    assert again.subject.root == whole.subject.root and again.totals == whole.totals
    while forge.records[-1].entry.kind != EARN or len(forge.records) > 15:
        forge.records.pop()
    expect(verify(forge.save(), since=certificate, limits=NOW), "E_ROLLBACK", 4)


def test_41b_a_history_rewritten_before_its_certificate(forge: Forge) -> None:
    certificate = forge.path.with_name("certificate")
    certificate.write_bytes(certify(verify(forge.save(), limits=NOW), Identity.generate()))
    at = forge.find(SETTLE)
    forge.sign(at, t_ms=forge.records[at].entry.t_ms + 1)
    forge.rechain(at)
    expect(verify(forge.save(), since=certificate, limits=NOW), "E_CERTIFIED", 2)
    data = certificate.read_bytes()
    certificate.write_bytes(flipped(data, len(data) // 2))
    expect(verify(forge.path, since=certificate, limits=NOW), "E_CERTIFICATE", 2)


def test_after_a_certificate_only_what_is_new_is_checked(place: World, tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        before = Forge(ann, tmp_path)
        certificate = tmp_path / "certificate"
        certificate.write_bytes(certify(verify(before.path, limits=NOW), Identity.generate()))
        ann.ask(bob)
        forge = Forge(ann, tmp_path)
        report = verify(forge.path, since=certificate, limits=NOW)
        assert (report.exit, report.checked["signatures"]) == (0, 2)
        forge.records[-1].half[1] = flipped(forge.records[-1].half[1], 5)
        expect(verify(forge.save(), since=certificate, limits=NOW), "E_PEERSIG", 2)


def node(n: int) -> bytes:
    return bytes([n]) * 32


def test_42_a_ring_is_reported_with_what_it_can_spend() -> None:
    """Five identities sign receipts for each other; together they served the others 100 credits' worth."""
    service = {(node(a), node(b)): 1000 * CREDIT for a in range(5) for b in range(5) if a != b}
    for a in range(10, 20):
        service[node(a), node(10 + (a - 9) % 10)] = 200 * CREDIT
    service[node(0), node(10)] = 100 * CREDIT
    service[node(11), node(1)] = 50 * CREDIT
    found = find_rings(service, {(node(0), node(10)): 100 * CREDIT})
    ring: Ring = found[0]
    assert ring.members == tuple(map(node, range(5)))
    assert (ring.inside, ring.outside) == (20_000 * CREDIT, 100 * CREDIT)
    assert ring.spendable == (100 + 25 + 10 * 200) * CREDIT


def test_42b_a_ring_among_real_ledgers_is_no_verdict(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ring = [here.node(name) for name in ("r1", "r2")]
        honest = [here.node(name) for name in ("ann", "bob", "cid")]
        for _ in range(6):
            ring[0].ask(ring[1], completion=200)
            ring[1].ask(ring[0], completion=200)
        for one, other in zip(honest, honest[1:] + honest[:1], strict=True):
            one.ask(other)
        honest[0].ask(ring[0], completion=1)
        for one in here.nodes:
            (tmp_path / f"{one.path.parent.name}.ogwl").write_bytes(one.export())
        found = verify_net(tmp_path, limits=NOW)
        assert found.exit == 0
        assert {ring[0].id, ring[1].id} in [set(one.members) for one in found.rings]


def test_a_fork_shown_to_two_others_is_found_across_ledgers(tmp_path: Path) -> None:
    """Bob's two entries for one place are each in another ledger, and in none of his own."""
    with world(tmp_path) as here:
        ann, bob, cid = (here.node(name) for name in ("ann", "bob", "cid"))
        ann.ask(bob)
        cid.ask(bob)
        first, second = Forge(ann, tmp_path), Forge(cid, tmp_path)
        seq = first.records[-1].other.seq
        second.sign_half(len(second.records) - 1, bob.identity, seq=seq)
        folder = tmp_path / "net"
        folder.mkdir()
        for name, forge in (("ann", first), ("cid", second)):
            forge.path = folder / f"{name}.ogwl"
            forge.save()
        found = verify_net(folder, limits=NOW)
        assert [finding.code for finding in found.between.findings] == ["E_FORK"]
        assert found.exit == 3
        assert convicts(found.between.proofs[0][1], NET).key == bob.id


def test_43_an_answer_faster_than_any_hardware_is_a_warning(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob, completion=100_000)
        expect(audit(Forge(ann, tmp_path)), "W_RATE", 1)
    with world(tmp_path / "slow") as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob, completion=500)
        forge = Forge(ann, tmp_path)
        assert audit(forge).exit == 0
        expect(audit(forge, policy={"tokens_per_s": 100}), "W_RATE", 1)


def test_a_price_above_the_policys_cap(forge: Forge) -> None:
    expect(audit(forge, policy={"price_cap": 99}), "E_PRICE", 2)
    expect(audit(forge, policy={"credit_limit": 0}), "E_LIMIT", 2)


def test_an_omitted_debt_is_proven_by_the_settle_and_a_later_entry(forge: Forge) -> None:
    at = forge.find(SETTLE)
    settle = forge.records[at]
    later = forge.find(SETTLE, at + 1)
    forge.sign(later, consumed=0)
    pieces = [(one.body, one.signature) for one in (settle, forge.records[later])]
    proof = proof_of("F8-repudiation", *pieces)
    assert convicts(proof, None)[:2] == ("F8-repudiation", forge.author.node_id)
    with pytest.raises(ValueError, match="does not omit"):
        convicts(proof_of("F8-repudiation", pieces[1], pieces[0]), None)


def test_a_flipped_byte_in_a_proof_proves_nothing(forge: Forge) -> None:
    at = forge.find(EARN)
    first = forge.records[at]
    body, signature = first.body, first.signature
    forge.sign(at, rid=bytes(16))
    second = forge.records[at]
    proof = proof_of("F1-fork", (body, signature), (second.body, second.signature))
    assert convicts(proof, None).kind == "F1-fork"
    for place in range(0, len(proof), 7):
        with pytest.raises(ValueError):
            convicts(flipped(proof, place), NET)
    assert leaf_of(body) != leaf_of(second.body) and cbor2.loads(proof)[1] == "F1-fork"


def rotated(forge: Forge, recovery: Identity, **changes: Any) -> None:
    """The chain with a GENESIS that commits to `recovery`, and a ROTATE to a new key as its last entry."""
    commitment = hashlib.sha256(recovery.node_id).digest()
    del forge.records[1:]
    forge.sign(0, link=commitment)
    genesis = forge.records[0]
    entry = genesis.entry._replace(
        kind=ROTATE, seq=1, prev=leaf_of(genesis.body), peer=Identity(b"n" * 32).node_id, link=commitment
    )
    signed = sign(forge.author, entry._replace(**changes))
    beside = [recovery.node_id, recovery.sign(b"OGW1 rotate\n" + signed.leaf)]
    forge.records.append(type(genesis)(signed.body, signed.signature, beside))


def test_39_a_wrong_rotate(forge: Forge) -> None:
    """Of a lost key it must be impossible to give away the chain without the recovery key."""
    recovery, thief = Identity(b"r" * 32), Identity(b"t" * 32)
    rotated(forge, recovery)
    report = audit(forge)
    assert (report.exit, report.findings) == (0, [])
    right = list(forge.records[1].half)
    thiefs = [thief.node_id, thief.sign(b"OGW1 rotate\n" + leaf_of(forge.records[1].body))]
    for beside in (
        [],
        thiefs,
        [right[0], thiefs[1]],
        [thiefs[0], right[1]],
        [right[0], flipped(right[1], 3)],
    ):
        forge.records[1].half = beside
        expect(audit(forge), "E_ROTATE", 2)
    rotated(forge, recovery, link=hashlib.sha256(thief.node_id).digest())
    expect(audit(forge), "E_ROTATE", 2)
    rotated(forge, recovery, hold=1)
    assert audit(forge).exit == 2


def test_39b_an_entry_after_the_key_was_given_up(forge: Forge, place: World) -> None:
    rotated(forge, Identity(b"r" * 32))
    last = forge.records[-1]
    terms = Terms("m", 1, 1, 1, 1, hold=2)
    entry = forge.records[0].entry._replace(
        kind=OPEN, seq=2, prev=leaf_of(last.body), rid=b"r" * 16, peer=place.nodes[1].id, link=ZERO32, held=2
    )
    signed = sign(forge.author, entry._replace(**terms._asdict()))
    forge.records.append(type(last)(signed.body, signed.signature, []))
    expect(audit(forge), "E_ROTATE", 2)


def transferred(tmp_path: Path, here: World) -> Forge:
    """Vic owed Bob, and owes Ann instead: two legs on Vic's chain."""
    ann, bob, vic = (here.node(name) for name in ("ann", "bob", "vic"))
    bob.ask(ann)
    vic.ask(bob)
    forge = Forge(vic, tmp_path)
    last = forge.records[-1].entry
    tid, link = b"t" * 16, b"l" * 32
    bare = last._replace(**Terms()._asdict(), rid=tid, link=link, digest=ZERO32, kind=ADJ)
    into = bare._replace(seq=last.seq + 1, prev=leaf_of(forge.records[-1].body), amount=500, moved_in=500)
    first = sign(forge.author, into)
    nothing = {"served": 0, "consumed": 0, "moved_in": 0, "moved_out": 500}
    out = bare._replace(seq=last.seq + 2, prev=first.leaf, peer=ann.id, hold=500, **nothing)
    second = sign(forge.author, out)
    head = Forge(bob, tmp_path / "..").records[-1]
    gives = bare._replace(
        author=bob.id, peer=vic.id, seq=head.entry.seq + 9, hold=500, given=head.entry.given,
        taken=head.entry.taken, held=0, served=last.consumed, consumed=0, moved_out=500, t_ms=last.t_ms + 5,
    )  # fmt: skip
    half = sign(bob.identity, gives)
    record = type(head)
    forge.records.append(record(first.body, first.signature, [half.body, half.signature]))
    forge.records.append(record(second.body, second.signature, []))
    return forge


def test_38_legs_of_a_transfer_that_do_not_cancel(tmp_path: Path) -> None:
    with world(tmp_path / "nodes") as here:
        forge = transferred(tmp_path, here)
        report = audit(forge)
        assert (report.exit, report.findings) == (0, [])
        last = len(forge.records) - 1
        forge.sign(last, hold=499, moved_out=499)
        report = audit(forge)
        expect(report, "E_LEGS", 3)
        assert convicts(report.proofs[0][1], NET)[:2] == ("F4-transfer", forge.author.node_id)
        outgoing = forge.records.pop()
        expect(audit(forge), "E_LEGS", 2)
        forge.records.append(outgoing)
        forge.sign(last, hold=500, moved_out=500)
        forge.records[-2].half = []
        expect(audit(forge), "W_NOCOUNTER", 1)


def test_38b_a_leg_that_its_creditor_did_not_give_up(tmp_path: Path) -> None:
    with world(tmp_path / "nodes") as here:
        forge = transferred(tmp_path, here)
        forge.sign_half(len(forge.records) - 2, here.nodes[1].identity, hold=400, moved_out=400)
        expect(audit(forge), "E_MISMATCH", 2)
