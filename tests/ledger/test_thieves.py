"""What somebody can do who has a node's key, and what he cannot (LEDGER.md, "Changes of keys")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from ledger_world import NET, Node, World, world
from rotation_lab import agreed, audited, home_of, meet, owed, recovery_of, restart, rotate

from opengateway.app import key_change
from opengateway.errors import LedgerReadOnly, LedgerRefused
from opengateway.identity import Identity
from opengateway.ledger.entry import CARRY, OPEN, SETTLE, Entry, Signed, Terms, sign
from opengateway.ledger.rotation import RotationInvalid, authorise, read_rotation, rotate_entry
from opengateway.ledger.rules import totals_in
from opengateway.ledger.witness import FORK, Contradiction
from opengateway.units import NodeId


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def head_of(node: Node) -> Signed:
    return node.book.succession.ends()[1]


def given_up_for(node: Node, new: NodeId) -> Entry:
    """The ROTATE of this node's chain as it is now."""
    genesis, head = node.book.succession.ends()
    place = {"seq": head.entry.seq + 1, "prev": head.leaf, "t_ms": head.entry.t_ms}
    return rotate_entry(genesis.entry, new, totals=totals_in(head.entry), **place)


def says(teller: Node, hearer: Node, papers: bytes) -> None:
    hearer.book.succession.hear(papers)
    hearer.book.commit()


def stolen_settle(thief: Identity, rotate: Entry, worker: Node, amount: int) -> Signed:
    """A debt to `worker`, signed with the stolen key behind the place where it was given up."""
    return sign(
        thief,
        rotate._replace(
            kind=SETTLE,
            seq=rotate.seq + 5,
            peer=worker.id,
            rid=b"t" * 16,
            link=bytes(32),
            model="m",
            prompt_tokens=0,
            completion_tokens=amount,
            price_prompt=0,
            price_completion=1,
            amount=amount,
            hold=amount,
            consumed=amount,
        ),
    )


