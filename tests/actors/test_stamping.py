"""The stamp's making: a child process that ends with the node, and whoever waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import until
from ledger_world import NET, Clock

from actors.io_loop import IoLoop
from actors.kernel import Address
from actors.ledger import Ledger
from actors.messages import LedgerMessage, StampSought
from actors.stamping import Stamping
from opengateway.errors import StampMissing
from opengateway.identity import Identity
from opengateway.ledger import stamp
from opengateway.ledger.stamp import check_stamp, read_stamp

PATIENCE = 20.0
ENDLESS = 1 << 60
"""Tries that nobody lives to see."""


class Place:
    def __init__(self, home: Path, tries: int) -> None:
        self.identity = Identity(bytes(31) + b"a")
        self.path, self.io = home / "ledger.db", IoLoop()
        self.ledger: Address[LedgerMessage] = Address(
            "ledger", lambda: Ledger(self.path, self.identity, NET, now_ms=Clock())
        )
        self.ledger.start()
        self.io.start()
        self.stamping = Stamping(self.io, self.ledger, tries=tries)

    def close(self) -> None:
        self.io.stop()
        self.ledger.close()


@contextlib.contextmanager
def place(home: Path, tries: int) -> Iterator[Place]:
    made = Place(home, tries)
    try:
        yield made
    finally:
        made.close()


def test_a_stamp_is_made_once_told_to_all_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamp, "TRIES", 100)
    shown: list[bytes] = []
    with place(tmp_path, 100) as made:
        made.stamping.made = shown.append
        assert made.stamping.describe() == {"state": "not needed yet"}
        made.stamping.wanted()
        found = made.io.run(made.stamping.ready(PATIENCE), PATIENCE)
        check_stamp(read_stamp(found, NET, made.identity.node_id), NET)
        assert shown == [found] and made.stamping.describe() == {"state": "made"}
    with place(tmp_path, ENDLESS) as made:  # it would never be found again
        assert made.io.run(made.stamping.ready(PATIENCE), PATIENCE) == found
        assert made.ledger.ask(StampSought()).get(timeout=PATIENCE)[0] == found


def test_whoever_cannot_wait_is_told_how_long_and_the_search_ends_with_the_node(tmp_path: Path) -> None:
    with place(tmp_path, ENDLESS) as made:
        made.stamping.wanted()
        until(lambda: made.stamping.describe().get("seconds"), "the search has measured itself")
        with pytest.raises(StampMissing, match="still being made, about") as missing:
            made.io.run(made.stamping.ready(0.0), PATIENCE)
        assert missing.value.retry_after and missing.value.hint
        assert made.stamping.describe()["state"] == "being made"
