"""[body, signature] as it travels: written and read by a shorter way, and canonical CBOR to the byte."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opengateway.ledger.entry import ENTRY_LIMIT, EntryInvalid, read_wire, write_wire

bodies = st.integers(0, ENTRY_LIMIT).map(bytes) | st.binary(max_size=300)
signatures = st.just(bytes(64)) | st.binary(max_size=80)


@given(bodies, signatures)
@example(bytes(255), bytes(64))
@example(bytes(256), bytes(64))
@example(bytes(ENTRY_LIMIT), bytes(64))
def test_what_travels_is_canonical_cbor_and_comes_back(body: bytes, signature: bytes) -> None:
    wire = write_wire(body, signature)
    assert wire == cbor2.dumps([body, signature])
    if len(wire) <= ENTRY_LIMIT + 80:
        assert read_wire(wire) == (body, signature)


@given(st.binary(min_size=256, max_size=400), st.integers(0, 70), st.integers(0, 255), st.booleans())
@example(bytes(300), 2, 0, False)  # a length of one more byte
def test_other_bytes_are_read_as_cbor_reads_them_or_refused(
    body: bytes, place: int, value: int, from_end: bool
) -> None:
    wire = bytearray(write_wire(body, bytes(64)))
    wire[len(wire) - 1 - place if from_end else place] = value
    try:
        found = read_wire(bytes(wire))
    except EntryInvalid:
        return
    assert cbor2.dumps(found) == bytes(wire)


@pytest.mark.parametrize("more", [b"\x00", bytes(64)])
def test_bytes_after_the_end_are_refused(more: bytes) -> None:
    with pytest.raises(EntryInvalid, match="format"):
        read_wire(write_wire(bytes(300), bytes(64)) + more)


def test_a_body_that_claims_a_short_length_in_two_bytes_is_refused() -> None:
    with pytest.raises(EntryInvalid, match="format"):
        read_wire(b"\x82\x59\x00\x64" + bytes(100) + b"\x58\x40" + bytes(64))
