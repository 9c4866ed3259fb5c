"""Witnesses: they cosign what only grows, remember it before they answer, and prove where it did not."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_world import NET, Node, World, world

from opengateway.identity import short
from opengateway.ledger import cosign
from opengateway.ledger.audit import Limits, verify
from opengateway.ledger.audit_export import export_database
from opengateway.ledger.audit_notes import read_note
from opengateway.ledger.audit_policy import Policy
from opengateway.ledger.audit_proof import convicts
from opengateway.ledger.checkpoint import write_note
from opengateway.ledger.cosign import AGAIN_MS, write_request
from opengateway.wire.codec import decode_message, encode_message
from opengateway.wire.witness_messages import AddCheckpoint, Cosigned, NotCosigned, WitnessMessage


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def say(source: Node, target: Node, message: WitnessMessage) -> list[WitnessMessage]:
    """One message as it travels; the answers, after the commit."""
    heard = decode_message(encode_message(message))
    assert isinstance(heard, WitnessMessage)
    sends = target.book.witnessing.hear(source.id, heard)
    target.book.commit()
    assert all(to == source.id for to, _ in sends)
    return [answer for _, answer in sends]


def seek(author: Node, *witnesses: Node) -> list[WitnessMessage]:
    """A round: everything is said until nobody has an answer. What was said."""
    by_id = {one.id: one for one in witnesses}
    waiting = [(author, by_id[to], what) for to, what in author.book.witnessing.seek(list(by_id))]
    author.book.commit()
    said = []
    while waiting:
        source, target, message = waiting.pop(0)
        said.append(message)
        waiting += [(target, source, answer) for answer in say(source, target, message)]
    return said


def grow(author: Node, peer: Node, entries: int) -> None:
    """So many requests, then a checkpoint."""
    for _ in range(entries):
        author.ask(peer)
    author.book.checkpoints.make(now=True)
    author.book.commit()


def cosigners(author: Node) -> set[bytes]:
    return {witness for witness, _, _ in read_note(author.book.witnessing.cosigning.note()).cosigned}


def statuses(said: list[WitnessMessage]) -> list[int]:
    return [message.status for message in said if isinstance(message, NotCosigned)]


def test_witnesses_cosign_a_ledger_that_grows(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    for more in (1, 3, 7, 130):
        grow(ann, bob, more)
        said = seek(ann, bob, cid)
        assert not statuses(said) and len(said) == 4
        assert cosigners(ann) == {bob.id, cid.id}
    seen = bob.book.witnessing.cosigning.seen(ann.id)
    assert seen is not None and seen.size == ann.book.checkpoints.size == 1 + 2 * 141


def test_what_has_not_changed_is_cosigned_again_only_after_minutes(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    grow(ann, bob, 1)
    assert len(seek(ann, bob)) == 2
    assert seek(ann, bob) == []
    lab.clock.pass_ms(AGAIN_MS)
    assert len(seek(ann, bob)) == 2
    [[_, seconds, _]] = read_note(ann.book.witnessing.cosigning.note()).cosigned
    assert seconds == lab.clock() // 1000


def test_who_is_asked_are_those_with_whom_there_is_business_and_few_of_them(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    others = [lab.node(f"other{n}") for n in range(9)]
    grow(ann, bob, 1)
    ann.ask(others[4])
    asked = [to for to, _ in ann.book.witnessing.seek([one.id for one in (*others, bob)])]
    assert len(asked) == 7 and {bob.id, others[4].id} <= set(asked)


def test_a_witness_remembers_after_a_crash_and_the_author_goes_on(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    grow(ann, bob, 3)
    seek(ann, bob)
    ann.crash()
    bob.crash()
    assert cosigners(ann) == {bob.id}
    grow(ann, bob, 2)
    assert not statuses(seek(ann, bob))


def test_what_was_not_committed_was_not_cosigned(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    grow(ann, bob, 1)
    [(_, request)] = ann.book.witnessing.seek([bob.id])
    assert bob.book.witnessing.hear(ann.id, request)
    bob.book.rollback()  # its disk was full
    assert bob.book.witnessing.cosigning.seen(ann.id) is None


def test_an_author_that_forgot_its_witness_is_told_the_size_and_asks_again(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    grow(ann, bob, 3)
    seek(ann, bob)
    store = ann.book._journal.vault.store
    store.put_document("cosigned", bob.id, b"")
    ann.book.commit()
    ann.crash()
    grow(ann, bob, 2)
    said = seek(ann, bob)
    assert statuses(said) == [409] and isinstance(said[-1], Cosigned)
    assert cosigners(ann) == {bob.id}


def requests(ann: Node, stranger: Node) -> dict[str, tuple[AddCheckpoint, int]]:
    """What a witness that cosigned 7 entries of ann's 11 must refuse, and how."""
    identity, prover = ann.identity, ann.book.checkpoints.prover
    root, path = prover.root(0, 11), prover.consistency(7, 11)
    good = write_note(identity, NET, 11, root)
    stray = write_note(stranger.identity, NET, 11, root)

    def made(old: int, with_path: list[bytes], note: str) -> AddCheckpoint:
        return AddCheckpoint(write_request(old, with_path, note))

    return {
        "no request": (AddCheckpoint("hello"), 400),
        "a size with a sign": (AddCheckpoint(f"old +7\n\n{good}"), 400),
        "too many hashes": (made(7, [bytes(32)] * 64, good), 400),
        "a short hash": (AddCheckpoint(f"old 7\n{base64.b64encode(bytes(31)).decode()}\n\n{good}"), 400),
        "no checkpoint": (made(7, path, "nothing\n"), 400),
        "somebody else's": (made(7, path, stray), 404),
        "unsigned": (made(7, path, good.replace("— ", "— x", 1)), 403),
        "from nothing": (made(0, [], good), 409),
        "from elsewhere": (made(5, prover.consistency(5, 11), good), 409),
        "a smaller tree": (made(7, [], write_note(identity, NET, 3, prover.root(0, 3))), 400),
        "a smaller tree from where it is": (
            made(3, [], write_note(identity, NET, 3, prover.root(0, 3))),
            409,
        ),
        "no proof": (made(7, [], good), 422),
        "another root": (made(7, path, write_note(identity, NET, 11, bytes(32))), 422),
    }


