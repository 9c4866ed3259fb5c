"""A node that forgot what it signed: it gets it back from its peers or signs nothing, and never forks."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_gone import quarter_of_an_hour, served
from ledger_world import NET, Node, World, world

from opengateway.errors import LedgerReadOnly, LedgerRefused
from opengateway.ledger.audit import Limits, verify
from opengateway.ledger.checkpoint import write_note
from opengateway.ledger.cosign import write_request
from opengateway.wire import cbor
from opengateway.wire.codec import decode_message, encode_message
from opengateway.wire.witness_messages import AddCheckpoint, Entries, GetEntries, NotCosigned, WitnessMessage

SIDES = ("", "-wal", ".mark", ".readonly")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def side(node: Node, suffix: str) -> Path:
    return node.path.with_name(node.path.name + suffix)


def meet(node: Node, *peers: Node) -> None:
    """New sessions: what each says until nobody has an answer, as it travels."""
    for peer in peers:
        talk: list[tuple[Node, Node, WitnessMessage]]
        talk = [(node, peer, said) for _, said in node.book.witnessing.met(peer.id)]
        for _ in range(1000):
            if not talk:
                break
            source, target, said = talk.pop(0)
            heard = decode_message(encode_message(said))
            assert isinstance(heard, WitnessMessage)
            answers = target.book.witnessing.hear(source.id, heard)
            target.book.commit()
            talk += [(target, source, answer) for _, answer in answers]
        assert not talk


def image(node: Node, folder: Path) -> Path:
    """A copy of the node's disk."""
    folder.mkdir(parents=True)
    for suffix in SIDES:
        if side(node, suffix).exists():
            shutil.copy(side(node, suffix), folder / side(node, suffix).name)
    return folder


def restore(node: Node, folder: Path) -> None:
    """The disk is that copy again."""
    node.book.close()
    for suffix in (*SIDES, "-shm"):
        side(node, suffix).unlink(missing_ok=True)
    for file in folder.iterdir():
        shutil.copy(file, node.path.parent / file.name)
    node.book = node._open()


def chain(node: Node) -> list[bytes]:
    return [row.leaf for row in node.book._journal.vault.store.rows()]


def signs(node: Node, peer: Node) -> bool:
    try:
        node.open(peer)
    except LedgerReadOnly as error:
        assert error.hint
        return False
    return True


def is_whole(node: Node, *peers: Node) -> bool:
    """Signs again, and the audit of everybody finds nothing."""
    assert signs(node, peers[0])
    for one in (node, *peers):
        path = one.path.parent / "whole.ogwl"
        path.write_bytes(one.export())
        report = verify(path, limits=Limits(now_ms=one.clock()))
        assert report.exit in (0, 1), report.findings[:3]
        assert not one.book.faults()
    return True


# -- what is lost and comes back ---------------------------------------------------------------------


def test_an_old_database_beside_its_mark_gets_everything_back(lab: World, tmp_path: Path) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    old = image(ann, tmp_path / "old")
    for peer in (bob, cid, bob):
        ann.ask(peer)
        peer.ask(ann)
    want, balance = chain(ann), ann.book.balance()
    shutil.copy(side(ann, ".mark"), old / side(ann, ".mark").name)
    restore(ann, old)
    assert not signs(ann, bob)
    meet(ann, bob)
    assert ann.book.damage, "cid has some of it"
    meet(ann, cid)
    assert not ann.book.damage and chain(ann) == want
    assert ann.book.balance() == balance
    assert is_whole(ann, bob, cid)
    ann.crash()
    assert not ann.book.damage and chain(ann)[: len(want)] == want


