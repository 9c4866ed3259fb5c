"""A node that everybody knows as the entry lets go of those who have no need of it, and nobody is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opengateway.app.node import Node
from opengateway.discovery import company
from tools.crowd import PATIENCE_S, Crowd, name, on_loop, rows, up

MEMBERS = 7
LIMIT = 3


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 3 * PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_crowded_entry_lets_go_of_some_and_everybody_still_hangs_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, value in (("PLENTY", LIMIT), ("ENOUGH", 1), ("GRACE_S", 1e9), ("LET_GO_AT_ONCE", 2)):
        monkeypatch.setattr(company, limit, value)
    monkeypatch.setattr("actors.company.PLENTY", LIMIT)
    monkeypatch.setattr("opengateway.discovery.peers.COMPANY", 2)
    with Crowd(tmp_path, one_loop=True) as crowd:
        entry = crowd.node("entry")
        members = [crowd.node(f"m{n}", wire={"bootstrap": [crowd.where(entry)]}) for n in range(MEMBERS)]
        until(lambda: len(up(entry)) == MEMBERS, "all have come")
        until(lambda: all(len(up(member)) > LIMIT for member in members), "and have met each other")
        monkeypatch.setattr(company, "GRACE_S", 0.0)
        until(lambda: len(up(entry)) <= LIMIT, "it has let go of the rest")
        counters = on_loop(entry, lambda: entry.lines.switchboard.company.counters)  # type: ignore[union-attr]
        assert counters["let_go"] >= MEMBERS - LIMIT

        def entry_of(member: Node) -> str:
            return str(rows(member)[name(entry)]["state"])

        left = [member for member in members if name(member) not in up(entry)]
        assert left
        until(lambda: all(entry_of(member) == "known" for member in left), "neither lost nor gone")
        until(lambda: reached_from(entry, crowd) == {name(node) for node in crowd.nodes}, "one network")


def reached_from(first: Node, crowd: Crowd) -> set[str]:
    by_name = {name(node): node for node in crowd.nodes}
    seen, edge = {name(first)}, [first]
    while edge:
        fresh = up(edge.pop()) - seen
        seen |= fresh
        edge += [by_name[one] for one in fresh]
    return seen
