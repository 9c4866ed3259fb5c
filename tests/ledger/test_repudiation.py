"""F8: who omits a debt that it signed is convicted by the node that is owed it, and by both verifiers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_second import second_opinion
from ledger_world import MODEL, PRICE, Node, World, world

from opengateway.errors import LedgerRefused, NotEnoughCredit
from opengateway.ledger.audit import verify
from opengateway.ledger.audit_proof import convicts
from opengateway.ledger.entry import OPEN, SETTLE, Entry, leaf_of, read_body, sign


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def settles(node: Node) -> list[Entry]:
    entries = [read_body(row.body, node.book.net) for row in node.book._journal.vault.store.rows()]
    return [entry for entry in entries if entry.kind == SETTLE]


def omitting(debtor: Node, creditor: Node, *, later: int, less: int) -> bytes:
    """An OPEN, so many places behind the last SETTLE, that says that less was ever consumed."""
    _, opening = debtor.open(creditor)
    honest = read_body(
        debtor.book._journal.vault.store._db.one("SELECT body FROM entries ORDER BY seq DESC LIMIT 1", ())[0],
        debtor.book.net,
    )
    last = settles(debtor)[-1]
    assert honest.kind == OPEN and opening
    return sign(
        debtor.identity,
        honest._replace(seq=last.seq + later, prev=leaf_of(b"another"), consumed=last.consumed - less),
    ).wire  # fmt: skip


def admit(creditor: Node, debtor: Node, opening: bytes) -> None:
    creditor.book.admit(
        opening, debtor.id, price_prompt=PRICE.prompt, price_completion=PRICE.completion, model=MODEL
    )


@pytest.mark.parametrize(("before", "later"), [(0, 3), (3, 4)])
def test_a_debt_that_a_later_entry_omits_convicts_its_debtor(lab: World, before: int, later: int) -> None:
    """Also where the creditor has seen something later still: then the SETTLE alone tells."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    for _ in range(3):
        ann.ask(bob)
    for _ in range(before):
        ann.open(cid)
        ann.open(cid)
    if before:
        bob_knows, opening = ann.open(bob)
        bob.admit(opening, ann)
        assert bob_knows
    with pytest.raises(LedgerRefused, match="omits") as refused:
        admit(bob, ann, omitting(ann, bob, later=later, less=1))
    assert refused.value.reason == "fraud"
    written = bob.book.write()
    assert written is not None and len(written.proofs) == 1, "everybody hears of it"
    written.make_durable()
    [(key, kind, proof)] = bob.book.faults()
    assert (key, kind) == (ann.id, "F8-repudiation")
    assert convicts(proof, None)[:2] == (kind, ann.id)
    assert cid.book.proofs.take(proof) == ann.id
    with pytest.raises(NotEnoughCredit):
        ann.ask(cid)
    export = lab.home / "bob.ogwl"
    export.write_bytes(bob.export())
    report = verify(export)
    assert report.exit <= 1
    second_opinion(export, report)


def test_an_older_entry_that_comes_late_omits_nothing(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    _, opening = ann.open(bob)  # signed before the next two, and arrives after them
    ann.ask(bob)
    ann.ask(bob)
    bob.admit(opening, ann)
    assert not bob.book.faults()
