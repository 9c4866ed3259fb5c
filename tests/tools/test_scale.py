"""The page about growth says what the program prints, and the program reckons as it says."""

from __future__ import annotations

from pathlib import Path

from tools.scale import rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "SCALE.md"
SIZES = (1_000, 100_000, 10_000_000)


def test_the_page_has_the_figures_of_the_program() -> None:
    page = PAGE.read_text()
    for line in zip(*(rows(nodes, 10.0) for nodes in SIZES), strict=True):
        assert f"| {line[0][0]} | " + " | ".join(figure for _, figure in line) + " |" in page


def test_sessions_and_idle_traffic_do_not_grow_beyond_a_small_network() -> None:
    large, larger = dict(rows(1_000, 10.0)), dict(rows(10_000_000, 10.0))
    for what in ("sessions", "idle: pings", "idle: heads of ledgers", "own ledger"):
        assert large[what] == larger[what]


def test_a_small_network_costs_less() -> None:
    assert dict(rows(5, 10.0))["sessions"] == "4"
