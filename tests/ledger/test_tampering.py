"""Every way to falsify a ledger that this version knows of, each with the exit code it must get.

The numbers are those of the list in LEDGER.md; those from 36 on are in test_tampering_beyond.py. Every case
is put to the second verifier too, and both must come to the same exit code.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_forge import EARN, OPEN, SETTLE, Forge, flipped
from ledger_second import NODE, second_opinion, second_opinions
from ledger_world import MODEL, START_MS, World, world

from opengateway.identity import Identity
from opengateway.ledger.audit import Limits, verify
from opengateway.ledger.entry import ZERO32, leaf_of, sign
from opengateway.ledger.findings import Report
from opengateway.ledger.ogwl import LENGTH
from opengateway.ledger.voucher import Voucher, sign_voucher
from opengateway.units import CREDIT

NOW = Limits(now_ms=START_MS + 3_600_000)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Ann asks and serves Bob and Cid in turn; nothing of it is changed by the tests."""
    with world(tmp_path_factory.mktemp("tamper")) as made:
        ann, bob, cid = made.node("ann"), made.node("bob"), made.node("cid")
        for _ in range(8):
            for asks, serves in ((ann, bob), (bob, ann), (cid, ann), (ann, cid)):
                asks.ask(serves, prompt=10, completion=50)
        yield made


@pytest.fixture
def forge(place: World, tmp_path: Path) -> Forge:
    return Forge(place.nodes[0], tmp_path)


