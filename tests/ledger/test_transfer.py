"""Transfers between real books: what moves, what is refused, and what no sequence of events can break."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_forge import Forge
from ledger_world import PRICE, Node, World, world

from opengateway.errors import LedgerRefused, NotEnoughCredit
from opengateway.ledger.audit import Limits, verify, verify_pair
from opengateway.ledger.entry import ADJ, sign
from opengateway.ledger.handover import Outcome, Talk
from opengateway.ledger.mandate import MandateInvalid, draft, read_mandate
from opengateway.ledger.witness import LEGS, Contradiction, check_proof, compare
from opengateway.units import NodeId
from opengateway.wire.messages import NotTransferred, Transfer, Transferred

COST = 10 * PRICE.prompt + 50 * PRICE.completion
"""ucr of one request in this world."""


class Post:
    """Carries what books say to each other, in any order, once the sender has committed."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.bag: list[tuple[Node, NodeId, Talk]] = []
        self.done: list[bytes] = []
        self.failed: list[tuple[bytes, str]] = []

    def take(self, sender: Node, outcome: Outcome) -> None:
        sender.book.commit()
        self.bag += [(sender, to, message) for to, message in outcome.sends]
        if outcome.done:
            self.done.append(outcome.done)
        if outcome.failed:
            self.failed.append((outcome.failed, outcome.why))

    def deliver(self, place: int = 0, *, keep: bool = False) -> None:
        sender, to, message = self.bag[place] if keep else self.bag.pop(place)
        node = self.nodes[to]
        self.take(node, node.book.handover.hear(sender.id, message))

    def deliver_all(self) -> None:
        while self.bag:
            self.deliver()

    def meet_all(self) -> None:
        for one in self.nodes.values():
            for other in self.nodes.values():
                if one is not other:
                    self.take(one, one.book.handover.meet(other.id))
        self.deliver_all()


def release(post: Post, node: Node, amount: int, via: list[Node], to: Node) -> bytes:
    tid = node.rid()
    mandate = node.book.transfers.release(tid, amount, [one.id for one in via], to.id)
    post.take(node, node.book.handover.begin(mandate))
    return tid


def owes(creditor: Node, debtor: Node) -> int:
    """What the debtor owes, as the creditor's book has it."""
    return creditor.book.peer(debtor.id).owes_us


def require_agreement(*nodes: Node) -> None:
    for one in nodes:
        moved = [(pair.moved_in, pair.moved_out) for pair in one.book.peers()]
        assert sum(way_in for way_in, _ in moved) == sum(way_out for _, way_out in moved)
        for other in nodes:
            if one is not other:
                assert owes(one, other) == -owes(other, one)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def three(lab: World) -> tuple[Node, Node, Node, Post]:
    """ann served bob, bob served vic: bob owes ann, vic owes bob."""
    ann, bob, vic = (lab.node(name) for name in ("ann", "bob", "vic"))
    bob.ask(ann)
    vic.ask(bob)
    return ann, bob, vic, Post(ann, bob, vic)


