"""What tests of the Scheduler share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scheduler_bench import Bench

from actors import placing


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(placing, "SETTLING", 0.0)
    made = Bench()
    made.start()
    yield made
    made.stop()