def audit(
    forge: Forge, path: Path | None = None, *, evidence: tuple[Path, ...] = (), limits: Limits = NOW
) -> Report:
    """By both verifiers, which must agree."""
    file = path or forge.save()
    report = verify(file, evidence=evidence, limits=limits)
    options = [word for held in evidence for word in ("--evidence", str(held))]
    if limits.credit is not None:
        options += ["--credit-limit", str(limits.credit // CREDIT)]
    second_opinion(file, report, *options)
    return report


def expect(report: Report, code: str, exit_code: int) -> None:
    assert code in {finding.code for finding in report.findings}, report.findings[:5]
    assert report.exit == exit_code


def middle(forge: Forge, kind: int) -> int:
    return forge.find(kind, len(forge.records) // 3)


def test_an_honest_ledger_is_valid(forge: Forge) -> None:
    report = audit(forge)
    assert (report.exit, report.findings) == (0, [])
    assert report.subject.entries == len(forge.records) == 49


def test_01_a_flipped_bit_in_an_own_entry(forge: Forge) -> None:
    record = forge.records[middle(forge, EARN)]
    record.body = flipped(record.body, 100)
    assert audit(forge).exit == 2


def test_02_a_flipped_bit_in_an_own_signature(forge: Forge) -> None:
    record = forge.records[middle(forge, EARN)]
    record.signature = flipped(record.signature, 10)
    expect(audit(forge), "E_SIG", 2)


def test_03_a_flipped_bit_in_a_counterpartys_half(forge: Forge) -> None:
    record = forge.records[middle(forge, EARN)]
    record.half[0] = flipped(record.half[0], 60)
    expect(audit(forge), "E_PEERSIG", 2)


def test_04_a_deleted_entry(forge: Forge) -> None:
    del forge.records[middle(forge, EARN)]
    expect(audit(forge), "E_SEQ", 2)


def test_05_a_deleted_entry_with_everything_after_it_signed_again(forge: Forge) -> None:
    gone = middle(forge, EARN)
    del forge.records[gone]
    forge.rechain(gone)
    report = audit(forge)
    expect(report, "E_PAIRVIEW", 2)
    assert any(finding.cascade_of is not None for finding in report.findings), "followers are grouped"


def test_06_swapped_entries(forge: Forge) -> None:
    at = middle(forge, EARN)
    forge.records[at : at + 2] = reversed(forge.records[at : at + 2])
    expect(audit(forge), "E_SEQ", 2)


def test_07a_a_cut_tail_with_nothing_to_compare_is_named_among_what_was_not_checked(forge: Forge) -> None:
    while forge.records[-1].entry.kind != EARN or len(forge.records) > 40:
        forge.records.pop()
    report = audit(forge)
    assert report.exit == 0
    assert "whether entries after the last one here exist" in report.not_checked[0]


def test_07c_a_cut_tail_while_somebody_holds_a_later_entry(forge: Forge, tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.write_bytes(sign(forge.author, forge.records[-1].entry).wire)
    del forge.records[-5:]
    expect(audit(forge, evidence=(later,)), "E_TRUNCATED", 4)


def test_08_a_torn_last_record(forge: Forge) -> None:
    count = len(forge.records)
    forge.records.pop()
    expect(audit(forge, forge.save(tail=LENGTH.pack(700) + os.urandom(200), entries=count)), "E_TORN", 4)


def test_09_an_own_entry_signed_with_another_key(forge: Forge) -> None:
    record = forge.records[middle(forge, EARN)]
    record.signature = sign(Identity.generate(), record.entry).signature
    expect(audit(forge), "E_SIG", 2)


def test_10_a_counterpartys_half_signed_with_another_key(forge: Forge) -> None:
    record = forge.records[middle(forge, EARN)]
    record.half[1] = sign(Identity.generate(), record.other).signature
    expect(audit(forge), "E_PEERSIG", 2)


def test_11_a_half_by_somebody_else_entirely(forge: Forge) -> None:
    at, stranger = middle(forge, EARN), Identity.generate()
    forge.sign_half(at, stranger, author=stranger.node_id)
    forge.sign(at, link=leaf_of(forge.records[at].half[0]))
    forge.rechain(at)
    expect(audit(forge), "E_PEERKEY", 2)


def test_12_a_replayed_receipt(forge: Forge) -> None:
    at = middle(forge, EARN)
    again = forge.records[at]
    forge.records.insert(at + 1, type(again)(again.body, again.signature, list(again.half)))
    forge.rechain(at + 1)
    report = audit(forge)
    expect(report, "E_DUPRID", 3)
    assert "F3-duplicate" in {kind for kind, _ in report.proofs}


def test_13_a_fork_by_the_author_that_somebody_holds(forge: Forge, tmp_path: Path) -> None:
    held = tmp_path / "held"
    entry = forge.records[middle(forge, EARN)].entry
    held.write_bytes(sign(forge.author, entry._replace(rid=bytes(16))).wire)
    report = audit(forge, evidence=(held,))
    expect(report, "E_FORK", 3)
    assert [kind for kind, _ in report.proofs] == ["F1-fork"]


def test_14_a_fork_by_a_counterparty(forge: Forge, place: World) -> None:
    bob = place.nodes[1]
    mine = [i for i, record in enumerate(forge.records) if record.half and record.other.author == bob.id]
    forge.sign_half(mine[3], bob.identity, seq=forge.records[mine[2]].other.seq)
    expect(audit(forge), "E_PEERFORK", 3)


def test_14b_a_counterparty_whose_totals_shrink(forge: Forge, place: World) -> None:
    bob = place.nodes[1]
    mine = [i for i, record in enumerate(forge.records) if record.half and record.other.author == bob.id]
    forge.sign_half(mine[3], bob.identity, given=0, taken=0)
    expect(audit(forge), "E_PEERHISTORY", 3)


def test_15_earning_without_the_debtors_signature(forge: Forge) -> None:
    forge.records[middle(forge, EARN)].half = []
    expect(audit(forge), "E_ONESIDED", 2)


def test_16_inflated_tokens_signed_again(forge: Forge) -> None:
    at = middle(forge, EARN)
    entry = forge.records[at].entry
    forge.sign(at, completion_tokens=entry.completion_tokens + 1000, amount=entry.amount + 100_000)
    forge.rechain(at)
    expect(audit(forge), "E_MISMATCH", 2)


def test_17_a_raised_running_total(forge: Forge) -> None:
    at = middle(forge, EARN)
    forge.sign(at, given=forge.records[at].entry.given + 10**9)
    forge.rechain(at, totals=False)
    report = audit(forge)
    expect(report, "E_TOTALS", 3)
    assert report.proofs[0][0] == "F2-history"


def test_17b_a_raised_total_with_one_peer(forge: Forge) -> None:
    at = middle(forge, EARN)
    forge.sign(at, served=forge.records[at].entry.served + 10**9)
    forge.rechain(at, totals=False)
    expect(audit(forge), "E_PAIR", 3)


def test_18_negative_tokens(forge: Forge) -> None:
    at = middle(forge, EARN)
    signed = sign(forge.author, forge.records[at].entry._replace(completion_tokens=-5))
    forge.records[at].body, forge.records[at].signature = signed.body, signed.signature
    expect(audit(forge), "E_FORMAT", 2)


def test_19_spending_beyond_a_credit_limit(forge: Forge) -> None:
    expect(audit(forge, limits=NOW._replace(credit=0)), "E_LIMIT", 2)
    assert audit(forge, limits=NOW._replace(credit=1000 * CREDIT)).exit == 0


def test_20_time_that_goes_back(forge: Forge) -> None:
    at = middle(forge, EARN)
    forge.sign(at, t_ms=forge.records[at].entry.t_ms - 10**7)
    forge.rechain(at)
    expect(audit(forge), "E_TIME", 3)


def test_21_an_entry_from_the_future(forge: Forge) -> None:
    forge.sign(len(forge.records) - 1, t_ms=10**14)
    expect(audit(forge), "E_FUTURE", 2)


def test_22_an_earn_long_before_its_settle(forge: Forge, place: World) -> None:
    at = next(i for i, r in enumerate(forge.records) if r.entry.kind == SETTLE)
    worker = next(node for node in place.nodes if node.id == forge.records[at].entry.peer)
    forge.sign_half(at, worker.identity, t_ms=forge.records[at].entry.t_ms - 10**7)
    expect(audit(forge), "E_PAIRTIME", 2)


def test_22b_an_earn_long_after_its_settle_is_a_warning(forge: Forge, place: World) -> None:
    at = max(i for i, r in enumerate(forge.records) if r.entry.kind == SETTLE)
    worker = next(node for node in place.nodes if node.id == forge.records[at].entry.peer)
    forge.sign_half(at, worker.identity, t_ms=forge.records[at].entry.t_ms + 10**6)
    expect(audit(forge), "W_PAIRTIME", 1)


def test_23_a_request_id_used_twice(forge: Forge) -> None:
    first = middle(forge, OPEN)
    again = forge.find(OPEN, first + 1)
    old = forge.records[first].entry
    forge.sign(again, rid=old.rid, peer=old.peer)
    forge.rechain(again)
    expect(audit(forge), "E_DUPRID", 3)


def test_24_another_encoding_of_the_same_values(forge: Forge) -> None:
    record = forge.records[middle(forge, EARN)]
    entry = record.entry
    at = record.body.index(b"\x18\x32", record.body.index(MODEL.encode()))  # completion_tokens 50
    body = record.body[:at] + b"\x19\x00\x32" + record.body[at + 2 :]
    record.body, record.signature = body, forge.author.sign(b"OGW1 entry\n" + leaf_of(body))
    assert entry.completion_tokens == 50
    expect(audit(forge), "E_FORMAT", 2)


def test_25_dealing_with_oneself(forge: Forge) -> None:
    at = middle(forge, EARN)
    forge.sign(at, peer=forge.author.node_id)
    forge.rechain(at)
    expect(audit(forge), "E_SELF", 2)


def test_26_a_price_above_the_networks_cap(forge: Forge) -> None:
    at = middle(forge, EARN)
    forge.sign(at, price_completion=5_000_000, amount=50 * 5_000_000 + 100)
    forge.rechain(at)
    expect(audit(forge), "E_PRICE", 2)


def test_27_an_amount_that_is_not_tokens_times_price(forge: Forge) -> None:
    at = middle(forge, EARN)
    forge.sign(at, amount=forge.records[at].entry.amount + 1)
    forge.rechain(at)
    expect(audit(forge), "E_AMOUNT", 2)


def test_28_more_settled_than_was_held(forge: Forge) -> None:
    at = middle(forge, SETTLE)
    forge.sign(at, completion_tokens=10**6, amount=100 + 10**8)
    forge.rechain(at)
    expect(audit(forge), "E_HOLD", 2)


def test_29_an_entry_of_another_network(forge: Forge) -> None:
    at = middle(forge, EARN)
    forge.records[at].body = sign(forge.author, forge.records[at].entry._replace(net=b"ogwtest1")).body
    expect(audit(forge), "E_NETWORK", 2)


def test_30_halves_swapped_between_receipts(forge: Forge) -> None:
    first = middle(forge, EARN)
    second = forge.find(EARN, first + 1)
    one, two = forge.records[first], forge.records[second]
    one.half, two.half = two.half, one.half
    assert audit(forge).exit == 2


def test_31_a_chain_without_its_genesis(forge: Forge) -> None:
    del forge.records[:5]
    expect(audit(forge), "E_HEADLESS", 2)


def test_32_a_counterparty_whose_key_lets_anybody_sign(forge: Forge) -> None:
    at = middle(forge, EARN)
    neutral = b"\x01" + bytes(31)
    half = forge.records[at].other._replace(author=neutral)  # type: ignore[arg-type]
    forge.records[at].half = [half.body, neutral + bytes(32)]
    forge.sign(at, peer=neutral, link=leaf_of(half.body))
    forge.rechain(at)
    expect(audit(forge), "E_PEERSIG", 2)


def test_33_a_settle_that_belongs_to_no_open(forge: Forge) -> None:
    at = middle(forge, SETTLE)
    forge.sign(at, link=random.Random(1).randbytes(32))
    forge.rechain(at)
    expect(audit(forge), "E_LINK", 2)


def test_34_a_hidden_hold(forge: Forge) -> None:
    at = middle(forge, OPEN)
    del forge.records[at]
    forge.rechain(at)
    expect(audit(forge), "E_NOOPEN", 3)


def test_35_a_hidden_debt(forge: Forge) -> None:
    at = middle(forge, OPEN)
    rid = forge.records[at].entry.rid
    forge.records = [record for record in forge.records if record.entry.rid != rid]
    forge.rechain(at)
    expect(audit(forge), "E_PAIRVIEW", 2)


def test_44_a_file_that_was_cut_or_lengthened_after_it_was_written(forge: Forge) -> None:
    data = forge.save().read_bytes()
    forge.path.write_bytes(data[:-1])
    expect(audit(forge, forge.path), "E_DIGEST", 2)
    forge.path.write_bytes(data + b"\0")
    expect(audit(forge, forge.path), "E_DIGEST", 2)


def test_a_hold_that_is_still_open_is_a_warning(place: World, tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("dora"), here.node("emil")
        ann.open(bob)
        expect(audit(Forge(ann, tmp_path)), "W_UNSETTLED", 1)


def test_a_settle_without_its_earn_is_a_warning(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        ann, bob = here.node("dora"), here.node("emil")
        ann.settle(ann.open(bob)[0])
        expect(audit(Forge(ann, tmp_path)), "W_NOCOUNTER", 1)


@pytest.mark.parametrize(
    "data", [b"", b"OGWL", b"OGWL\x02" + bytes(100), b"SQLite format 3\0", bytes(10_000)]
)
def test_what_is_no_export_is_unreadable(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert verify(path).exit == 5


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert verify(tmp_path / "nowhere").exit == 5


def small(tmp_path: Path) -> Forge:
    """One receipt on each side: all kinds of bytes there are, and quick to audit (2 ms)."""
    with world(tmp_path) as here:
        ann, bob = here.node("ann"), here.node("bob")
        ann.ask(bob)
        bob.ask(ann)
        forge = Forge(ann, tmp_path)
    settle = forge.records[forge.find(SETTLE)].entry
    promised = Voucher(settle.link, 1, settle.completion_tokens, settle.amount, settle.t_ms)
    voucher = sign_voucher(forge.author, promised)
    forge.vouchers = [[voucher.body, voucher.signature]]
    forge.notes = [forge.note(3, Identity.generate())]
    forge.save()
    return forge


def flip(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ chance.randrange(1, 256)]) + data[place + 1 :]


def _flips(forge: Forge, count: int, seed: int) -> None:
    """The digest at the end alone would find them all, so every other file gets a fresh one: then entries,
    signatures, vouchers and checkpoints must stand for themselves."""
    data, chance = forge.path.read_bytes(), random.Random(seed)
    assert verify(forge.path, limits=NOW).exit == 0
    missed = 0
    for number in range(count):
        body = flip(data[:-32], chance)
        refreshed = number % 2
        forge.path.write_bytes(body + (hashlib.sha256(body).digest() if refreshed else data[-32:]))
        found = verify(forge.path, limits=NOW).exit
        assert found or refreshed, "without a fresh digest every flip shows"
        missed += not found
    assert missed <= count // 100, (
        "the header's time and the names of unknown witnesses are bound by nothing else"
    )


@pytest.mark.timeout(180)
def test_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    _flips(small(tmp_path), 1000, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("tenth", range(10))
def test_any_of_ten_thousand_flipped_bytes_is_noticed(tmp_path: Path, tenth: int) -> None:
    """10,000 flips anywhere in a file, as it lies on a disk: each gives a non-zero exit (53 s in all)."""
    forge = small(tmp_path)
    data, chance = forge.path.read_bytes(), random.Random(100 + tenth)
    for _ in range(1000):
        forge.path.write_bytes(flip(data, chance))
        assert verify(forge.path, limits=NOW).exit != 0


def test_both_verifiers_agree_on_flipped_bytes(tmp_path: Path) -> None:
    """Half of the files with a fresh digest, so that what disagrees is not hidden behind it."""
    if NODE is None:
        pytest.skip("the second verifier needs Node.js, which is not installed")
    forge, chance = small(tmp_path), random.Random(3)
    data = forge.path.read_bytes()
    paths = [tmp_path / f"{number}.ogwl" for number in range(300)]
    for number, path in enumerate(paths):
        body = flip(data[:-32], chance)
        path.write_bytes(body + (hashlib.sha256(body).digest() if number % 2 else data[-32:]))
    mine = [verify(path, limits=NOW).exit for path in paths]
    assert second_opinions(paths) == mine


def test_a_genesis_that_carries_money(forge: Forge) -> None:
    forge.sign(0, given=10**9)
    forge.rechain(1, totals=False)
    expect(audit(forge), "E_GENESIS", 3)


def test_a_void_with_tokens(forge: Forge) -> None:
    at = middle(forge, SETTLE)
    forge.sign(at, kind=6)
    forge.rechain(at)
    expect(audit(forge), "E_AMOUNT", 2)
    assert bytes(32) == ZERO32
