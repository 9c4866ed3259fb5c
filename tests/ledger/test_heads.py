"""Heads: what everybody announces of its ledger is held against what was seen of it before."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_second import second_opinion
from ledger_world import NET, Node, World, world

from opengateway.errors import NotEnoughCredit
from opengateway.identity import network_id
from opengateway.ledger import heads as heads_module
from opengateway.ledger.audit import verify
from opengateway.ledger.audit_notes import key_hash
from opengateway.ledger.audit_proof import convicts
from opengateway.ledger.checkpoint import write_note
from opengateway.ledger.cosign import cosign_line, write_request
from opengateway.ledger.heads import EVERY_MS, read_tree
from opengateway.ledger.trees import LOOSE
from opengateway.wire import cbor
from opengateway.wire.codec import decode_message, encode_message
from opengateway.wire.witness_messages import AddCheckpoint, Cosigned, Head, NotCosigned


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def announce(author: Node, everybody: list[Node]) -> Head | None:
    """The head that the author announces after 10 s more, if it does."""
    author.clock.pass_ms(EVERY_MS)
    sends = author.book.witnessing.announce([one.id for one in everybody])
    author.book.commit()
    assert len(sends) in (0, len(everybody))
    for _, head in sends:
        assert isinstance(head, Head) and decode_message(encode_message(head)) == head
        return head
    return None


def hear(listener: Node, *heads: Head | None, source: Node | None = None) -> list[Head]:
    """What is news to it; refusals are counted there."""
    told = [(source.id if source else listener.id, head) for head in heads if head is not None]
    found = listener.book.witnessing.heard(told)
    listener.book.commit()
    listener.refused = found.refused  # type: ignore[attr-defined]
    return [head for _, head in found.news]


def refusals(listener: Node) -> dict[str, int]:
    return dict(listener.refused)  # type: ignore[attr-defined]


def cosign(author: Node, witness: Node) -> str:
    """Asks until there is an answer that is not about where to begin; the statuses on the way."""
    way = ""
    request = author.book.witnessing.cosigning.request(witness.id)
    while request is not None:
        [(_, answer)] = witness.book.witnessing.hear(author.id, request)
        witness.book.commit()
        if isinstance(answer, Cosigned):
            author.book.witnessing.hear(witness.id, answer)
            author.book.commit()
            return way + "cosigned"
        assert isinstance(answer, NotCosigned)
        way += f"{answer.status} "
        again = author.book.witnessing.hear(witness.id, answer)
        request = again[0][1] if again and isinstance(again[0][1], AddCheckpoint) else None
    return way.strip()


def second_life(node: Node) -> None:
    """The same key begins another ledger."""
    node.book.close()
    for path in node.path.parent.iterdir():
        path.unlink()
    node.clock.pass_ms(1000)
    node.book = node._open()


def test_a_ledger_that_grew_is_announced_and_one_that_did_not_is_not(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    assert announce(ann, [bob]) is None, "the entry that every ledger begins with is no news"
    ann.ask(bob)
    first = announce(ann, [bob])
    assert first is not None and (first.old, read_tree(first.note, NET).size) == (0, 3)
    assert announce(ann, [bob]) is None
    ann.ask(bob)
    second = announce(ann, [bob])
    assert second is not None and (second.old, read_tree(second.note, NET).size) == (3, 5)
    assert hear(bob, first) == [first] and hear(bob, second) == [second]
    assert hear(bob, first, second) == [], "they are no news any more"


def test_announcements_are_gathered_and_are_fewer_where_many_are_heard_of(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    assert announce(ann, [bob])
    ann.ask(bob)
    ann.book.witnessing.announce([bob.id])
    assert ann.book.witnessing.announce([bob.id]) == []
    crowd = ann.book.witnessing.heads._heard_ms
    crowd.update({n.to_bytes(32, "big"): lab.clock() for n in range(400)})
    assert ann.book.witnessing.heads._every_ms(lab.clock()) == 80_000
    lab.clock.pass_ms(3_600_000)
    assert ann.book.witnessing.heads._every_ms(lab.clock()) == EVERY_MS


def test_a_new_peer_is_told_how_far_the_ledger_is(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    head = announce(ann, [bob])
    told = [message for _, message in ann.book.witnessing.met(bob.id) if isinstance(message, Head)]
    assert head is not None and [one.note for one in told] == [head.note]


@pytest.mark.parametrize("spoil", ["text", "signature", "line", "path", "size", "nothing"])
def test_what_is_no_head_is_refused_and_counted(lab: World, spoil: str) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    head = announce(ann, [bob])
    assert head is not None
    note = head.note
    bad = {
        "text": note.replace("\n3\n", "\n4\n", 1),
        "signature": note[:-9] + ("AAAA" if note[-9:-5] != "AAAA" else "BBBB") + note[-5:],
        "line": note.replace("\n\n", "\nmore\n\n", 1),
        "size": note.replace("\n3\n", "\n03\n", 1),
        "nothing": "",
    }.get(spoil, note)
    path = head.path + b"x" if spoil == "path" else head.path
    assert hear(bob, Head(bad, head.old, path)) == []
    assert refusals(bob) == {"head": 1}
    assert not bob.book.faults()
    assert hear(bob, head) == [head], "the real one is heard all the same"


def test_cosignatures_travel_with_a_head_and_false_ones_do_not(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    head = announce(ann, [bob])
    assert head is not None
    good = cosign_line(cid.identity, read_tree(head.note, NET), 5)
    false = good.replace(cid.id.hex(), bob.id.hex())
    [passed] = hear(bob, Head(head.note + good + false, 0, b""))
    assert passed.note == head.note + good


class Forker:
    """ann shows bob one history and cid another, of which the first `same` entries are the same."""

    def __init__(self, lab: World, ours: int, theirs: int) -> None:
        self.lab = lab
        self.ann, self.bob, self.cid, self.dan = (lab.node(name) for name in ("ann", "bob", "cid", "dan"))
        for _ in range(ours):
            self.ann.ask(self.bob)
        self.here = announce(self.ann, [self.bob])
        self.request = self.ann.book.witnessing.cosigning.request(self.bob.id)
        second_life(self.ann)
        for _ in range(theirs):
            self.ann.ask(self.cid)
        self.there = announce(self.ann, [self.cid])


def test_two_trees_of_one_size_are_a_fault_that_everybody_hears_of(lab: World) -> None:
    forker = Forker(lab, 2, 2)
    ann, dan = forker.ann, forker.dan
    assert hear(dan, forker.here) == [forker.here]
    assert hear(dan, forker.there) == []
    assert refusals(dan) == {"fraud": 1}
    [(key, kind, proof)] = dan.book.faults()
    assert (key, kind) == (ann.id, "F6-rewrite")
    assert convicts(proof, None).key == ann.id
    assert hear(dan, forker.here, forker.there) == [] and len(dan.book.faults()) == 1, "told once"
    eve = lab.node("eve")
    assert eve.book.proofs.take(proof) == ann.id


def test_a_forker_is_refused_service_from_then_on(lab: World) -> None:
    forker = Forker(lab, 2, 2)
    hear(forker.dan, forker.here, forker.there)
    with pytest.raises(NotEnoughCredit, match="needs"):
        forker.ann.ask(forker.dan)


def test_both_verifiers_convict_by_what_a_node_found(lab: World) -> None:
    forker = Forker(lab, 2, 2)
    hear(forker.dan, forker.here, forker.there)
    export = lab.home / "dan.ogwl"
    export.write_bytes(forker.dan.export())
    report = verify(export)
    assert report.exit == 0, "a proof in it that proves nothing would be 2"
    second_opinion(export, report)


def test_a_witness_that_cosigned_both_is_convicted_too(lab: World) -> None:
    forker = Forker(lab, 2, 2)
    assert forker.here is not None and forker.there is not None
    one, two = (
        Head(head.note + cosign_line(forker.bob.identity, read_tree(head.note, NET), seconds), 0, b"")
        for head, seconds in ((forker.here, 5), (forker.there, 6))
    )
    hear(forker.dan, one, two)
    found = {kind: (key, proof) for key, kind, proof in forker.dan.book.faults()}
    assert {kind: key for kind, (key, _) in found.items()} == {
        "F6-rewrite": forker.ann.id,
        "F7-witness": forker.bob.id,
    }
    for kind, (key, proof) in found.items():
        assert convicts(proof, None)[:2] == (kind, key)
    with pytest.raises(NotEnoughCredit):
        forker.bob.ask(forker.dan)


def test_a_cosignature_that_is_heard_of_later_convicts_as_well(lab: World) -> None:
    forker = Forker(lab, 2, 2)
    assert forker.here is not None and forker.there is not None
    hear(forker.dan, forker.here)
    hear(
        forker.dan,
        Head(
            forker.here.note + cosign_line(forker.bob.identity, read_tree(forker.here.note, NET), 5), 0, b""
        ),
    )
    hear(
        forker.dan,
        Head(
            forker.there.note + cosign_line(forker.bob.identity, read_tree(forker.there.note, NET), 6), 0, b""
        ),
    )
    assert {kind for _, kind, _ in forker.dan.book.faults()} == {"F6-rewrite", "F7-witness"}


def test_a_witness_does_not_cosign_what_does_not_continue_a_head_that_it_heard(lab: World) -> None:
    forker = Forker(lab, 2, 3)
    hear(forker.cid, forker.here)
    assert cosign(forker.ann, forker.cid) == "409 422"
    assert forker.cid.book.witnessing.cosigning.seen(forker.ann.id) is None


def test_nor_a_smaller_tree_than_it_heard_of(lab: World) -> None:
    forker = Forker(lab, 3, 2)
    hear(forker.cid, forker.here)
    assert cosign(forker.ann, forker.cid).startswith("409")
    assert forker.cid.book.witnessing.cosigning.seen(forker.ann.id) is None


def test_a_proof_that_leads_from_another_tree_convicts(lab: World) -> None:
    forker = Forker(lab, 2, 3)
    hear(forker.cid, forker.here)
    prover = forker.ann.book.checkpoints.prover
    path = prover.consistency(5, 7)
    request = AddCheckpoint(write_request(5, path, forker.ann.book.checkpoints.latest()))
    [(_, answer)] = forker.cid.book.witnessing.hear(forker.ann.id, request)
    forker.cid.book.commit()
    assert isinstance(answer, NotCosigned) and answer.status == 422
    [(key, kind, proof)] = forker.cid.book.faults()
    assert (key, kind) == (forker.ann.id, "F6-rewrite") and convicts(proof, None).key == forker.ann.id


def test_so_does_one_that_is_announced(lab: World) -> None:
    forker = Forker(lab, 2, 3)
    assert forker.there is not None
    path = b"".join(forker.ann.book.checkpoints.prover.consistency(5, 7))
    hear(forker.dan, forker.here, Head(forker.there.note, 5, path))
    assert refusals(forker.dan) == {"fraud": 1}
    assert [kind for _, kind, _ in forker.dan.book.faults()] == ["F6-rewrite"]


def test_an_honest_author_is_cosigned_whatever_order_its_heads_came_in(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    announce(ann, [])
    assert cosign(ann, cid) == "cosigned"
    heads = []
    for _ in range(4):
        ann.ask(bob)
        heads.append(announce(ann, [bob]))
    hear(cid, heads[2], heads[0], heads[1])
    assert cosign(ann, cid).endswith("cosigned")
    trees = cid.book.witnessing.heads.of(ann.id)
    assert list(trees.loose) == [ann.book.checkpoints.size]
    ann.ask(bob)
    announce(ann, [bob])
    assert cosign(ann, cid) == "cosigned", "and without a detour from then on"


def test_heads_that_link_to_each_other_cost_no_detour(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    for _ in range(5):
        ann.ask(bob)
        hear(cid, announce(ann, [cid]))
        assert cosign(ann, cid) == "cosigned"
        ann.ask(bob)
        hear(cid, announce(ann, [cid]))


def test_an_author_whose_heads_cannot_be_linked_fills_only_its_own_place(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    for _ in range(LOOSE + 4):
        ann.ask(bob)
        head = announce(ann, [cid])
        assert head is not None
        hear(cid, Head(head.note, 0, b""))
    assert len(cid.book.witnessing.heads.of(ann.id).loose) == LOOSE
    way = cosign(ann, cid)
    assert way.endswith("cosigned") and way.count("409") == LOOSE, way


def test_keys_that_cost_nothing_do_not_push_out_those_with_accounts(
    lab: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_module, "AUTHORS", 4)
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    hear(bob, announce(ann, [bob]))
    for number in range(20):
        stranger = lab.node(f"stranger{number}")
        stranger.ask(cid)
        hear(bob, announce(stranger, [bob]))
    assert len(bob.book.witnessing.heads) == 4
    assert bob.book.witnessing.heads.newest(ann.id) is not None


def test_what_was_heard_of_somebody_with_an_account_outlives_a_crash(lab: World) -> None:
    forker = Forker(lab, 2, 3)
    hear(forker.bob, forker.here)
    forker.bob.crash()
    assert cosign(forker.ann, forker.bob) == "409 422"


def test_a_node_that_hears_a_head_of_its_own_beyond_its_end_signs_nothing_more(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    for _ in range(3):
        ann.ask(bob)
    head = announce(ann, [bob])
    second_life(ann)
    hear(ann, head, source=cid)
    assert "older copy" in ann.book.damage


def test_and_one_of_another_history_of_its_key_too(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    head = announce(ann, [bob])
    second_life(ann)
    for _ in range(3):
        ann.ask(cid)
    hear(ann, head, source=cid)
    assert "two histories" in ann.book.damage


def test_who_lost_its_ledger_learns_from_anybody_how_far_it_was(lab: World) -> None:
    """Not only from those whom it asked to cosign."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    for _ in range(3):
        ann.ask(bob)
    hear(cid, announce(ann, [cid]))
    second_life(ann)
    question = ann.book.witnessing.recovery.question()
    [(_, answer)] = cid.book.witnessing.hear(ann.id, question)
    ann.book.witnessing.hear(cid.id, answer)
    assert "older copy" in ann.book.damage


