from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.hosts import Lab
from lab.namespaces import unavailable


@pytest.fixture
def lab() -> Iterator[Lab]:
    if reason := unavailable():
        pytest.skip(reason)
    with Lab() as built:
        yield built
