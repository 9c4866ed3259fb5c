"""A change of keys: every pair follows, to the last ucr, whatever was on its way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ledger_world import NET, PRICE, Node, World, world
from rotation_lab import MEMORY, agreed, audited, home_of, meet, owed, recovery_of, restart, rotate, written

from opengateway.app import key_change
from opengateway.errors import LedgerRefused
from opengateway.identity import Identity
from opengateway.ledger.audit import verify
from opengateway.ledger.entry import OPEN, sign
from opengateway.ledger.witness import FORK, Contradiction, compare


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_a_planned_change_moves_every_pair_exactly(lab: World) -> None:
    ann, bob, cat = lab.node("ann"), lab.node("bob"), lab.node("cat")
    ann.ask(bob)
    bob.ask(ann, completion=7)
    cat.ask(ann)
    before = owed(ann, bob), owed(ann, cat)
    old = ann.id
    rotation = rotate(ann)
    assert (rotation.old, rotation.new) == (old, ann.id) and ann.id != old
    assert (owed(ann, bob), owed(ann, cat)) == before
    for other in (bob, cat):
        meet(ann, other)
        assert agreed(ann, other)
        assert all(pair.peer != old for pair in other.book.peers())
    assert (owed(ann, bob), owed(ann, cat)) == before
    ann.ask(bob)
    bob.ask(ann)
    assert agreed(ann, bob)
    for node in (ann, bob, cat):
        assert audited(node).exit == 0, audited(node).findings
        node.crash()
        assert not node.book.damage
    assert agreed(ann, bob) and agreed(ann, cat)


def test_what_was_signed_and_not_delivered_is_paid_by_the_carry(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    for asker, worker in ((ann, bob), (bob, ann)):
        rid, opening = asker.open(worker)
        worker.admit(opening, asker)
        worker.book.delivered(rid, asker.id, 10, 50)
        worker.book.commit()
        asker.settle(rid)  # lost on the way
    rotate(ann)
    meet(ann, bob)
    assert agreed(ann, bob)
    for node, peer in ((ann, bob), (bob, ann)):
        totals = node.book.peer(peer.id)
        assert (totals.reserved, totals.unpaid, totals.holding) == (0, 0, 0)
        assert node.book.unanswered() == [] or node is ann
        node.crash()
    assert agreed(ann, bob)
    assert bob.book.unanswered() == []


def test_what_was_vouched_for_is_owed_and_what_was_not_stays_unpaid(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    voucher = ann.book.vouch(rid, prompt_tokens=10, completion_tokens=20)
    ann.book.commit()
    bob.book.vouched(voucher, ann.id)
    bob.book.delivered(rid, ann.id, 10, 50)
    bob.book.commit()
    rotate(ann, lost=True)
    meet(ann, bob)
    assert agreed(ann, bob)
    paid, unpaid = owed(bob, ann), bob.book.peer(ann.id).unpaid
    assert paid >= 10 * PRICE.prompt + 20 * PRICE.completion
    assert paid + unpaid == 10 * PRICE.prompt + 50 * PRICE.completion


def test_entries_by_the_old_key_are_refused_from_then_on(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    thief = Identity(ann.identity.seed)
    old_rid, old_opening = ann.open(bob)
    old = ann.id
    rotate(ann)
    meet(ann, bob)
    with pytest.raises(LedgerRefused, match="given up") as refused:
        bob.book.admit(old_opening, thief.node_id, price_prompt=10, price_completion=100)
    assert refused.value.reason == "rotated"
    assert old == thief.node_id and old_rid


def forged_fork(node: Node) -> bytes:
    """Two entries by this key for the place after its head."""
    _, head = node.book.succession.ends()
    plain = head.entry._replace(seq=head.entry.seq + 1, prev=head.leaf, kind=OPEN, rid=bytes(16))
    one, two = sign(node.identity, plain), sign(node.identity, plain._replace(rid=bytes(15) + b"x"))
    return Contradiction(FORK, one, two).proof


def test_a_proof_against_the_old_key_holds_against_the_new_one(lab: World) -> None:
    ann, bob, cat = lab.node("ann"), lab.node("bob"), lab.node("cat")
    ann.ask(bob)
    proof = forged_fork(ann)
    bob.book.proofs.take(proof)
    bob.book.commit()
    ann.ask(cat)
    rotate(ann)
    meet(ann, bob)
    meet(ann, cat)
    assert ann.id in bob.book._journal.faulty
    cat.book.proofs.take(proof)  # it comes later, and is of entries before the change
    assert ann.id in cat.book._journal.faulty
    cat.book.commit()
    cat.crash()
    assert ann.id in cat.book._journal.faulty


def test_what_the_old_key_signed_after_the_change_is_void(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    thief = ann.identity
    rotation = rotate(ann)
    meet(ann, bob)
    late = rotation.rotate.entry._replace(kind=OPEN, peer=bob.id, rid=b"r" * 16, link=bytes(32))
    proof = Contradiction(FORK, sign(thief, late), sign(thief, late._replace(rid=b"s" * 16))).proof
    with pytest.raises(LedgerRefused, match="void"):
        bob.book.proofs.take(proof)
    assert not bob.book.faults()


def test_a_repaired_accident_is_no_blame_and_gives_no_line(lab: World) -> None:
    """The disk of ann is put back to an older state; both branches are known to somebody."""
    ann, bob, cat = lab.node("ann"), lab.node("bob"), lab.node("cat")
    ann.ask(bob)
    bob.ask(ann, completion=40)
    backup = {path.name: path.read_bytes() for path in ann.path.parent.iterdir()}
    cat.ask(ann)
    ann.ask(bob, completion=30)
    spent = owed(bob, ann)
    ann.book.close()
    for path in ann.path.parent.iterdir():
        path.unlink()
    for name, data in backup.items():
        (ann.path.parent / name).write_bytes(data)
    ann.book = ann._open()
    dan = lab.node("dan")
    _, opening = ann.open(dan)  # the other branch
    dan.admit(opening, ann)

    one, two = (where.book.succession.store.head(ann.id) for where in (dan, cat))
    assert one is not None and two is not None
    with pytest.raises(Contradiction) as found:
        compare(one, two)
    proof = found.value.proof
    bob.book.proofs.take(proof)
    bob.book.commit()

    rotate(ann, lost=True, accident=min(one.entry.seq, two.entry.seq))
    for other in (bob, cat, dan):
        meet(ann, other)
        assert agreed(ann, other), other
    assert owed(bob, ann) == spent
    assert ann.id not in bob.book._journal.faulty
    assert bob.book.peer(ann.id).line == 0
    bob.crash()
    assert ann.id not in bob.book._journal.faulty and bob.book.peer(ann.id).line == 0


def test_a_lost_ledger_is_told_by_the_others_with_the_old_keys_signatures(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob, completion=30)
    bob.ask(ann)
    before = owed(bob, ann)
    genesis, _ = ann.book.succession.ends()
    ann.book.close()
    home, recovery = home_of(ann), recovery_of(ann)
    for name in ("ledger.db", "ledger.db.mark", "identity.key"):
        (home.path / name).unlink()
    key_change.begin_lost(home, NET, recovery, ann.clock, genesis.wire)
    key_change.finish(home, NET, ann.clock)
    restart(ann)
    assert ann.book.peers() == []
    meet(ann, bob)
    assert agreed(ann, bob) and owed(bob, ann) == before


def test_a_debt_that_nobody_can_show_a_signature_for_is_not_taken_over(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    rotate(ann)
    for papers in ann.book.succession.own:
        bob.book.succession.hear(papers)
    bob.book.commit()
    account = bob.book.succession.agreement.account(ann.id)
    assert account is not None
    before = owed(bob, ann)
    ann.book.succession.agreement.told(bob.id, account.entry, b"")
    assert owed(ann, bob) == -before


class Life(RuleBasedStateMachine):
    """Three nodes that ask each other, lose messages, crash and change their keys, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self._world = world(Path(self._folder.name))
        self.lab = self._world.__enter__()
        self.nodes = [self.lab.node(name) for name in ("ann", "bob", "cat")]

    def teardown(self) -> None:
        self._world.__exit__(None, None, None)
        self._folder.cleanup()

    who = st.integers(0, 2)
    tokens = st.integers(1, 50)

    def _two(self, one: int, other: int) -> tuple[Node, Node]:
        a, b = self.nodes[one], self.nodes[(one + 1 + other % 2) % 3]
        meet(a, b)
        return a, b

    @rule(one=who, other=who, tokens=tokens)
    def asks(self, one: int, other: int, tokens: int) -> None:
        a, b = self._two(one, other)
        for peer, _, settle in a.book.unanswered():
            if peer == b.id:
                a.pay(b, settle)
        a.ask(b, completion=tokens)

    @rule(one=who, other=who, tokens=tokens, vouched=st.booleans(), settled=st.booleans())
    def asks_and_is_cut_off(self, one: int, other: int, tokens: int, vouched: bool, settled: bool) -> None:
        a, b = self._two(one, other)
        for peer, _, settle in a.book.unanswered():
            if peer == b.id:
                a.pay(b, settle)
        rid, opening = a.open(b, most=50)
        b.admit(opening, a)
        if vouched:
            voucher = a.book.vouch(rid, prompt_tokens=10, completion_tokens=tokens)
            a.book.commit()
            b.book.vouched(voucher, a.id)
        b.book.delivered(rid, a.id, 10, 50)
        b.book.commit()
        if settled:
            a.settle(rid, completion=50)
        else:
            a.book.void(rid)
            a.book.commit()

    @rule(one=who, lost=st.booleans())
    def changes_its_key(self, one: int, lost: bool) -> None:
        rotate(self.nodes[one], lost=lost)

    @rule(one=who)
    def crashes(self, one: int) -> None:
        self.nodes[one].crash()

    @rule()
    def all_meet(self) -> None:
        for a, b in ((0, 1), (1, 2), (0, 2)):
            meet(self.nodes[a], self.nodes[b])
            for asker, worker in ((self.nodes[a], self.nodes[b]), (self.nodes[b], self.nodes[a])):
                for peer, _, settle in asker.book.unanswered():
                    if peer == worker.id:
                        asker.pay(worker, settle)
        for a, b in ((0, 1), (1, 2), (0, 2)):
            assert agreed(self.nodes[a], self.nodes[b])
        assert sum(pair.owes_us for node in self.nodes for pair in node.book.peers()) == 0

        for node in self.nodes:
            report = verify(written(node))
            assert report.exit <= 1, report.findings

    @invariant()
    def every_ledger_is_well(self) -> None:
        assert not any(node.book.damage for node in self.nodes)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=5, stateful_step_count=10, deadline=None, phases=(Phase.explicit, Phase.generate)
)


class LongLife(Life):
    pass


TestLongLife = pytest.mark.slow(pytest.mark.timeout(7200)(LongLife.TestCase))
TestLongLife.settings = settings(
    max_examples=200, stateful_step_count=25, deadline=None, phases=(Phase.explicit, Phase.generate)
)
