"""Nodes that tests share: a pair with the pocket model, and a pair with an engine that takes its time.
A test that breaks one makes its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pairs import Pair, joined, paced_engine


@pytest.fixture(scope="session")
def pocket_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with joined(tmp_path_factory.mktemp("pocket"), kind="pocket") as pair:
        yield pair


@pytest.fixture(scope="session")
def paced_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Four slots, 50 tokens/s each."""
    folder = tmp_path_factory.mktemp("paced")
    with paced_engine() as url, joined(folder, kind="openai", url=url, slots=4) as pair:
        yield pair
