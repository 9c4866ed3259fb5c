"""What the Ledger says of transfers when a peer comes back."""

from __future__ import annotations

import time
from pathlib import Path

from actors.kernel import Address
from actors.ledger import Ledger
from actors.messages import LedgerMessage, MeetPeer
from opengateway.identity import Identity, network_id
from opengateway.ledger.handover import Outcome


def test_a_peer_that_comes_back_is_answered_although_nothing_else_is_written(tmp_path: Path) -> None:
    net = network_id("exchange tests")

    def ledger() -> Ledger:
        path = tmp_path / "ledger.db"
        return Ledger(path, Identity(b"l" * 32), net, now_ms=lambda: time.time_ns() // 1_000_000)

    address: Address[LedgerMessage] = Address("ledger", ledger)
    address.start()
    try:
        assert address.ask(MeetPeer(Identity(b"p" * 32).node_id)).get(timeout=10) == Outcome()
    finally:
        address.stop()
