"""Exports of a node that changed its key, and of one that followed it: honest ones, and every way to make
more of them. Each is put to both verifiers, and read in chunks of several sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_forge import Forge
from ledger_second import audited
from ledger_world import START_MS, Node, World, world
from rotation_lab import meet, rotate

from opengateway.identity import Identity
from opengateway.ledger.audit import Limits, verify_pair
from opengateway.ledger.entry import CARRY, EARN, FOLLOW, OPEN, SETTLE, sign
from opengateway.ledger.findings import Report

NOW = Limits(now_ms=START_MS + 86_400_000)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "nodes") as here:
        yield here


def history(made: World) -> tuple[Node, Node]:
    """(ann, bob): they serve each other, a SETTLE of hers is lost, she changes her key, and they go on."""
    ann, bob, cat = made.node("ann"), made.node("bob"), made.node("cat")
    ann.ask(bob)
    bob.ask(ann)
    ann.ask(cat)
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    bob.book.delivered(rid, ann.id, 10, 50)
    bob.book.commit()
    ann.settle(rid)
    rotate(ann)
    meet(ann, bob)
    meet(ann, cat)
    ann.ask(bob)
    bob.ask(ann)
    return ann, bob


@pytest.fixture
def hers(made: World, tmp_path: Path) -> Forge:
    return Forge(history(made)[0], tmp_path)


@pytest.fixture
def his(made: World, tmp_path: Path) -> Forge:
    return Forge(history(made)[1], tmp_path)


def audit(forge: Forge) -> Report:
    return audited(forge.save(), NOW)


def expect(forge: Forge, code: str) -> None:
    report = audit(forge)
    assert code in {finding.code for finding in report.findings}, report.findings
    assert report.exit in {2, 3}


def rewrite(forge: Forge, place: int, **changes: Any) -> None:
    """Changes an entry, and re-signs the chain from there on as its author could."""
    forge.sign(place, **changes)
    forge.rechain(place + 1, totals=False)


def carried(forge: Forge) -> int:
    """The account with bob, who owes something, too."""
    return next(
        place
        for place, record in enumerate(forge.records)
        if record.entry.kind == CARRY and record.entry.amount and len(record.half) == 3
    )


def test_the_exports_of_both_are_clean_and_agree(made: World, tmp_path: Path) -> None:
    ann, bob = history(made)
    for node in (ann, bob):
        assert audit(Forge(node, tmp_path)).exit == 0
    paths = []
    for node in (ann, bob):
        paths.append(tmp_path / f"{node.path.parent.name}.ogwl")
        paths[-1].write_bytes(node.export())
    assert verify_pair(*paths, limits=NOW).exit == 0


def test_more_carried_over_than_the_other_side_owes(hers: Forge) -> None:
    place = carried(hers)
    entry = hers.records[place].entry
    rewrite(hers, place, amount=entry.amount + 1000, served=entry.served + 1000, given=entry.given + 1000)
    expect(hers, "E_PAIRVIEW")


def test_carried_over_without_papers_and_without_the_debtor(hers: Forge) -> None:
    hers.records[carried(hers)].half = []
    expect(hers, "E_ONESIDED")


def test_carried_over_on_an_entry_that_it_does_not_name(hers: Forge) -> None:
    record = hers.records[carried(hers)]
    record.half = record.half[:2]
    expect(hers, "E_PEERLINK")


def test_papers_that_the_recovery_key_did_not_sign(hers: Forge) -> None:
    record = hers.records[carried(hers)]
    record.half[-1] = record.half[-1][:-80] + bytes([record.half[-1][-80] ^ 1]) + record.half[-1][-79:]
    expect(hers, "E_ROTATE")


def test_papers_of_another_change_of_keys(hers: Forge, made: World) -> None:
    other = rotate(made.node("dan"))
    hers.records[carried(hers)].half[-1] = other.wire
    expect(hers, "E_ROTATE")


def test_an_account_carried_over_later(hers: Forge) -> None:
    first = carried(hers)
    later = hers.find(OPEN)
    hers.records.insert(later, hers.records.pop(first))
    hers.rechain(first, totals=False)
    expect(hers, "E_ROTATE")


def test_the_half_of_somebody_else(hers: Forge, made: World) -> None:
    record = hers.records[carried(hers)]
    dan = made.node("dan")
    half = sign(dan.identity, record.other._replace(author=dan.id))
    record.half[:2] = [half.body, half.signature]
    expect(hers, "E_PEERKEY")


def test_the_half_with_another_signature(hers: Forge) -> None:
    record = hers.records[carried(hers)]
    record.half[1] = bytes(64)
    expect(hers, "E_PEERSIG")


@pytest.mark.parametrize("kind", [OPEN, SETTLE, EARN])
def test_papers_where_there_is_no_change_of_keys(hers: Forge, kind: int) -> None:
    papers = hers.records[carried(hers)].half[-1]
    hers.records[hers.find(kind)].half.append(papers)
    expect(hers, "E_FORMAT")


def test_an_account_that_moved_without_papers(his: Forge) -> None:
    record = his.records[his.find(FOLLOW)]
    record.half = record.half[:-1]
    expect(his, "E_ROTATE")


def test_a_debt_that_stays_behind(his: Forge) -> None:
    place = his.find(FOLLOW)
    entry = his.records[place].entry
    rewrite(his, place, hold=entry.hold - 500, consumed=entry.consumed - 500)
    expect(his, "E_PAIR")


def test_a_claim_that_grows_on_the_way(his: Forge) -> None:
    place = his.find(FOLLOW)
    entry = his.records[place].entry
    rewrite(his, place, amount=entry.amount + 500, served=entry.served + 500)
    expect(his, "E_PAIR")


def test_an_account_that_moves_to_somebody_else(his: Forge) -> None:
    rewrite(his, his.find(FOLLOW), peer=Identity(b"x" * 32).node_id)
    expect(his, "E_ROTATE")


def test_business_with_a_key_that_was_given_up(his: Forge) -> None:
    old = his.records[1].entry.peer
    place = his.find(OPEN, after=his.find(FOLLOW))
    rewrite(his, place, peer=old)
    expect(his, "E_ROTATE")


def test_an_account_that_moves_twice(his: Forge) -> None:
    place = his.find(FOLLOW)
    record = his.records[place]
    again = type(record)(record.body, record.signature, list(record.half), record.net)
    his.records.insert(place + 1, again)
    his.rechain(place + 1, totals=False)
    expect(his, "E_PAIR")


def test_a_carry_with_a_price(hers: Forge) -> None:
    rewrite(hers, carried(hers), price_completion=1)
    expect(hers, "E_ROTATE")
