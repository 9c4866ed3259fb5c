"""What takes 20 s of work, or minutes of waiting, in the world outside."""

from __future__ import annotations

import pytest

from actors import witnesses
from opengateway.ledger import heads, stamp


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every nonce stamps; heads and cosignatures are looked for all the time."""
    monkeypatch.setattr(stamp, "TRIES", 1)
    monkeypatch.setattr(witnesses, "SEEK_EVERY", 0.3)
    monkeypatch.setattr(witnesses, "SEEK_SOON", 0.1)
    monkeypatch.setattr(witnesses, "PER_MINUTE", 10_000)
    monkeypatch.setattr(heads, "EVERY_MS", 300)
