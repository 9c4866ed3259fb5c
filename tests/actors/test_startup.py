"""The Ledger's first seconds: requests wait until peers had their say, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pykka
import pytest
from ledger_world import NET, START_MS, Clock

from actors.kernel import Address
from actors.ledger import Ledger
from actors.messages import DescribeBalance, HearWitness, LedgerMessage, OpenHold, Unanswered, Vouch
from opengateway.identity import Identity
from opengateway.ledger.entry import SETTLE, read_body, read_wire
from opengateway.wire.witness_messages import Entries

PATIENCE = 20.0
ANN, BOB = Identity(bytes(31) + b"a"), Identity(bytes(31) + b"b").node_id
NOTHING = Entries(0, b"", b"\x80", b"\x80", more=False)
CLOCK = Clock(START_MS)


@contextmanager
def life(home: Path, check_s: float) -> Iterator[Address[LedgerMessage]]:
    """A ledger as a start of the node finds it."""

    def make() -> Ledger:
        return Ledger(home / "ledger.db", ANN, NET, now_ms=CLOCK, check_s=check_s)

    ledger: Address[LedgerMessage] = Address("ledger", make)
    ledger.start()
    try:
        yield ledger
    finally:
        ledger.close()


def opening(number: int) -> OpenHold:
    return OpenHold(BOB, number.to_bytes(16, "big"), "m", 10, 50, 10, 100)


def used(home: Path) -> None:
    """A ledger with an account, and with a request in flight that something was vouched for."""
    with life(home, 60.0) as ledger:
        ledger.ask(opening(1)).get(timeout=PATIENCE)
        ledger.ask(Vouch((1).to_bytes(16, "big"), 10, 20)).get(timeout=PATIENCE)


def test_a_new_ledger_has_nothing_to_wait_for(tmp_path: Path) -> None:
    with life(tmp_path, 60.0) as ledger:
        assert ledger.ask(opening(1)).get(timeout=PATIENCE)


def test_requests_wait_for_the_peer_with_the_account_and_what_was_vouched_for_comes_first(
    tmp_path: Path,
) -> None:
    used(tmp_path)
    with life(tmp_path, 60.0) as ledger:
        waiting = ledger.ask(opening(2))
        again = ledger.ask(Unanswered(BOB))
        ledger.ask(DescribeBalance()).get(timeout=PATIENCE)  # behind them, and answered at once
        with pytest.raises(pykka.Timeout):
            waiting.get(timeout=0)
        ledger.ask(HearWitness(BOB, NOTHING)).get(timeout=PATIENCE)
        assert read_body(read_wire(waiting.get(timeout=PATIENCE))[0], NET).seq == 3
        [settle] = again.get(timeout=PATIENCE)
        entry = read_body(read_wire(settle)[0], NET)
        assert (entry.kind, entry.seq) == (SETTLE, 2) and entry.amount >= 10 * 10 + 20 * 100


def test_a_node_alone_waits_no_longer_than_the_check_takes_and_keeps_its_hold(tmp_path: Path) -> None:
    used(tmp_path)
    with life(tmp_path, 0.05) as ledger:
        assert ledger.ask(opening(2)).get(timeout=PATIENCE)
        held = ledger.ask(DescribeBalance()).get(timeout=PATIENCE)["held"]
        assert held == 2 * (10 * 10 + 50 * 100), "what BOB was promised is not known yet"
        [(peer, _)] = ledger.ask(HearWitness(BOB, NOTHING)).get(timeout=PATIENCE)
        assert peer == BOB
        assert ledger.ask(DescribeBalance()).get(timeout=PATIENCE)["held"] == 10 * 10 + 50 * 100
