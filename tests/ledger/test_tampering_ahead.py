"""Exports of nodes that earned by vouchers and of those that were gone: honest ones, and every way to make
more of them. Each is put to both verifiers, and read in chunks of several sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_forge import EARN, SETTLE, Forge
from ledger_gone import QUARTER_H, VOUCHED, admitted, agree, quarter_of_an_hour, served
from ledger_second import audited
from ledger_world import PRICE, START_MS, Node, World, world

from opengateway.identity import Identity
from opengateway.ledger.audit import Limits, verify, verify_pair
from opengateway.ledger.audit_certificate import certify
from opengateway.ledger.entry import leaf_of
from opengateway.ledger.findings import Report

NOW = Limits(now_ms=START_MS + 86_400_000)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "nodes") as here:
        yield here


def history(made: World) -> tuple[Node, Node]:
    """(bob, ann): Bob asks Ann, who earns one of his requests by its voucher while a SETTLE of his is on its
    way, settles another while that hangs, and then this one; then they go on. Between what he signs for her
    stands what he signs for Cid."""
    bob, ann, cid = made.node("bob"), made.node("ann"), made.node("cid")
    bob.ask(ann)
    gone, lost = served(bob, ann), admitted(bob, ann)
    late = bob.settle(lost, completion=30)
    quarter_of_an_hour(ann)
    bob.pay(ann, late)
    cid.ask(bob)
    ann.ask(bob)
    bob.ask(ann)
    cid.ask(bob)
    bob.pay(ann, bob.settle(gone, completion=100))
    cid.ask(bob)
    bob.ask(ann)
    return bob, ann


BY_VOUCHER, LATE, AHEAD, REST, LAST = range(1, 6)
"""Ann's EARNs, and beside Bob's SETTLEs all but the first of these."""


def nth(forge: Forge, kind: int, number: int) -> int:
    return [place for place, record in enumerate(forge.records) if record.entry.kind == kind][number]


def audit(forge: Forge) -> Report:
    return audited(forge.save(), NOW)


def expect(report: Report, code: str, exit_code: int = 2) -> None:
    assert code in {finding.code for finding in report.findings}, report.findings
    assert report.exit == exit_code


def owed(forge: Forge, number: int, by: Identity, **changes: int) -> None:
    """Bob's SETTLE beside one of Ann's EARNs says something else, by his own hand, and her EARN names it."""
    place = nth(forge, EARN, number)
    forge.sign_half(place, by, **changes)
    forge.sign(place, link=leaf_of(forge.records[place].half[0]))
    forge.rechain(place)


def test_an_honest_history_with_vouchers_is_valid_on_both_sides(made: World, tmp_path: Path) -> None:
    bob, ann = history(made)
    files = tmp_path / "ann.ogwl", tmp_path / "bob.ogwl"
    for node, file in zip((ann, bob), files, strict=True):
        forge = Forge(node, tmp_path)
        assert {finding.code for finding in audit(forge).findings} == {"W_PAIRTIME"}
        file.write_bytes(forge.path.read_bytes())
    found = verify_pair(*files, limits=NOW)
    assert not found.between.findings
    assert found.exit == 1
    for limits in (NOW._replace(sample=2), NOW._replace(sample=3), NOW._replace(sample=5)):
        assert verify(files[0], limits=limits).exit <= 1


def test_a_settle_older_than_the_request_that_was_earned_by_its_voucher(made: World, tmp_path: Path) -> None:
    """When it was signed nothing else was held; its EARN is ahead by what was vouched for since."""
    bob, ann = made.node("bob"), made.node("ann")
    lost = bob.settle(admitted(bob, ann), completion=30)
    rid = served(bob, ann)
    quarter_of_an_hour(ann)
    bob.pay(ann, lost)
    for node, warnings in ((ann, {"W_PAIRTIME"}), (bob, {"W_PAIRTIME", "W_UNSETTLED"})):
        assert {finding.code for finding in audit(Forge(node, tmp_path)).findings} == warnings
    bob.pay(ann, bob.settle(rid, completion=100))
    agree(bob, ann)


def test_a_pair_that_settles_behind_a_voucher_is_on_its_way_and_no_more(made: World, tmp_path: Path) -> None:
    bob, ann = made.node("bob"), made.node("ann")
    served(bob, ann)
    bob.settle(admitted(bob, ann), completion=30)
    quarter_of_an_hour(ann)
    files = tmp_path / "ann.ogwl", tmp_path / "bob.ogwl"
    files[0].write_bytes(ann.export())
    files[1].write_bytes(bob.export())
    between = verify_pair(*files, limits=NOW).between
    assert sorted(finding.code for finding in between.findings) == ["W_INFLIGHT", "W_INFLIGHT"]
    assert str(VOUCHED) in between.findings[0].detail
    forge = Forge(bob, tmp_path)
    del forge.records[-1]  # the SETTLE: Ann earned by voucher alone, and that is what Bob owes
    files[1].write_bytes(forge.save().read_bytes())
    [found] = verify_pair(*files, limits=NOW).between.findings
    assert found.code == "W_INFLIGHT"


def test_what_a_certificate_covers_is_still_counted(made: World, tmp_path: Path) -> None:
    bob, ann = made.node("bob"), made.node("ann")
    rid = served(bob, ann)
    quarter_of_an_hour(ann)
    before = Forge(ann, tmp_path)
    certificate = tmp_path / "certificate"
    certificate.write_bytes(certify(verify(before.path, limits=NOW), Identity.generate()))
    bob.ask(ann)
    bob.pay(ann, bob.settle(rid, completion=100))
    bob.ask(ann)
    report = verify(Forge(ann, tmp_path).path, since=certificate, limits=NOW)
    assert (report.exit, report.findings, +report.ahead) == (0, [], {})


@pytest.mark.parametrize("number", [LATE, AHEAD, REST, LAST])
def test_an_earn_ahead_of_its_settle_by_more_than_its_vouchers(
    made: World, tmp_path: Path, number: int
) -> None:
    """Bob helps: he signs that he had spent less. At the first two he held enough, or the EARN was late."""
    bob, ann = history(made)
    forge = Forge(ann, tmp_path)
    settle = forge.records[nth(forge, EARN, number)].other
    owed(forge, number, bob.identity, consumed=settle.consumed - 1)
    expect(audit(forge), "E_PAIRVIEW")


def test_a_voucher_earned_again_in_full_when_its_settle_came(made: World, tmp_path: Path) -> None:
    _, ann = history(made)
    forge = Forge(ann, tmp_path)
    place = nth(forge, EARN, REST)
    settle = forge.records[place].other
    whole = {"prompt_tokens": settle.prompt_tokens, "completion_tokens": settle.completion_tokens}
    forge.sign(place, amount=settle.amount, **whole)
    forge.rechain(place)
    expect(audit(forge), "E_PAIRVIEW")


def test_the_rest_of_a_request_that_was_never_earned_by_a_voucher(made: World, tmp_path: Path) -> None:
    """Else what is owed could be written down as less than what was signed for, and be called complete."""
    bob, ann = history(made)
    forge = Forge(ann, tmp_path)
    place = nth(forge, EARN, LAST)
    record = forge.records[place]
    left = {"completion_tokens": 40, "amount": record.entry.amount - 10 * PRICE.completion}
    forge.sign(place, rid=leaf_of(record.half[0])[:16], **left)
    forge.rechain(place)
    expect(audit(forge), "E_PAIRVIEW")
    owed(forge, LAST, bob.identity, consumed=forge.records[place].entry.served)
    forge.sign(place, rid=leaf_of(record.half[0])[:16])
    forge.rechain(place)
    expect(audit(forge), "E_PAIRVIEW")


def test_the_rest_of_another_request_than_the_one_earned_by_a_voucher(made: World, tmp_path: Path) -> None:
    """The sums fit: what was vouched for in one request is left out of what is earned for the next."""
    bob, ann = made.node("bob"), made.node("ann")
    served(bob, ann)
    quarter_of_an_hour(ann)
    bob.ask(ann, completion=100)
    forge = Forge(ann, tmp_path)
    place = nth(forge, EARN, 1)
    record = forge.records[place]
    settle = record.other
    left = {"prompt_tokens": 0, "completion_tokens": 36, "amount": 36 * PRICE.completion}
    forge.sign(place, rid=leaf_of(record.half[0])[:16], **left)
    forge.rechain(place)
    assert forge.records[place].entry.served == settle.consumed
    expect(audit(forge), "E_PAIRVIEW")


def test_an_earn_by_voucher_left_out_after_its_rest(made: World, tmp_path: Path) -> None:
    _, ann = history(made)
    forge = Forge(ann, tmp_path)
    place = nth(forge, EARN, BY_VOUCHER)
    del forge.records[place]
    forge.rechain(place)
    expect(audit(forge), "E_PAIRVIEW")


def test_a_worker_that_claims_more_than_the_requester_held(made: World, tmp_path: Path) -> None:
    bob, ann = history(made)
    forge = Forge(bob, tmp_path)
    for number, exit_code in ((1, 2), (AHEAD, 3), (LAST, 2)):  # 3: the next EARN claims less again
        place = nth(forge, SETTLE, number - 1)
        honest, held = forge.records[place].other, forge.records[place].entry.held
        assert honest.served - forge.records[place].entry.consumed in (VOUCHED, 0)
        kept = list(forge.records[place].half)
        forge.sign_half(place, ann.identity, served=forge.records[place].entry.consumed + held + 1)
        expect(audit(forge), "E_PAIRVIEW", exit_code)
        forge.records[place].half = kept
    assert audit(forge).exit == 1


def test_a_worker_that_claims_what_was_held_at_somebody_else(made: World, tmp_path: Path) -> None:
    """Within all that was held at the SETTLE, but not with this worker."""
    bob, ann, cid = made.node("bob"), made.node("ann"), made.node("cid")
    bob.open(cid)
    bob.ask(ann)
    forge = Forge(bob, tmp_path)
    place = nth(forge, SETTLE, 0)
    assert audit(forge).exit == 1
    forge.sign_half(place, ann.identity, served=forge.records[place].other.served + 1)
    expect(audit(forge), "E_PAIRVIEW")


def test_a_late_earn_that_claims_what_nobody_owed(made: World, tmp_path: Path) -> None:
    """Late enough, requests opened after the SETTLE count too, but no more than there are."""
    bob, ann = made.node("bob"), made.node("ann")
    bob.ask(ann)
    bob.ask(ann)
    forge = Forge(bob, tmp_path)
    place = nth(forge, SETTLE, 1)
    earn = forge.records[place].other
    forge.sign_half(place, ann.identity, t_ms=earn.t_ms + QUARTER_H, served=earn.served + 1)
    expect(audit(forge), "E_PAIRVIEW")


def test_a_requester_that_claims_more_than_the_worker_owes_it(made: World, tmp_path: Path) -> None:
    bob, ann = history(made)
    forge = Forge(ann, tmp_path)
    settle = forge.records[nth(forge, EARN, LAST)].other
    owed(forge, LAST, bob.identity, served=settle.served + 1)
    expect(audit(forge), "E_PAIRVIEW")


def test_a_requester_that_claims_what_the_worker_owes_only_later(made: World, tmp_path: Path) -> None:
    bob, ann, cid = made.node("bob"), made.node("ann"), made.node("cid")
    bob.ask(ann)
    cid.ask(bob)
    ann.ask(bob)
    forge = Forge(ann, tmp_path)
    assert audit(forge).exit == 0
    owed(forge, 0, bob.identity, served=1)
    expect(audit(forge), "E_PAIRVIEW")


def test_a_hidden_debt_behind_a_voucher(made: World, tmp_path: Path) -> None:
    """Bob leaves out the request that Ann earned by his voucher; her halves remember it."""
    bob, _ = history(made)
    forge = Forge(bob, tmp_path)
    rid = forge.records[nth(forge, SETTLE, REST - 1)].entry.rid
    forge.records = [record for record in forge.records if record.entry.rid != rid]
    forge.rechain(1)
    expect(audit(forge), "E_PAIRVIEW")
