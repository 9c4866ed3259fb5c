"""Proofs over trees, held against RFC 6962 written once more."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opengateway.ledger.merkle_proofs import (
    TILE,
    ProofWrong,
    Prover,
    root_by_inclusion,
    roots_by_consistency,
)

LEAVES = [hashlib.sha256(b"\x00" + n.to_bytes(4, "big")).digest() for n in range(3 * TILE)]
PROVER = Prover(lambda first, end: LEAVES[first:end])


def mth(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:half]) + mth(leaves[half:])).digest()


SIZES = st.one_of(st.integers(1, 70), st.integers(TILE - 2, TILE + 2), st.integers(1, len(LEAVES)))


@given(st.data(), SIZES)
def test_every_leaf_is_shown_to_be_in_the_tree(data: st.DataObject, size: int) -> None:
    at = data.draw(st.integers(0, size - 1))
    path = PROVER.inclusion(at, size)
    assert root_by_inclusion(LEAVES[at], at, size, path) == mth(LEAVES[:size]) == PROVER.root(0, size)
    assert root_by_inclusion(LEAVES[at - 1], at, size, path) != mth(LEAVES[:size]) or size == 1


@given(st.data(), SIZES)
def test_every_tree_is_shown_to_begin_with_every_smaller_one(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size))
    roots = mth(LEAVES[:old]), mth(LEAVES[:size])
    path = PROVER.consistency(old, size)
    assert roots_by_consistency(old, size, roots[0], path) == roots


@given(st.data(), SIZES)
def test_a_proof_for_other_sizes_or_with_another_hash_is_none(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size))
    roots = mth(LEAVES[:old]), mth(LEAVES[:size])
    path = PROVER.consistency(old, size)
    for wrong in (path[:-1], [*path, bytes(32)], [bytes(32), *path[1:]]):
        if wrong == path:
            continue
        try:
            assert roots_by_consistency(old, size, roots[0], wrong) != roots
        except ProofWrong:
            continue


def test_nothing_leads_from_nothing_or_back() -> None:
    for old, size in ((0, 5), (6, 5)):
        with pytest.raises(ProofWrong):
            roots_by_consistency(old, size, bytes(32), [])
    with pytest.raises(ProofWrong):
        root_by_inclusion(bytes(32), 5, 5, [])