def test_a_restored_disk_image_is_noticed_at_the_first_peer(lab: World, tmp_path: Path) -> None:
    """Database and mark agree: only peers can know."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    ann.ask(cid)
    old = image(ann, tmp_path / "old")
    ann.ask(bob)
    want = chain(ann)
    restore(ann, old)
    assert not ann.book.damage
    meet(ann, bob)
    assert "older copy" in ann.book.damage and not signs(ann, bob)
    ann.crash()
    assert not signs(ann, bob), "also after a restart"
    meet(ann, bob)
    assert ann.book.damage, "cid may have seen something later still"
    meet(ann, cid)
    assert chain(ann) == want and is_whole(ann, bob, cid)
    ann.crash()
    assert is_whole(ann, bob, cid)


def test_what_another_peer_saw_last_is_waited_for(lab: World, tmp_path: Path) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    ann.ask(cid)
    old = image(ann, tmp_path / "old")
    ann.ask(bob)
    ann.ask(cid)
    want = chain(ann)
    restore(ann, old)
    meet(ann, bob)
    assert ann.book.damage
    meet(ann, cid)
    assert chain(ann) == want and is_whole(ann, bob, cid)


def test_a_mark_that_is_gone_is_made_good_by_everybody_it_dealt_with(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    ann.ask(cid)
    ann.book.close()
    side(ann, ".mark").unlink()
    ann.book = ann._open()
    assert not signs(ann, bob)
    ann.crash()
    assert not signs(ann, bob), "the second start does not forget it"
    meet(ann, bob)
    assert not signs(ann, bob)
    meet(ann, cid)
    assert is_whole(ann, bob, cid)


def test_damaged_entries_at_the_end_are_replaced(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    for _ in range(4):
        ann.ask(bob)
    want = chain(ann)
    ann.book.close()
    with sqlite3.connect(ann.path) as base:
        base.execute("UPDATE entries SET body = zeroblob(40) WHERE seq = 3")
        base.execute("UPDATE entries SET sig = zeroblob(64) WHERE seq = 6")
    base.close()
    ann.book = ann._open()
    assert not signs(ann, bob)
    meet(ann, bob)
    assert chain(ann) == want and is_whole(ann, bob)


def test_many_entries_come_in_many_answers(lab: World, tmp_path: Path) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    old = image(ann, tmp_path / "old")
    for _ in range(200):
        ann.ask(bob)
    want = chain(ann)
    restore(ann, old)
    meet(ann, bob)
    assert chain(ann) == want and is_whole(ann, bob)


def test_what_was_promised_and_forgotten_is_settled_as_promised(lab: World, tmp_path: Path) -> None:
    """The OPEN is there, the voucher is not: a VOID would be proof of fraud."""
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    rid, opening = ann.open(bob, prompt=10, most=200)
    old = image(ann, tmp_path / "old")
    bob.admit(opening, ann)
    voucher = ann.book.vouch(rid, prompt_tokens=10, completion_tokens=64)
    ann.book.commit()
    bob.book.vouched(voucher, ann.id)
    bob.book.delivered(rid, ann.id, 10, 70)
    bob.book.commit()
    restore(ann, old)
    meet(ann, bob)
    settle = ann.book.void(rid)
    ann.book.commit()
    assert settle is not None
    ann.pay(bob, settle)
    assert ann.book.peer(bob.id).consumed == bob.book.peer(ann.id).served >= 5100 + 10 * 10 + 64 * 100
    assert is_whole(ann, bob)


def test_a_lost_request_and_its_voucher_come_back_together(lab: World, tmp_path: Path) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    old = image(ann, tmp_path / "old")
    rid, opening = ann.open(bob, prompt=10, most=200)
    bob.admit(opening, ann)
    voucher = ann.book.vouch(rid, prompt_tokens=10, completion_tokens=64)
    ann.book.commit()
    bob.book.vouched(voucher, ann.id)
    bob.book.delivered(rid, ann.id, 10, 70)
    bob.book.commit()
    restore(ann, old)
    meet(ann, bob)
    assert [one.rid for one in ann.book.open_holds()] == [rid]
    settle = ann.book.void(rid)
    ann.book.commit()
    assert settle is not None
    ann.pay(bob, settle)
    assert is_whole(ann, bob)


# -- what does not come back -------------------------------------------------------------------------


def test_the_rest_of_what_was_earned_by_a_voucher_comes_back_with_its_settle(
    lab: World, tmp_path: Path
) -> None:
    """Bob was gone; Ann forgets all that she earned from him since, and is as far ahead of him as she was."""
    ann, bob = lab.node("ann"), lab.node("bob")
    gone, still_gone = served(bob, ann), served(bob, ann)
    quarter_of_an_hour(ann)
    old = image(ann, tmp_path / "old")
    bob.ask(ann)
    settle = bob.settle(gone, completion=100)
    bob.pay(ann, settle)
    want, account = chain(ann), ann.book.peer(bob.id)
    restore(ann, old)
    meet(ann, bob)
    assert chain(ann) == want and ann.book.peer(bob.id) == account
    assert is_whole(ann, bob)
    bob.pay(ann, settle)
    assert chain(ann)[: len(want)] == want, "the same SETTLE, the same EARN"
    bob.ask(ann)
    bob.pay(ann, bob.settle(still_gone, completion=64))
    bob.ask(ann)
    assert bob.book.peer(ann.id).consumed == ann.book.peer(bob.id).served


def test_a_receipt_over_the_rest_comes_back_to_who_paid_it(lab: World, tmp_path: Path) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    rid = served(bob, ann)
    quarter_of_an_hour(ann)
    old = image(bob, tmp_path / "old")
    settle = bob.settle(rid, completion=100)
    bob.pay(ann, settle)
    want = chain(bob)
    restore(bob, old)
    meet(bob, ann)
    assert chain(bob) == want and is_whole(bob, ann)
    assert not bob.book.unanswered()
    bob.pay(ann, settle)
    bob.ask(ann)


def test_what_nobody_else_has_seen_keeps_the_ledger_read_only(lab: World, tmp_path: Path) -> None:
    """A VOID is shown to nobody, and later entries stand on it."""
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    old = image(ann, tmp_path / "old")
    rid, _ = ann.open(bob)
    ann.book.void(rid)
    ann.book.commit()
    ann.ask(bob)
    restore(ann, old)
    before = chain(ann)
    meet(ann, bob)
    assert not signs(ann, bob) and chain(ann) == before
    ann.crash()
    meet(ann, bob)
    assert not signs(ann, bob) and not bob.book.faults()


def test_a_second_history_of_ones_own_is_never_signed_on(lab: World, tmp_path: Path) -> None:
    """The restored node met a stranger first, and signed for it before anybody could tell."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    old = image(ann, tmp_path / "old")
    ann.ask(bob)
    lab.clock.pass_ms(5)
    restore(ann, old)
    ann.ask(cid)
    meet(ann, bob)
    assert "two histories" in ann.book.damage and not signs(ann, bob)
    ann.crash()
    meet(ann, cid, bob)
    assert "two histories" in ann.book.damage and not signs(ann, bob)


