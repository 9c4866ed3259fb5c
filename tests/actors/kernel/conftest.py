from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.kernel import Address, ManualClock, Supervisor

Plant = Callable[..., Address[Any]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def plant(clock: ManualClock) -> Iterator[Plant]:
    """Starts a tree over the given children, or one lone address; closes all of them afterwards."""
    roots: list[Address[Any]] = []

    def plant(*children: Address[Any], takes_down: Any = "itself", lone: bool = False) -> Address[Any]:
        root = (
            children[0] if lone else Address("root", lambda: Supervisor(takes_down), *children, clock=clock)
        )
        roots.append(root)
        root.start()
        return root

    yield plant
    for root in roots:
        root.close()
