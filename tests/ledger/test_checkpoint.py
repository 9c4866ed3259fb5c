"""Checkpoints and tiles, held against RFC 6962 and tlog-tiles written once more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_forge import Forge
from ledger_world import World, world

from opengateway.ledger.audit import Limits, verify
from opengateway.ledger.audit_notes import read_note
from opengateway.ledger.ogwl import Unreadable
from opengateway.ledger.tiles import tile_name, write_tiles


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, of leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:half]) + root(leaves[half:])).digest()


def leaves(lab: World) -> list[bytes]:
    return [row.leaf for row in lab.nodes[0].book._journal.vault.store.rows()]


def test_a_checkpoint_is_the_root_over_all_entries_signed_by_the_author(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    for _ in range(5):
        ann.ask(bob)
    assert ann.book.checkpoints.make(now=True)
    ann.book.commit()
    note = read_note(ann.book.checkpoints.latest())
    assert (note.author, note.size, note.root) == (ann.id, 11, root(leaves(lab))) and note.signature
    assert not ann.book.checkpoints.make(now=True)  # nothing new


def test_checkpoints_come_every_256_entries_or_10_minutes(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    assert ann.book.checkpoints.make()  # the first at once
    ann.book.commit()
    ann.ask(bob)
    assert not ann.book.checkpoints.make()
    lab.clock.pass_ms(600_000)
    assert ann.book.checkpoints.make()
    for _ in range(127):
        ann.ask(bob)
    assert not ann.book.checkpoints.make()
    ann.ask(bob)
    assert ann.book.checkpoints.make()


def test_after_a_crash_the_tree_goes_on_where_it_was(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    for _ in range(4):
        for _ in range(3):
            ann.ask(bob)
        ann.book.checkpoints.make(now=True)
        ann.book.commit()
        ann.ask(bob)
        ann.book.checkpoints.make(now=True)  # lost
        ann.crash()
    assert ann.book.checkpoints.make(now=True)
    note = read_note(ann.book.checkpoints.latest())
    assert note.size == len(leaves(lab)) and note.root == root(leaves(lab))


def export(lab: World) -> Path:
    ann = lab.nodes[0]
    ann.book.checkpoints.make(now=True)
    ann.book.commit()
    path = lab.home / "ann.ogwl"
    path.write_bytes(ann.export())
    return path


def test_an_export_carries_the_checkpoint_and_the_audit_checks_it(lab: World) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    report = verify(export(lab), limits=Limits(now_ms=lab.clock()))
    assert report.exit == 0 and [found[:2] for found in report.checkpoints] == [(3, root(leaves(lab)))]
    forge = Forge(ann, lab.home)
    forge.records.pop()
    assert verify(forge.save(), limits=Limits(now_ms=lab.clock())).exit == 4


def test_tiles_are_the_leaves_and_the_roots_of_full_tiles(lab: World, tmp_path: Path) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    for _ in range(130):
        ann.ask(bob)
    folder = tmp_path / "tiles"
    assert write_tiles(export(lab), folder) == 261
    every = leaves(lab)
    assert (folder / "tile/0/000").read_bytes() == b"".join(every[:256])
    assert (folder / "tile/0/001.p/5").read_bytes() == b"".join(every[256:])
    assert (folder / "tile/1/000.p/1").read_bytes() == root(every[:256])
    bundle, bodies = (folder / "tile/entries/001.p/5").read_bytes(), []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        bodies.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    assert [hashlib.sha256(b"\x00" + body).digest() for body in bodies] == every[256:]
    note = read_note((folder / "checkpoint").read_text())
    assert note.root == root(every) and note.signature
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "checkpoint", "tile/0/000", "tile/0/001.p/5", "tile/1/000.p/1", "tile/entries/000",
        "tile/entries/001.p/5",
    }  # fmt: skip


def test_numbers_of_tiles_are_written_in_threes() -> None:
    assert [tile_name(n) for n in (0, 999, 1000, 1234067)] == ["000", "999", "x001/000", "x001/x234/067"]


def test_no_tiles_without_a_checkpoint_over_these_entries(lab: World, tmp_path: Path) -> None:
    ann, bob = lab.node("ann"), lab.node("bob")
    ann.ask(bob)
    bare = tmp_path / "bare.ogwl"
    bare.write_bytes(ann.export())
    with pytest.raises(Unreadable, match="no checkpoint"):
        write_tiles(bare, tmp_path / "x")
    export(lab)
    forge = Forge(ann, lab.home)
    forge.sign(1, t_ms=forge.records[1].entry.t_ms + 1)
    with pytest.raises(Unreadable, match="not over its entries"):
        write_tiles(forge.save(), tmp_path / "y")
