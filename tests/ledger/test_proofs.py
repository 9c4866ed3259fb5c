"""Proofs of fraud: kept once, believed from anybody, and never without checking."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_world import NET, PRICE, World, world

from opengateway.errors import LedgerRefused, NotEnoughCredit
from opengateway.identity import Identity
from opengateway.ledger import proofs
from opengateway.ledger.entry import GENESIS, ZERO16, ZERO32, Entry, sign
from opengateway.ledger.witness import FORK, Contradiction
from opengateway.units import NodeId


def fork(identity: Identity) -> bytes:
    """Two beginnings of one chain."""
    me = identity.node_id
    plain = Entry(1, GENESIS, NET, me, 0, ZERO32, 5, me, ZERO16, bytes(32), "", *[0] * 13, ZERO32)
    return Contradiction(FORK, sign(identity, plain), sign(identity, plain._replace(t_ms=6))).proof


def key(number: int) -> Identity:
    return Identity(random.Random(number).randbytes(32))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_a_proof_is_kept_once_and_survives(lab: World) -> None:
    ann, liar = lab.node("ann"), key(1)
    assert ann.book.proofs.take(fork(liar)) == liar.node_id
    assert ann.book.commit() == [fork(liar)]
    assert ann.book.proofs.take(fork(liar)) is None
    assert ann.book.commit() == []
    ann.crash()
    assert ann.book.proofs.take(fork(liar)) is None
    assert [found[0] for found in ann.book.faults()] == [liar.node_id]


def test_the_convicted_gets_what_it_is_owed_and_no_more(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    owed = -ann.book.peer(bob.id).owes_us

    ann.book.proofs.take(fork(bob.identity))
    ann.book.commit()
    assert ann.book.quote(bob.id, owed) == 0
    with pytest.raises(NotEnoughCredit, match="needs"):
        ann.book.quote(bob.id, owed + ann.book.peer(bob.id).line + 1)
    _, opening = bob.open(ann, prompt=1, most=1)
    assert ann.admit(opening, bob, PRICE) == 0


def test_a_proof_against_oneself_is_refused_with_what_it_means(lab: World) -> None:
    ann = lab.node("ann")
    with pytest.raises(LedgerRefused, match="against this node itself") as refused:
        ann.book.proofs.take(fork(ann.identity))
    assert refused.value.reason == "own" and "two machines" in refused.value.hint


def test_what_proves_nothing_convicts_nobody(lab: World) -> None:
    ann, good = lab.node("ann"), fork(key(1))
    bad = [b"", b"\x80", random.Random(1).randbytes(500), good + b"\x00", good[:-1]]
    bad += [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(0, len(good), 3)]
    for proof in bad:
        with pytest.raises(LedgerRefused):
            ann.book.proofs.take(proof)
    assert not ann.book.faults() and not ann.book.commit()


def test_made_up_liars_do_not_fill_the_ledger(lab: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "STRANGERS", 3)
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    for number in range(3):
        ann.book.proofs.take(fork(key(number)))
    with pytest.raises(LedgerRefused, match="not known here"):
        ann.book.proofs.take(fork(key(9)))
    assert ann.book.proofs.take(fork(bob.identity)) == NodeId(bob.id)


def test_a_contradiction_that_this_node_meets_is_among_what_everybody_should_hear(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    _, opening = bob.open(ann)
    ann.admit(opening, bob)
    bob.book.close()
    for path in bob.path.parent.iterdir():
        path.unlink()
    bob.clock.pass_ms(1000)
    bob.book = bob._open()  # the same key with another history
    _, opening = bob.open(ann, most=3)
    with pytest.raises(LedgerRefused, match="cannot both be true"):
        ann.admit(opening, bob)
    [proof] = ann.book.commit()
    cid = lab.node("cid")
    assert cid.book.proofs.take(proof) == bob.id