@pytest.mark.parametrize(
    "case",
    ["no request", "a size with a sign", "too many hashes", "a short hash", "no checkpoint",
     "somebody else's", "unsigned", "from nothing", "from elsewhere", "a smaller tree",
     "a smaller tree from where it is", "no proof", "another root"],
)  # fmt: skip
def test_a_witness_refuses_what_does_not_continue_and_goes_on_from_where_it_was(
    lab: World, case: str
) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    grow(ann, bob, 3)
    seek(ann, bob)
    grow(ann, bob, 2)
    request, status = requests(ann, cid)[case]
    [answer] = say(ann, bob, request)
    assert isinstance(answer, NotCosigned) and answer.status == status
    assert answer.size == (7 if status in (409, 422) else answer.size)
    assert not bob.book.faults()
    assert not statuses(seek(ann, bob)) and cosigners(ann) == {bob.id}


def test_two_trees_of_one_size_are_a_proof_for_everybody(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    grow(ann, bob, 3)
    seek(ann, bob)
    other = AddCheckpoint(write_request(7, [], write_note(ann.identity, NET, 7, bytes(32))))
    [answer] = say(ann, bob, other)
    assert isinstance(answer, NotCosigned) and answer.status == 409
    [(key, kind, proof)] = bob.book.faults()
    assert (key, kind) == (ann.id, "F6-rewrite") and convicts(proof, None).key == ann.id
    assert cid.book.proofs.take(proof) == ann.id
    [again] = say(ann, bob, other)
    assert isinstance(again, NotCosigned) and again.status == 403


def test_a_proof_of_consistency_with_another_tree_is_a_proof_of_the_rewrite(lab: World) -> None:
    """A second life of ann's key, longer than the first, and an honest proof within it."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    grow(ann, bob, 3)
    seek(ann, bob)
    ann.book.close()
    for path in ann.path.parent.iterdir():
        path.unlink()
    lab.clock.pass_ms(1000)
    ann.book = ann._open()
    grow(ann, cid, 8)
    path = ann.book.checkpoints.prover.consistency(7, ann.book.checkpoints.size)
    request = AddCheckpoint(write_request(7, path, ann.book.checkpoints.latest()))
    [answer] = say(ann, bob, request)
    assert isinstance(answer, NotCosigned) and answer.status == 422
    [(key, kind, proof)] = bob.book.faults()
    assert (key, kind) == (ann.id, "F6-rewrite") and cid.book.proofs.take(proof) == ann.id
    broken = proof[:-1] + bytes([proof[-1] ^ 1])
    with pytest.raises(ValueError, match="contradict"):
        convicts(broken, None)


def test_a_full_witness_takes_those_whom_it_knows(lab: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosign, "STRANGERS", 1)
    ann, bob, cid, dan = (lab.node(name) for name in ("ann", "bob", "cid", "dan"))
    grow(ann, cid, 1)
    seek(cid, bob)
    assert statuses(seek(dan, bob)) == [403]
    bob.ask(ann)
    assert not statuses(seek(ann, bob))


def test_a_read_only_witness_cosigns_nothing(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    grow(ann, bob, 1)
    [(_, request)] = ann.book.witnessing.seek([bob.id])
    bob.book._journal.vault.damage = "something is wrong"
    with pytest.raises(Exception, match="something is wrong"):
        bob.book.witnessing.hear(ann.id, request)


def test_a_cosignature_by_somebody_else_or_of_something_else_is_not_kept(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    grow(ann, bob, 1)
    [(_, request)] = ann.book.witnessing.seek([bob.id])
    [answer] = say(ann, bob, request)
    assert isinstance(answer, Cosigned)
    say(cid, ann, answer)
    say(bob, ann, Cosigned("nonsense\n"))
    say(bob, ann, Cosigned(answer.line + "— x\n"))
    grow(ann, bob, 1)
    say(bob, ann, answer)  # it is under the one before
    assert not cosigners(ann)


def test_an_export_carries_the_cosignatures_and_passes_a_policy_that_wants_them(lab: World) -> None:
    ann, *witnesses = (lab.node(name) for name in ("ann", "bob", "cid", "dan"))
    grow(ann, witnesses[0], 3)
    seek(ann, *witnesses)
    grow(ann, witnesses[0], 1)  # a newer checkpoint, which nobody has cosigned yet
    live, stored = lab.home / "live.ogwl", lab.home / "stored.ogwl"
    live.write_bytes(ann.export())
    export_database(ann.path, stored)
    for path in (live, stored):
        trusted = frozenset[bytes](one.id for one in witnesses)
        report = verify(path, limits=Limits(now_ms=lab.clock(), policy=Policy(trusted, 3)))
        assert report.exit == 0, report.findings
        assert sorted((size, quorum) for size, _, _, quorum in report.checkpoints) == [(7, True), (9, False)]
        assert any("after entry 6" in line for line in report.not_checked)
        report = verify(path, limits=Limits(now_ms=lab.clock(), policy=Policy(trusted, 4)))
        assert {found.code for found in report.findings} == {"E_QUORUM"} and report.exit == 2


def test_people_see_who_cosigned(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    grow(ann, bob, 1)
    assert ann.book.witnessing.facts()["cosigned_by"] == []
    seek(ann, bob)
    facts = ann.book.witnessing.facts()
    assert (facts["checkpoint"], facts["cosigned_by"]) == (3, [short(bob.id)])
    assert bob.book.witnessing.facts()["watching"] == 1
