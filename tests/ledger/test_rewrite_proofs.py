"""F6 and F7: what proves that a ledger was rewritten, and what does not; both verifiers agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_second import second_opinion
from ledger_world import NET, Node, World, world

from opengateway.identity import network_id
from opengateway.ledger.audit import Limits, verify
from opengateway.ledger.audit_notes import cosigned_text, read_note
from opengateway.ledger.audit_proof import convicts, proof_of
from opengateway.ledger.checkpoint import write_note
from opengateway.ledger.entry import EntryInvalid
from opengateway.ledger.head import Head, announced, read_head, sign_head
from opengateway.ledger.merkle_proofs import Prover
from opengateway.units import NetworkId

ELSEWHERE = network_id("another network")
F6, F7 = "F6-rewrite", "F7-witness"
Piece = tuple[bytes, bytes]


class Past:
    """A ledger's entries at one time."""

    def __init__(self, node: Node) -> None:
        self.rows = list(node.book._journal.vault.store.rows())
        self.prover = Prover(lambda first, end: [row.leaf for row in self.rows[first:end]])

    def root(self, size: int) -> bytes:
        return self.prover.root(0, size)

    def entry(self, seq: int) -> Piece:
        return self.rows[seq].body, self.rows[seq].signature

    def consistency(self, old: int, size: int) -> bytes:
        return b"".join(self.prover.consistency(old, size))

    def inclusion(self, seq: int, size: int) -> bytes:
        return self.rows[seq].leaf + b"".join(self.prover.inclusion(seq, size))