def test_a_witness_that_saw_more_is_enough_to_stop(lab: World, tmp_path: Path) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    old = image(ann, tmp_path / "old")
    ann.ask(bob)
    ann.book.checkpoints.make(now=True)
    ann.book.commit()
    [(_, request)] = ann.book.witnessing.seek([cid.id])
    cid.book.witnessing.hear(ann.id, request)
    cid.book.commit()
    want = chain(ann)
    restore(ann, old)
    meet(ann, cid)
    assert not signs(ann, bob)
    meet(ann, bob)
    assert chain(ann) == want and is_whole(ann, bob)


def test_another_tree_at_a_witness_is_a_second_history(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    for _ in range(3):
        ann.ask(bob)
    note = write_note(ann.identity, NET, 3, bytes(32))
    bob.book.witnessing.hear(ann.id, AddCheckpoint(write_request(0, [], note)))
    bob.book.commit()
    said = Entries(
        7,
        cbor.encode([note.partition("\n\n")[0].encode() + b"\n", _signature(note)]),
        b"\x80",
        b"\x80",
        more=False,
    )
    ann.book.witnessing.hear(bob.id, said)
    assert "two histories" in ann.book.damage


def test_a_second_history_shows_where_the_first_was_seen_and_a_larger_tree_was_heard_of(
    lab: World, tmp_path: Path
) -> None:
    """Who is asked tells the furthest that it has seen, and that is of the second history already."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(cid)
    old = image(ann, tmp_path / "old")
    ann.ask(bob)
    restore(ann, old)
    for _ in range(3):
        ann.ask(cid)
    ann.clock.pass_ms(60_000)
    [(_, head)] = ann.book.witnessing.announce([cid.id])
    ann.book.commit()
    assert bob.book.witnessing.heard([(cid.id, head)]).news
    bob.book.commit()
    meet(ann, bob)
    assert "two histories" in ann.book.damage
    assert not signs(ann, cid)


def test_another_entry_in_the_place_of_a_settle_is_a_fork_that_convinces_everybody(
    lab: World, tmp_path: Path
) -> None:
    """It says that less was consumed, too, but that proves something only where it was signed afterwards."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    rid, opening = ann.open(bob)
    bob.admit(opening, ann)
    old = image(ann, tmp_path / "old")
    ann.pay(bob, ann.settle(rid))
    restore(ann, old)
    _, again = ann.open(bob)
    with pytest.raises(LedgerRefused, match="two entries"):
        bob.admit(again, ann)
    bob.book.commit()
    [(key, kind, proof)] = bob.book.faults()
    assert (key, kind) == (ann.id, "F1-fork")
    assert cid.book.proofs.take(proof) == ann.id


def test_who_stands_still_hears_of_others_and_does_not_fall_over_it(lab: World, tmp_path: Path) -> None:
    """What it would write for that must not fail a commit: its next life forgets what peers have shown."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(cid)
    ann.book.checkpoints.make(now=True)
    ann.book.commit()
    old = image(ann, tmp_path / "old")
    for _ in range(3):
        ann.ask(bob)
    restore(ann, old)
    meet(ann, bob)
    assert ann.book.damage, "cid has still to be asked"
    cid.clock.pass_ms(60_000)
    [(_, head)] = cid.book.witnessing.announce([ann.id])
    cid.book.commit()
    assert ann.book.witnessing.heard([(cid.id, head)]).news
    ann.book.witnessing.hear(cid.id, NotCosigned(409, 1, "elsewhere"))
    assert ann.book.commit() == [], "nothing is written"
    meet(ann, cid)
    assert is_whole(ann, bob, cid)


def _signature(note: str) -> bytes:
    import base64

    return base64.b64decode(note.rstrip().rpartition(" ")[2])[4:]


# -- nobody can talk a node into it ------------------------------------------------------------------


def test_nobody_else_can_make_a_node_stop_or_take_anything(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    for _ in range(3):
        ann.ask(bob)
        cid.ask(bob)
    row = next(cid.book._journal.vault.store.rows(4))
    theirs = [row.body, row.signature]
    mine = next(ann.book._journal.vault.store.rows(4))
    forged = [mine.body, bytes(64)]
    note = write_note(cid.identity, NET, 99, bytes(32)).replace(cid.id.hex(), ann.id.hex())
    strange: list[Entries] = []
    for piece in (theirs, forged, [note.encode(), bytes(64)], [b"", b""], [b"opengateway/", b""]):
        strange.append(Entries(0, cbor.encode(piece), b"\x80", b"\x80", more=False))
        strange.append(Entries(0, b"", cbor.encode([piece]), b"\x80", more=True))
        strange.append(Entries(0, b"", b"\x80", cbor.encode([piece]), more=False))
    for garbage in (b"", b"\x00", b"\x81\x81\x00", b"\xa0", random.Random(1).randbytes(100)):
        strange.append(Entries(0, garbage, b"\x80", b"\x80", more=False))
        strange.append(Entries(0, b"", garbage, garbage, more=False))
    before = chain(ann)
    for said in strange:
        assert ann.book.witnessing.hear(bob.id, said) == []
    assert chain(ann) == before and is_whole(ann, bob)


def test_a_healthy_node_costs_its_peers_one_look(lab: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)

    def never(*_: object) -> None:
        raise AssertionError("the entries were searched")

    monkeypatch.setattr(bob.book._journal.vault.store, "rows_with", never)
    meet(ann, bob)
    assert is_whole(ann, bob)


def test_a_peer_tells_only_what_it_holds_of_who_asks(lab: World) -> None:
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    ann.ask(bob)
    [(_, said)] = bob.book.witnessing.hear(cid.id, GetEntries(0))
    assert isinstance(said, Entries)
    assert (said.highest, said.records, said.vouchers, said.more) == (b"", b"\x80", b"\x80", False)


# -- damage of every kind ----------------------------------------------------------------------------


def spoil(wal: bytes, kind: int, chance: random.Random) -> bytes:
    bad = bytearray(wal)
    if kind == 0:
        del bad[chance.randrange(len(bad)) :]
    elif kind == 1:
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
    else:
        at = chance.randrange(len(bad))
        bad[at : at + 4096] = bytes(len(bad[at : at + 4096]))
    return bytes(bad)


def damaged(lab: World, tmp_path: Path, attempts: int, *, mark: str) -> dict[str, int]:
    """So many damaged WAL files, each beside peers that hold everything. Adopt or read-only, never a fork."""
    ann, bob, cid = lab.node("ann"), lab.node("bob"), lab.node("cid")
    for peer in (bob, cid):
        ann.ask(peer)
    early = image(ann, tmp_path / "early")
    ann.crash()  # what is in the WAL from here on can be lost, what was before is in the database
    for number in range(15):
        ann.ask((bob, cid)[number % 2])
        if number % 5 == 4:
            bob.ask(ann)
    want, good = chain(ann), image(ann, tmp_path / "good")
    chance, seen = random.Random(attempts), {"whole": 0, "adopted": 0, "read-only": 0}
    for attempt in range(attempts):
        restore(ann, good)
        ann.book.close()
        wal = side(ann, "-wal")
        wal.write_bytes(spoil((good / wal.name).read_bytes(), attempt % 3, chance))
        if mark == "gone":
            side(ann, ".mark").unlink()
        elif mark == "rolled back":
            shutil.copy(early / side(ann, ".mark").name, side(ann, ".mark"))
        ann.book = ann._open()
        whole = not ann.book.damage and chain(ann) == want
        meet(ann, bob, cid)
        if ann.book.damage:
            seen["read-only"] += 1
            with pytest.raises(LedgerReadOnly):
                ann.open(bob)
            continue
        assert chain(ann) == want, "what is signed next would be a fork"
        seen["whole" if whole else "adopted"] += 1
        assert not ann.book.damage
        rid, opening = ann.open(bob)  # signed, but not shown: the next attempt has this place again
        bob.book._journal.form(opening, 1, ann.id)
        bob.book._journal.witness(bob.book._journal.form(opening, 1, ann.id))
        assert rid
    assert not bob.book.faults() and not cid.book.faults()
    return seen


@pytest.mark.parametrize("mark", ["kept", "gone", "rolled back"])
def test_a_damaged_wal_with_peers_is_adopted_or_read_only_and_never_a_fork(
    lab: World, tmp_path: Path, mark: str
) -> None:
    seen = damaged(lab, tmp_path, 12, mark=mark)
    assert seen["adopted"] > 0, seen


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["kept", "gone", "rolled back"])
def test_150_damaged_wals_with_peers(lab: World, tmp_path: Path, mark: str) -> None:
    seen = damaged(lab, tmp_path, 150, mark=mark)
    print(mark, seen)
    assert seen["adopted"] > 50, seen
