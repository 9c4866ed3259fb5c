from __future__ import annotations

import pytest

from actors.kernel import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