class Rewriter:
    """ann's key has had two lives: 11 entries, then 19 others."""

    def __init__(self, lab: World) -> None:
        self.lab = lab
        self.ann, self.bob, self.cid = (lab.node(name) for name in ("ann", "bob", "cid"))
        for _ in range(5):
            self.ann.ask(self.bob)
        self.first = Past(self.ann)
        self.ann.book.close()
        for path in self.ann.path.parent.iterdir():
            path.unlink()
        lab.clock.pass_ms(1000)
        self.ann.book = self.ann._open()
        for _ in range(9):
            self.ann.ask(self.cid)
        self.second = Past(self.ann)

    def note(self, size: int, root: bytes, net: NetworkId = NET) -> Piece:
        note = read_note(write_note(self.ann.identity, net, size, root))
        return note.text, note.signature

    def head(self, seq: int, leaf: bytes, t_ms: int, net: bytes = NET) -> Piece:
        signed = sign_head(self.ann.identity, Head(net, self.ann.id, seq, leaf, t_ms))
        return signed.body, signed.signature

    def cosigned(self, size: int, root: bytes, witness: Node, net: NetworkId = NET) -> Piece:
        text, _ = self.note(size, root, net)
        return text, (5).to_bytes(8, "big") + witness.identity.sign(cosigned_text(5, text))

    def proofs(self) -> dict[str, tuple[bytes, bytes]]:
        """Each with whom it convicts."""
        old, new, ann, cid = self.first, self.second, self.ann.id, self.cid
        leaf = old.rows[4].leaf
        small, large = (7, old.root(7)), (19, new.root(19))
        ahead, behind = self.head(9, old.rows[9].leaf, 5), self.head(3, old.rows[3].leaf, 6)
        return {
            "two roots of one size": (proof_of(F6, self.note(*small), self.note(7, new.root(7))), ann),
            "a tree that does not begin with the other": (
                proof_of(F6, self.note(*small), self.note(*large), new.consistency(7, 19)), ann,
            ),
            "an entry that the tree has not": (
                proof_of(F6, old.entry(4), self.note(*large), new.inclusion(4, 19)), ann,
            ),
            "a head that the tree has not": (
                proof_of(F6, self.head(4, leaf, 5), self.note(*large), new.inclusion(4, 19)), ann,
            ),
            "two heads in one place": (
                proof_of(F6, self.head(4, leaf, 5), self.head(4, new.rows[4].leaf, 5)), ann,
            ),
            "a head and another entry": (proof_of(F6, self.head(4, bytes(32), 5), old.entry(4)), ann),
            "a head that went back": (proof_of(F6, ahead, behind), ann),
            "a head behind an earlier entry": (
                proof_of(F6, old.entry(9), self.head(3, old.rows[3].leaf, 1 << 45)), ann,
            ),
            "a witness under two roots": (
                proof_of(F7, self.cosigned(*small, cid), self.cosigned(7, bytes(32), cid), cid.id), cid.id,
            ),
            "a witness under two trees": (
                proof_of(
                    F7,
                    self.cosigned(*small, cid),
                    self.cosigned(*large, cid),
                    cid.id + new.consistency(7, 19),
                ),
                cid.id,
            ),
        }  # fmt: skip

    def nothing(self) -> dict[str, bytes]:
        """What an honest node may well have signed, and what nobody signed."""
        old, new = self.first, self.second
        ahead = self.head(9, old.rows[9].leaf, 5)
        stranger = sign_head(self.bob.identity, Head(NET, self.ann.id, 4, bytes(32), 5))
        return {
            "one checkpoint twice": proof_of(F6, self.note(7, old.root(7)), self.note(7, old.root(7))),
            "a tree that grew": proof_of(
                F6, self.note(7, new.root(7)), self.note(19, new.root(19)), new.consistency(7, 19)
            ),
            "a consistency proof of something else": proof_of(
                F6, self.note(7, old.root(7)), self.note(19, new.root(19)), old.consistency(7, 11)
            ),
            "a consistency proof made up": proof_of(
                F6, self.note(7, old.root(7)), self.note(19, new.root(19)), bytes(32 * 5)
            ),
            "an entry that is in the tree": proof_of(
                F6, new.entry(4), self.note(19, new.root(19)), new.inclusion(4, 19)
            ),
            "another leaf with no way to the root": proof_of(
                F6, old.entry(4), self.note(19, new.root(19)), bytes(32) + new.inclusion(4, 19)[32:]
            ),
            "an entry beyond the tree": proof_of(
                F6, new.entry(12), self.note(7, new.root(7)), new.inclusion(4, 7)
            ),
            "two entries": proof_of(F6, old.entry(4), new.entry(4)),
            "a head and its entry": proof_of(F6, self.head(4, old.rows[4].leaf, 5), old.entry(4)),
            "an entry signed after a head": proof_of(F6, self.head(3, old.rows[3].leaf, 5), old.entry(9)),
            "a head that went on": proof_of(F6, ahead, self.head(10, old.rows[10].leaf, 6)),
            "two heads of one moment": proof_of(F6, ahead, self.head(3, old.rows[3].leaf, 5)),
            "a head that somebody else signed": proof_of(
                F6, (stranger.body, stranger.signature), old.entry(4)
            ),
            "heads of two networks": proof_of(F6, ahead, self.head(9, bytes(32), 5, ELSEWHERE)),
            "checkpoints of two networks": proof_of(
                F6, self.note(7, old.root(7)), self.note(7, new.root(7), ELSEWHERE)
            ),
            "two checkpoints of another network": proof_of(
                F6, self.note(7, old.root(7), ELSEWHERE), self.note(7, new.root(7), ELSEWHERE)
            ),
            "an entry, and a tree of another network": proof_of(
                F6, old.entry(4), self.note(19, new.root(19), ELSEWHERE), new.inclusion(4, 19)
            ),
            "a witness in two networks": proof_of(
                F7,
                self.cosigned(7, old.root(7), self.cid),
                self.cosigned(7, bytes(32), self.cid, ELSEWHERE),
                self.cid.id,
            ),
            "a witness of two trees in another network": proof_of(
                F7,
                self.cosigned(7, old.root(7), self.cid, ELSEWHERE),
                self.cosigned(7, bytes(32), self.cid, ELSEWHERE),
                self.cid.id,
            ),
            "a witness of a tree that grew": proof_of(
                F7,
                self.cosigned(7, new.root(7), self.cid),
                self.cosigned(19, new.root(19), self.cid),
                self.cid.id + new.consistency(7, 19),
            ),
            "another witness's cosignature": proof_of(
                F7,
                self.cosigned(7, old.root(7), self.cid),
                self.cosigned(7, bytes(32), self.bob),
                self.cid.id,
            ),
        }

    def enclosed(self, proof: bytes) -> Path:
        """dan's ledger with this proof in its trailer, whether or not it proves anything."""
        dan = self.lab.node("dan")
        dan.book._journal.vault.store.add_proof(self.ann.id, "F?", proof)
        dan.book.commit()
        path = self.lab.home / "dan.ogwl"
        path.write_bytes(dan.export())
        return path