def test_credit_earned_at_one_node_becomes_credit_at_another(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    tid = release(post, ann, 3000, [bob], vic)
    post.deliver_all()
    assert post.done == [tid] and not post.failed
    assert (owes(ann, bob), owes(bob, vic), owes(ann, vic)) == (COST - 3000, COST - 3000, 3000)
    require_agreement(ann, bob, vic)
    assert not any(node.book.transfers.awaited for node in (ann, bob, vic))


def test_what_was_transferred_can_be_spent(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    release(post, ann, COST, [bob], vic)
    post.deliver_all()
    _, opening = ann.open(vic)
    assert vic.admit(opening, ann) == 0


def test_two_intermediaries_pass_a_claim_on(lab: World) -> None:
    ann, bob, cid, vic = (lab.node(name) for name in ("ann", "bob", "cid", "vic"))
    bob.ask(ann)
    cid.ask(bob)
    vic.ask(cid)
    post = Post(ann, bob, cid, vic)
    release(post, ann, COST, [bob, cid], vic)
    post.deliver_all()
    assert owes(ann, vic) == COST and not owes(ann, bob) and not owes(bob, cid) and not owes(cid, vic)
    require_agreement(ann, bob, cid, vic)


def test_every_leg_that_came_in_has_the_signature_of_who_gave_it_up(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    release(post, ann, 100, [bob], vic)
    post.deliver_all()
    for node in (ann, bob, vic):
        legs = [row for row in node.book._journal.vault.store.rows() if row.body[3] == ADJ]
        assert len(legs) == 2
        assert legs[0].peer_signature is not None and legs[1].peer_signature is None


def test_ledgers_with_transfers_audit_clean_alone_and_in_pairs(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    release(post, ann, 100, [bob], vic)
    post.deliver_all()
    files = []
    for name, node in (("ann", ann), ("bob", bob), ("vic", vic)):
        files.append(lab.home / f"{name}.ogwl")
        files[-1].write_bytes(node.export())
    for file in files:
        assert verify(file, limits=Limits(now_ms=lab.clock())).findings == []
    for one, other in combinations(files, 2):
        assert verify_pair(one, other, limits=Limits(now_ms=lab.clock())).exit == 0


def test_a_leg_left_out_or_changed_shows_in_the_audit(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    release(post, ann, 100, [bob], vic)
    post.deliver_all()
    forge = Forge(vic, lab.home)
    into = forge.find(ADJ)
    forge.sign(into + 1, hold=99, moved_out=99)
    codes = {finding.code for finding in verify(forge.save(), limits=Limits(now_ms=lab.clock())).findings}
    assert "E_LEGS" in codes
    forge = Forge(vic, lab.home)
    forge.records[into].half = []
    codes = {finding.code for finding in verify(forge.save(), limits=Limits(now_ms=lab.clock())).findings}
    assert codes == {"W_NOCOUNTER"}


def test_a_debtor_that_owes_less_refuses_and_the_claim_stays(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    bob.ask(ann)
    with contextlib.suppress(IndexError):
        bob.ask(vic)  # now vic owes bob nothing
    tid = release(post, ann, 3000, [bob], vic)
    post.deliver_all()
    assert [failed for failed, _ in post.failed] == [tid]
    assert owes(ann, bob) == 2 * COST
    again = release(post, ann, 2 * COST, [bob], vic)  # nothing stays set aside for what was refused
    assert again in ann.book.transfers.promises


def test_nobody_gives_up_more_than_is_owed_to_it(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    with pytest.raises(LedgerRefused, match="owes"):
        release(post, ann, COST + 1, [bob], vic)
    release(post, ann, COST - 1, [bob], vic)
    with pytest.raises(LedgerRefused, match="owes"):
        release(post, ann, 2, [bob], vic)


def test_the_same_claim_assigned_twice_is_honoured_once(lab: World) -> None:
    """bob owes ann and amy, and promises both of them all that vic owes him."""
    ann, bob, vic, _ = three(lab)
    amy = lab.node("amy")
    bob.ask(amy)
    both = []
    for creditor in (ann, amy):
        unsigned = draft(
            bob.book.net, creditor.rid(), COST, (creditor.id, bob.id, vic.id), lab.clock() + 1000
        )
        both.append(unsigned.signed(creditor.identity).signed(bob.identity).wire)
    vic.book.transfers.accept(both[0], bob.id)
    with pytest.raises(LedgerRefused) as refused:
        vic.book.transfers.accept(both[1], bob.id)
    assert refused.value.reason == "not_owed"
    assert owes(vic, bob) == 0 and owes(vic, ann) == -COST and owes(vic, amy) == 0


def test_the_same_mandate_twice_moves_once_and_gets_the_same_answer(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    release(post, ann, 100, [bob], vic)
    post.deliver(keep=True)
    post.deliver(len(post.bag) - 1, keep=True)
    mandate = next(m.mandate for _, to, m in post.bag if isinstance(m, Transfer) and to == vic.id)
    first = vic.book.transfers.accept(mandate, bob.id)
    vic.book.commit()
    vic.crash()
    assert vic.book.transfers.accept(mandate, bob.id) == first
    post.deliver_all()
    assert owes(ann, vic) == 100
    require_agreement(ann, bob, vic)


def test_another_transfer_under_the_same_number_is_refused(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    tid = release(post, ann, 100, [bob], vic)
    post.deliver_all()
    other = draft(bob.book.net, tid, 200, (ann.id, bob.id, vic.id), lab.clock() + 1000)
    wire = other.signed(ann.identity)
    with pytest.raises(LedgerRefused, match="used before"):
        bob.book.transfers.assign(wire.wire, ann.id)
    with pytest.raises(LedgerRefused, match="used before"):
        vic.book.transfers.accept(wire.signed(bob.identity).wire, bob.id)
    with pytest.raises(LedgerRefused, match="used before"):
        ann.book.transfers.release(tid, 1, [bob.id], vic.id)


def test_an_expired_mandate_moves_nothing(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    tid = release(post, ann, 100, [bob], vic)
    post.deliver()
    lab.clock.pass_ms(6 * 60_000)
    post.deliver_all()
    assert post.failed and post.failed[0][0] == tid and "expired" in post.failed[0][1]
    assert owes(ann, bob) == COST


def test_a_mandate_that_binds_for_long_is_refused(lab: World) -> None:
    ann, bob, vic, _ = three(lab)
    long = draft(bob.book.net, bytes(16), 1, (ann.id, bob.id, vic.id), lab.clock() + 10**9)
    with pytest.raises(LedgerRefused, match="so long"):
        bob.book.transfers.assign(long.signed(ann.identity).wire, ann.id)


def test_a_signature_by_the_wrong_key_is_refused(lab: World) -> None:
    ann, bob, vic, _ = three(lab)
    plain = draft(bob.book.net, bytes(16), 1, (ann.id, bob.id, vic.id), lab.clock() + 1000)
    forged = plain.signed(vic.identity)
    with pytest.raises(LedgerRefused, match="signature"):
        bob.book.transfers.assign(forged.wire, ann.id)
    with pytest.raises(LedgerRefused, match="signature"):
        vic.book.transfers.accept(plain.signed(ann.identity).signed(ann.identity).wire, bob.id)
    good = plain.signed(ann.identity)
    with pytest.raises(LedgerRefused, match="turn"):
        bob.book.transfers.assign(good.wire, vic.id)  # not hers to ask
    with pytest.raises(LedgerRefused, match="turn"):
        vic.book.transfers.accept(good.wire, bob.id)  # he has not signed


def test_a_path_goes_over_one_or_two_others_and_nobody_twice(lab: World) -> None:
    ann, bob, vic, _ = three(lab)
    for path in [
        (ann, vic),
        (ann, bob, ann),
        (ann, bob, bob, vic),
        (ann, bob, vic, lab.node("x"), lab.node("y")),
    ]:
        with pytest.raises(MandateInvalid):
            draft(ann.book.net, bytes(16), 1, tuple(node.id for node in path), 1)
    with pytest.raises(MandateInvalid):
        draft(ann.book.net, bytes(16), 0, (ann.id, bob.id, vic.id), 1)


def test_a_mandate_survives_no_flipped_byte(lab: World) -> None:
    ann, bob, vic, _ = three(lab)
    wire = draft(bob.book.net, bytes(16), 1, (ann.id, bob.id, vic.id), lab.clock() + 1000)
    good = wire.signed(ann.identity).wire
    for place in range(len(good)):
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(LedgerRefused):
            bob.book.transfers.assign(bad, ann.id)
    bob.book.transfers.assign(good, ann.id)


def test_no_receipt_of_another_transfer_ends_this_one(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    release(post, ann, 100, [bob], vic)
    post.deliver_all()
    old = vic.book.transfers.leg_for(ann.id, post.done[0])
    mandate = ann.book.transfers.release(ann.rid(), 100, [bob.id], vic.id)
    signed = bob.book.transfers.assign(mandate.wire, ann.id)
    with pytest.raises(LedgerRefused, match="not for this"):
        ann.book.transfers.confirm(signed.wire, old)


def test_who_hears_last_of_it_is_not_taken_for_a_liar_meanwhile(lab: World) -> None:
    """bob's next OPEN at ann says that she gave up her claim, before she has heard that vic accepted."""
    ann, bob, vic, post = three(lab)
    release(post, ann, 100, [bob], vic)
    post.deliver()  # bob
    post.deliver()  # vic
    to_bob = next(i for i, (_, to, _) in enumerate(post.bag) if to == bob.id)
    post.deliver(to_bob)
    post.bag.clear()  # lost
    _, opening = bob.open(ann)
    ann.admit(opening, bob)
    post.meet_all()
    require_agreement(ann, bob, vic)


def test_a_transfer_heard_of_after_a_crash_is_completed(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    release(post, ann, 100, [bob], vic)
    post.deliver()
    post.deliver()
    post.bag.clear()
    for node in (ann, bob, vic):
        node.crash()
    post.meet_all()
    assert owes(ann, vic) == 100 and not any(node.book.transfers.awaited for node in (ann, bob, vic))
    require_agreement(ann, bob, vic)


def test_legs_that_do_not_cancel_are_proof_of_fraud(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    release(post, ann, 100, [bob], vic)
    post.deliver_all()
    store = vic.book._journal.vault.store
    into, out = (vic.book._journal.stored(row) for row in store.rows() if row.body[3] == ADJ)
    compare(into, out)
    bad = sign(vic.identity, out.entry._replace(hold=99, moved_out=99))
    with pytest.raises(Contradiction) as found:
        compare(into, bad)
    assert found.value.kind == LEGS and check_proof(found.value.proof, vic.book.net) == vic.id


class Claims(RuleBasedStateMachine):
    """Four nodes, random debts, transfers over one or two others; messages are lost, doubled, late."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._context = world(Path(self._folder.name))
        self.world = self._context.__enter__()
        self.nodes = [self.world.node(name) for name in ("ann", "bob", "cid", "vic")]
        self.post = Post(*self.nodes)

    def teardown(self) -> None:
        try:
            self.post.bag.clear()
            for _ in range(3):
                self.post.meet_all()
            require_agreement(*self.nodes)
            assert not any(node.book.transfers.awaited for node in self.nodes)
        finally:
            self._context.__exit__(None, None, None)
            self._folder.cleanup()

    @rule(who=st.permutations(range(4)), tokens=st.integers(1, 100))
    def serve(self, who: list[int], tokens: int) -> None:
        with contextlib.suppress(NotEnoughCredit):
            self.nodes[who[0]].ask(self.nodes[who[1]], completion=tokens)

    @rule(who=st.permutations(range(4)), count=st.integers(1, 2), amount=st.integers(1, 8000))
    def release(self, who: list[int], count: int, amount: int) -> None:
        node, *via, to = (self.nodes[i] for i in who[: count + 2])
        with contextlib.suppress(LedgerRefused):
            release(self.post, node, amount, via, to)

    @precondition(lambda self: self.post.bag)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        self.post.deliver(data.draw(st.integers(0, len(self.post.bag) - 1)), keep=keep)

    @precondition(lambda self: self.post.bag)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        del self.post.bag[data.draw(st.integers(0, len(self.post.bag) - 1))]

    @rule(who=st.integers(0, 3))
    def crash(self, who: int) -> None:
        self.nodes[who].crash()

    @rule(ms=st.sampled_from([10, 60_000, 400_000]))
    def wait(self, ms: int) -> None:
        self.world.clock.pass_ms(ms)

    @invariant()
    def nothing_is_created(self) -> None:
        """Each chain's legs cancel, and nobody claims more of another than that one signed away or owes."""
        for node in self.nodes:
            pairs = node.book.peers()
            assert sum(pair.owes_us for pair in pairs) == node.book.balance().balance
            for other in self.nodes:
                if other is not node:
                    ours, theirs = node.book.peer(other.id), other.book.peer(node.id)
                    allowed = theirs.moved_out + other.book._journal.given_up[node.id]
                    assert ours.moved_in <= allowed


def test_no_sequence_of_events_creates_credit() -> None:
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    kept = settings(
        max_examples=25, stateful_step_count=40, deadline=None, phases=phases, derandomize=True,
        suppress_health_check=list(HealthCheck), database=None,
    )  # fmt: skip
    run_state_machine_as_test(Claims, settings=kept)


def test_refusals_and_papers_of_strangers_change_nothing(lab: World) -> None:
    ann, bob, vic, post = three(lab)
    tid = release(post, ann, 100, [bob], vic)
    assert ann.book.handover.hear(vic.id, NotTransferred(tid, "no", "no")) == Outcome()
    assert ann.book.handover.hear(vic.id, NotTransferred(bytes(16), "no", "no")) == Outcome()
    junk = random.Random(1).randbytes(300)
    assert ann.book.handover.hear(vic.id, Transfer(junk)) == Outcome()
    assert ann.book.handover.hear(vic.id, Transferred(junk, junk, junk)) == Outcome()
    with pytest.raises(LedgerRefused):
        mandate = bob.book.transfers.assign(read_mandate(post.bag[0][2].mandate, ann.book.net).wire, ann.id)  # type: ignore[union-attr]
        ann.book.transfers.confirm(mandate.wire, junk)
