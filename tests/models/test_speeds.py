"""What an engine's speed is, and that it is known again after a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opengateway.models import speeds as module
from opengateway.models.speeds import MOST, Speed, Speeds


def test_alone_and_with_all_slots_busy_are_told_apart() -> None:
    speeds = Speeds()
    speeds.seen("m", 100.0, 40.0, at_once=1, slots=4)
    speeds.seen("m", 0.0, 15.0, at_once=4, slots=4)
    assert speeds.of("m") == Speed(100.0, 40.0, 15.0)
    speeds.seen("m", 0.0, 30.0, at_once=2, slots=4)
    assert speeds.of("m") == Speed(100.0, 40.0, 15.0)
    for _ in range(10):
        speeds.seen("m", 100.0, 20.0, at_once=1, slots=4)
    assert speeds.of("m").generate == pytest.approx(20.0, rel=0.05)


def test_an_engine_with_one_slot_is_alone_and_full_at_once() -> None:
    speeds = Speeds()
    speeds.seen("m", 0.0, 12.0, at_once=1, slots=1)
    assert speeds.of("m") == Speed(0.0, 12.0, 12.0)


def test_company_tells_at_least_so_much_while_it_has_not_been_alone() -> None:
    speeds = Speeds()
    speeds.seen("m", 0.0, 15.0, at_once=4, slots=4)
    assert speeds.of("m") == Speed(0.0, 15.0, 15.0)


def test_what_was_measured_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "speeds" / "engine.json"
    first = Speeds(path)
    first.load()
    first.seen("m", 100.0, 40.0, at_once=1, slots=4)
    first.save()
    second = Speeds(path)
    second.load()
    assert second.of("m") == first.of("m")


def test_another_machines_figures_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = Speeds(tmp_path / "engine.json")
    speeds.seen("m", 100.0, 40.0, at_once=1, slots=4)
    speeds.save()
    monkeypatch.setattr(module, "this_machine", lambda: "another")
    speeds.load()
    assert speeds.of("m") == Speed()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"machine": "MACHINE", "models": []}']
    + [
        b'{"machine": "MACHINE", "models": {"m": %s}}' % row
        for row in (b"1", b"{}", b'{"prompt": "x", "generate": 1, "loaded": 1}')
    ]
    + [b'{"machine": "MACHINE", "models": {"m": {"prompt": 1, "generate": 1e99, "loaded": -1}}}'],
)
def test_a_file_that_is_broken_is_no_reason_to_stop(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "engine.json"
    path.write_bytes(content.replace(b"MACHINE", json.dumps(module.this_machine()).encode()[1:-1]))
    speeds = Speeds(path)
    speeds.load()
    assert speeds.by_model == {}


def test_no_more_models_are_remembered_than_a_bound() -> None:
    speeds = Speeds()
    for number in range(MOST + 10):
        speeds.seen(f"m{number}", 1.0, 1.0, at_once=1, slots=1)
    assert len(speeds.by_model) == MOST