def test_one_key_has_a_ledger_in_each_of_two_networks_and_forks_in_none(lab: World) -> None:
    """A member of both shows in one what was signed in the other."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    here = announce(ann, [bob])
    assert hear(bob, here) == [here]
    elsewhere = write_note(ann.identity, network_id("another network"), 3, bytes(32))
    assert hear(bob, Head(elsewhere, 0, b""), source=cid) == []
    assert refusals(bob) == {"head": 1}
    [(_, answer)] = bob.book.witnessing.hear(ann.id, AddCheckpoint(write_request(0, [], elsewhere)))
    assert isinstance(answer, NotCosigned) and (answer.status, answer.reason) == (
        400, "of a ledger in another network",
    )  # fmt: skip
    hear(ann, Head(elsewhere.replace("\n3\n", "\n99\n"), 0, b""), source=bob)
    assert not bob.book.faults() and not ann.book.damage


def without_network(kept: bytes) -> bytes:
    name, without = f"opengateway/{NET.hex()}/".encode(), b"opengateway/"
    if kept.startswith(name):
        return kept.replace(name, without)
    return cbor.encode(
        [one.replace(name, without) if type(one) is bytes else one for one in cbor.decode(kept)]
    )


def test_what_a_former_version_kept_of_trees_is_made_anew(lab: World) -> None:
    """It named no network in its checkpoints."""
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    head = announce(ann, [bob])
    assert cosign(ann, bob) == "cosigned" and hear(bob, head)
    for node, kinds in ((ann, ("checkpoint",)), (bob, ("witnessed", "head"))):
        store = node.book._journal.vault.store
        for kind in kinds:
            for key, value in [one for one in store.documents(kind) if b"opengateway/" in one[1]]:
                store.put_document(kind, key, without_network(value))
        node.book.commit()
        node.crash()
    assert ann.book.checkpoints.latest() == "" and not bob.book.damage
    assert bob.book.witnessing.cosigning.seen(ann.id) is None
    path = ann.path.with_name("old.ogwl")
    path.write_bytes(ann.export())
    assert verify(path).exit <= 1
    assert ann.book.checkpoints.make()
    ann.book.commit()
    assert "cosigned" in cosign(ann, bob)
    path.write_bytes(ann.export())
    assert verify(path).exit <= 1


def test_a_checkpoint_of_more_than_three_lines_is_not_cosigned(lab: World) -> None:
    """Two of them would be a proof that is too long for anybody to take."""
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    ann.book.checkpoints.make(now=True)
    root = ann.book.checkpoints.root
    text = write_note(ann.identity, NET, 3, root).rpartition("\n\n")[0]
    long = f"{text}\n{'x' * 2000}\n"
    name = f"opengateway/{NET.hex()}/{ann.id.hex()}"
    signature = key_hash(name, 1, ann.id) + ann.identity.sign(long.encode())
    note = f"{long}\n— {name} {b64encode(signature).decode()}\n"
    [(_, answer)] = bob.book.witnessing.hear(ann.id, AddCheckpoint(write_request(0, [], note)))
    assert isinstance(answer, NotCosigned) and answer.status == 400


def test_a_tree_that_was_cosigned_first_is_news_all_the_same_when_it_is_announced(lab: World) -> None:
    """Both leave its author in one moment, and the request is answered first."""
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    head = announce(ann, [bob])
    assert cosign(ann, bob) == "cosigned"
    assert len(hear(bob, head)) == 1
    assert hear(bob, head) == []
