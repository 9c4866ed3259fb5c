"""Sequence numbers rise, whatever becomes of the clock and the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from opengateway.discovery.seq_file import AHEAD, SeqFile


def test_a_number_that_was_used_is_below_the_floor_of_the_next_run(tmp_path: Path) -> None:
    first = SeqFile(tmp_path / "record.seq")
    for seq in (1_000_000, 1_000_001, 1_000_001 + AHEAD, 1_000_002 + AHEAD):
        first.reserve(seq)
        assert SeqFile(tmp_path / "record.seq").floor() > seq


def test_it_is_written_ahead_not_for_every_number(tmp_path: Path) -> None:
    path = tmp_path / "record.seq"
    kept = SeqFile(path)
    kept.reserve(1_000)
    before = path.stat().st_mtime_ns, path.read_bytes()
    for seq in range(1_001, 1_500):
        kept.reserve(seq)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


@pytest.mark.parametrize("junk", [b"", b"soon", b"-5", b"9" * 40, b"\xff\xfe"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "record.seq").write_bytes(junk)
    assert SeqFile(tmp_path / "record.seq").floor() == 1


def test_a_disk_that_takes_nothing_does_not_stop_the_node(tmp_path: Path) -> None:
    kept = SeqFile(tmp_path / "missing" / "record.seq")
    kept.reserve(5)
    assert kept.floor() == 1
