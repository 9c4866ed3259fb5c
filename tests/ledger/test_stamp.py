"""The identity stamp: what it takes, whose it is, and that it is asked for and checked once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from ledger_world import NET, Node, World, world

from opengateway.errors import LedgerRefused, StampMissing
from opengateway.ledger import stamp, stamps
from opengateway.ledger.stamp import StampInvalid, check_stamp, read_stamp
from opengateway.ledger.stamp_child import search

VECTORS = Path(__file__).parents[1] / "vectors" / "ledger.json"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(stamp, "TRIES", 8)
    with world(tmp_path) as made:
        yield made


def stamped(node: Node) -> bytes:
    made = node.book.stamps.keep(search(node.book.stamps.challenge(), stamp.TRIES))
    node.book.commit()
    return made


def guarded(lab: World, name: str = "worker") -> Node:
    """A node that asks strangers for their stamps."""
    made = lab.node(name)
    made.book.check_strangers(made.book.stamps.require)
    return made


def test_the_vector_carries_the_whole_work_and_not_for_another_key() -> None:
    vector = json.loads(VECTORS.read_text())
    net, key = bytes.fromhex(vector["net"]), bytes.fromhex(vector["entries"]["C genesis"]["fields"][3])
    data = bytes.fromhex(vector["stamp of C"])
    check_stamp(read_stamp(data, net, key), net)
    with pytest.raises(StampInvalid, match="another key"):
        read_stamp(data, net, bytes(32))
    name, body, signature, nonce = cbor2.loads(data)
    for false in (
        [name, body, signature, bytes(8)],
        [name, body, bytes(64), nonce],
    ):
        with pytest.raises(StampInvalid, match=r"without the work|not signed"):
            check_stamp(read_stamp(cbor2.dumps(false), net, key), net)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\x84" + b"\xff" * 20, cbor2.dumps(["ogw-stamp/1", b"", b"", bytes(8)]), bytes(600)],
)
def test_what_is_no_stamp_is_refused_whatever_it_is(data: bytes) -> None:
    with pytest.raises(StampInvalid):
        read_stamp(data, NET, bytes(32))


def test_a_stranger_is_served_once_it_shows_its_stamp_and_need_not_show_it_again(lab: World) -> None:
    stranger, worker = lab.node("stranger"), guarded(lab)
    _, opening = stranger.open(worker)
    with pytest.raises(StampMissing, match="identity stamp") as refused:
        worker.admit(opening, stranger)
    assert refused.value.status == 402 and refused.value.retry_after
    worker.book.stamps.present(stranger.id, stamped(stranger))
    assert worker.admit(opening, stranger) > 0

    worker.crash()
    worker.book.check_strangers(worker.book.stamps.require)
    _, again = stranger.open(worker)
    assert worker.admit(again, stranger) > 0
    stranger.crash()
    assert stranger.book.stamps.own


def test_whom_credit_covers_needs_no_stamp(lab: World) -> None:
    friend, worker = lab.node("friend"), guarded(lab)
    worker.ask(friend)
    _, opening = friend.open(worker, prompt=1, most=1)
    assert worker.admit(opening, friend) == 0


def test_somebody_elses_stamp_is_refused_and_forgotten(lab: World) -> None:
    stranger, other, worker = lab.node("stranger"), lab.node("other"), guarded(lab)
    worker.book.stamps.present(stranger.id, stamped(other))
    _, opening = stranger.open(worker)
    with pytest.raises(LedgerRefused, match="another key") as refused:
        worker.admit(opening, stranger)
    assert refused.value.reason == "stamp"
    with pytest.raises(StampMissing):
        worker.admit(opening, stranger)


def test_a_stamp_whose_genesis_is_another_than_the_one_shown_before_is_proof_of_fraud(
    lab: World, tmp_path: Path
) -> None:
    stranger, worker = lab.node("stranger"), guarded(lab)
    lab.clock.pass_ms(1000)
    twin = Node(tmp_path / "elsewhere", "stranger", lab.clock)
    lab.nodes.append(twin)
    rid, opening = stranger.open(worker)
    worker.book.admit(opening, stranger.id, price_prompt=10, price_completion=100, near=True)
    worker.book.release(rid, stranger.id)
    worker.book.commit()
    worker.book.stamps.present(stranger.id, stamped(twin))
    _, opening = stranger.open(worker)
    with pytest.raises(LedgerRefused, match="cannot both be true"):
        worker.admit(opening, stranger)
    worker.book.commit()
    assert [kind for _, kind, _ in worker.book.faults()] == ["F2-history"]


def test_a_flood_of_false_stamps_is_checked_within_a_budget(
    lab: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "CHECKS_AT_ONCE", 2.0)
    worker = guarded(lab)
    worker.book.stamps._budget = 2.0
    reasons = []
    for number in range(4):
        stranger = lab.node(f"stranger {number}")
        worker.book.stamps.present(stranger.id, b"\x80")
        _, opening = stranger.open(worker)
        with pytest.raises(LedgerRefused) as refused:
            worker.admit(opening, stranger)
        reasons.append(refused.value.reason)
    assert reasons == ["stamp", "stamp", "busy", "busy"]
    lab.clock.pass_ms(100)
    with pytest.raises(LedgerRefused) as refused:
        worker.admit(opening, stranger)
    assert refused.value.reason == "stamp"


def test_a_nonce_without_the_work_is_not_kept(lab: World) -> None:
    node = lab.node("ann")
    nonce = next(
        n
        for n in (bytes(7) + bytes([i]) for i in range(256))
        if not stamp.stamps(node.book.stamps.challenge(), n)
    )
    with pytest.raises(LedgerRefused):
        node.book.stamps.keep(nonce)
    assert not node.book.stamps.own


def test_only_so_many_unlooked_at_stamps_are_held(lab: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "WAITING", 2)
    worker = guarded(lab)
    for number in range(5):
        worker.book.stamps.present(lab.node(str(number)).id, b"x")
    assert len(worker.book.stamps._presented) == 2
