from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.hosts import Lab
from lab.internet import Internet, three_regions, tun_unavailable
from lab.namespaces import unavailable


@pytest.fixture
def lab() -> Iterator[Lab]:
    if reason := unavailable():
        pytest.skip(reason)
    with Lab() as built:
        yield built


@pytest.fixture
def net(lab: Lab) -> Internet:
    """Three regions, and nobody there yet."""
    if reason := tun_unavailable():
        pytest.skip(reason)
    return three_regions(lab)