@pytest.fixture(scope="module")
def rewriter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rewriter]:
    with world(tmp_path_factory.mktemp("rewriter")) as made:
        yield Rewriter(made)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


PROOFS = (
    "two roots of one size", "a tree that does not begin with the other", "an entry that the tree has not",
    "a head that the tree has not", "two heads in one place", "a head and another entry",
    "a head that went back", "a head behind an earlier entry", "a witness under two roots",
    "a witness under two trees",
)  # fmt: skip
NOTHING = (
    "one checkpoint twice", "a tree that grew", "a consistency proof of something else",
    "a consistency proof made up", "an entry that is in the tree", "another leaf with no way to the root",
    "an entry beyond the tree", "two entries", "a head and its entry", "an entry signed after a head",
    "a head that went on", "two heads of one moment", "a head that somebody else signed",
    "heads of two networks", "checkpoints of two networks", "two checkpoints of another network",
    "an entry, and a tree of another network", "a witness in two networks",
    "a witness of two trees in another network", "a witness of a tree that grew",
    "another witness's cosignature",
)  # fmt: skip


def test_every_case_below_is_one_of_these(rewriter: Rewriter) -> None:
    assert (tuple(rewriter.proofs()), tuple(rewriter.nothing())) == (PROOFS, NOTHING)


@pytest.mark.parametrize("case", PROOFS)
def test_it_convinces_anybody(rewriter: Rewriter, case: str) -> None:
    proof, key = rewriter.proofs()[case]
    assert convicts(proof, NET).key == convicts(proof, None).key == key
    assert len(proof) < 4096


@pytest.mark.parametrize("case", NOTHING)
def test_it_convinces_nobody(rewriter: Rewriter, case: str) -> None:
    with pytest.raises(ValueError):
        convicts(rewriter.nothing()[case], NET)


@pytest.mark.parametrize("case", PROOFS)
def test_one_flipped_bit_and_it_convinces_nobody(rewriter: Rewriter, case: str) -> None:
    proof, _ = rewriter.proofs()[case]
    for place in range(16, len(proof), 7):
        with pytest.raises(ValueError):
            convicts(proof[:place] + bytes([proof[place] ^ 4]) + proof[place + 1 :], NET)


@pytest.mark.parametrize("case", [*PROOFS, *NOTHING])
def test_both_verifiers_agree_on_what_it_proves(lab: World, case: str) -> None:
    made = Rewriter(lab)
    found = {**{name: proof for name, (proof, _) in made.proofs().items()}, **made.nothing()}
    path = made.enclosed(found[case])
    report = verify(path, limits=Limits(now_ms=lab.clock()))
    assert report.exit == (0 if case in PROOFS else 2)
    second_opinion(path, report)


def test_a_head_says_who_where_and_when(rewriter: Rewriter) -> None:
    body, signature = rewriter.head(4, bytes(32), 5)
    signed = read_head(body, signature, NET)
    assert signed.head == Head(NET, rewriter.ann.id, 4, bytes(32), 5) and announced(signed)
    assert not announced(read_head(body, bytes(64), NET))
    assert len(rewriter.head((1 << 62) - 1, bytes(32), (1 << 62) - 1)[0]) == 107


@pytest.mark.parametrize(
    "body",
    [b"", b"\x80", b"\x86" + b"\x00" * 6, Head(NET, bytes(31), 1, bytes(32), 1).body,
     Head(NET, bytes(32), 1 << 62, bytes(32), 1).body, Head(network_id("x"), bytes(32), 1, bytes(32), 1).body,
     Head(NET, bytes(32), 1, bytes(32), 1).body + b"\x00", bytes(200)],
)  # fmt: skip
def test_what_is_no_head_is_refused(body: bytes) -> None:
    with pytest.raises(EntryInvalid):
        read_head(body, bytes(64), NET)