def test_without_the_recovery_key_there_are_no_papers(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    thief, new = Identity(ann.identity.seed), Identity.generate()
    genesis, _ = ann.book.succession.ends()
    entry = given_up_for(ann, new.node_id)
    signed = sign(thief, entry)
    with pytest.raises(RotationInvalid, match="not the recovery key"):
        authorise(genesis, signed, thief, new)
    own = Identity.generate()
    good = authorise(genesis, signed, recovery_of(ann), new)
    forged = good._replace(recovery=own.node_id, signature=own.sign(b"OGW1 rotate\n" + signed.leaf))
    for papers in (forged.wire, good._replace(signature=bytes(64)).wire, good.wire[:-1], b"", b"\x80"):
        with pytest.raises(LedgerRefused) as refused:
            bob.book.succession.hear(papers)
        assert refused.value.reason == "rotation"
    assert bob.book.peer(ann.id).owes_us > 0


def test_nobody_gets_anothers_debts_without_agreeing(lab: World) -> None:
    """A debtor names somebody else as the one who comes after it."""
    ann, bob, cat = lab.node("ann"), lab.node("bob"), lab.node("cat")
    ann.ask(bob)
    genesis, _ = ann.book.succession.ends()
    entry = given_up_for(ann, cat.id)
    papers = authorise(genesis, sign(ann.identity, entry), recovery_of(ann), ann.identity)
    with pytest.raises(LedgerRefused, match="did not agree"):
        bob.book.succession.hear(papers.wire)


def test_what_a_thief_spent_before_it_was_known_is_the_victims_loss_and_no_more(lab: World) -> None:
    """bob owes ann. A thief spends some of it with him; ann, who knows nothing of it, gives up her key."""
    ann, bob = lab.node("ann"), lab.node("bob")
    bob.ask(ann)
    was_owed = owed(ann, bob)
    copy = {path.name: path.read_bytes() for path in ann.path.parent.iterdir()}
    ann.ask(bob, completion=10)  # the thief, with ann's key and ledger
    spent = was_owed - owed(ann, bob)
    ann.book.close()
    for path in ann.path.parent.iterdir():
        path.unlink()
    for name, data in copy.items():
        (ann.path.parent / name).write_bytes(data)
    ann.book = ann._open()
    rotate(ann, lost=True)
    meet(ann, bob)
    assert agreed(ann, bob)
    assert owed(ann, bob) == was_owed - spent > 0
    assert audited(ann).exit == audited(bob).exit == 0


def test_a_thief_and_a_friend_sign_no_debt_for_the_victim_afterwards(lab: World) -> None:
    ann, bob, eve = lab.node("ann"), lab.node("bob"), lab.node("eve")
    bob.ask(ann)
    eve.ask(ann, completion=5)
    eve_owes, thief = owed(ann, eve), ann.identity
    rotation = rotate(ann, lost=True)
    meet(ann, bob)
    for papers in ann.book.succession.own:
        says(ann, eve, papers)
    # eve writes into her own chain what the stolen key signs for her: a thousand times what she owed.
    million = 10**6
    settle = stolen_settle(thief, rotation.rotate.entry, eve, million)
    evidence = cbor2.dumps([[[settle.body, settle.signature]], []])
    claims = eve.book.succession.agreement
    claims.append(ann.id, b"x" * 32, Terms("", amount=million))
    eve.book.commit()
    told = claims.account(ann.id)
    assert told is not None
    agreement = ann.book.succession.agreement
    assert agreement.told(eve.id, told.entry, evidence) is False
    ann.book.commit()
    assert owed(ann, eve) == eve_owes, "nothing of it is admitted"
    facts = ann.book.succession.facts(eve.id)
    assert facts["moving"] and 0 < int(str(facts["disputed"])) <= million
    with pytest.raises(LedgerRefused, match="do not agree"):
        ann.open(eve)
    ann.ask(bob)  # the others are not concerned
    ann.crash()
    agreement = ann.book.succession.agreement
    with pytest.raises(LedgerRefused, match="nothing is in dispute"):
        agreement.accept(eve.id)  # until eve has told again what she claims
    agreement.told(eve.id, told.entry, evidence)
    agreement.accept(eve.id)  # the owner's word
    ann.book.commit()
    assert owed(ann, eve) == eve_owes - million
    assert audited(ann).exit == 0


def test_of_two_changes_of_one_key_the_first_that_is_heard_counts(lab: World) -> None:
    """The thief has the recovery key, too. bob hears of him first, cat of ann."""
    ann, bob, cat = lab.node("ann"), lab.node("bob"), lab.node("cat")
    bob.ask(ann)
    cat.ask(ann)
    him = Identity.generate()
    genesis, _ = ann.book.succession.ends()
    entry = given_up_for(ann, him.node_id)
    his = authorise(genesis, sign(ann.identity, entry), recovery_of(ann), him)
    says(ann, bob, his.wire)
    owed_by_cat = owed(ann, cat)
    rotate(ann, lost=True)
    meet(ann, cat)
    assert agreed(ann, cat) and owed(ann, cat) == owed_by_cat
    with pytest.raises(LedgerRefused) as refused:
        bob.book.succession.hear(ann.book.succession.own[0])
    assert refused.value.reason == "conflict"
    with pytest.raises(LedgerRefused) as refused:
        cat.book.succession.hear(his.wire)
    assert refused.value.reason == "conflict"


def test_the_old_home_signs_nothing_any_more_once_it_has_heard(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    new = Identity.generate()
    genesis, _ = ann.book.succession.ends()
    entry = given_up_for(ann, new.node_id)
    papers = authorise(
        genesis, Signed(entry, entry.body, sign(ann.identity, entry).leaf, b""), recovery_of(ann), new
    )
    with pytest.raises(LedgerRefused) as refused:
        ann.book.succession.hear(papers.wire)
    assert refused.value.reason == "own"
    ann.crash()
    with pytest.raises(LedgerReadOnly, match="given up"):
        ann.open(bob)


def test_who_never_changed_a_key_tells_of_no_account(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    head = head_of(bob).entry
    carry = head._replace(
        kind=CARRY, seq=1, peer=ann.id, rid=b"r" * 16, link=b"r" * 32, hold=5, consumed=5, taken=5
    )
    with pytest.raises(LedgerRefused) as refused:
        ann.book.succession.agreement.told(bob.id, sign(bob.identity, carry).wire)
    assert refused.value.reason == "no_rotation"


def test_a_key_that_was_given_up_has_no_part_in_a_transfer(lab: World) -> None:
    ann, bob, cat = lab.node("ann"), lab.node("bob"), lab.node("cat")
    bob.ask(ann)
    cat.ask(bob, completion=60)
    mandate = ann.book.transfers.release(b"t" * 16, 100, (bob.id,), cat.id)
    old = ann.id
    ann.book.rollback()  # it was never sent; the thief sends it
    rotate(ann, lost=True)
    meet(ann, bob)
    with pytest.raises(LedgerRefused) as refused:
        bob.book.transfers.assign(mandate.wire, old)
    assert refused.value.reason == "rotated"


def test_an_accident_can_be_named_later(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    thief = ann.identity
    head = head_of(ann).entry
    plain = head._replace(seq=1, kind=OPEN, rid=bytes(16))
    proof = Contradiction(FORK, sign(thief, plain), sign(thief, plain._replace(rid=b"x" * 16))).proof
    rotate(ann)
    meet(ann, bob)
    bob.book.proofs.take(proof)
    bob.book.commit()
    assert ann.id in bob.book._journal.faulty
    ann.book.proofs.take(proof)
    ann.book.commit()
    assert ann.book.succession.blamed == [proof] and ann.book.succession.accused
    ann.book.close()
    key_change.excuse_before(home_of(ann), NET, recovery_of(ann), 1, ann.clock)
    restart(ann)
    assert not ann.book.succession.blamed
    meet(ann, bob)
    assert ann.id not in bob.book._journal.faulty and bob.book.peer(ann.id).line == 0
    later = Contradiction(
        FORK, sign(thief, plain._replace(seq=2)), sign(thief, plain._replace(seq=2, t_ms=head.t_ms + 1))
    )
    bob.book.proofs.take(later.proof)
    assert ann.id not in bob.book._journal.faulty


def test_what_was_earned_by_voucher_is_shown_to_who_lost_everything(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    bob.ask(ann)
    before = owed(bob, ann)
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    voucher = ann.book.vouch(rid, prompt_tokens=10, completion_tokens=20)
    ann.book.commit()
    bob.book.vouched(voucher, ann.id)
    bob.book.delivered(rid, ann.id, 10, 20)
    bob.book.commit()
    lab.clock.pass_ms(20 * 60 * 1000)
    bob.book.commit()  # earned by the voucher
    assert owed(bob, ann) > before
    now = owed(bob, ann)
    genesis, _ = ann.book.succession.ends()
    ann.book.close()
    home, recovery = home_of(ann), recovery_of(ann)
    for name in ("ledger.db", "ledger.db.mark", "identity.key"):
        (home.path / name).unlink()
    key_change.begin_lost(home, NET, recovery, ann.clock, genesis.wire)
    key_change.finish(home, NET, ann.clock)
    restart(ann)
    meet(ann, bob)
    assert agreed(ann, bob) and owed(bob, ann) == now


def test_papers_that_are_changed_anywhere_prove_nothing(lab: World) -> None:
    ann = lab.node("ann")
    good = rotate(ann, lost=True, accident=1).wire
    assert read_rotation(good, NET).accident == 1
    for place in range(0, len(good), 3):
        bad = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(RotationInvalid):
            read_rotation(bad, NET)
