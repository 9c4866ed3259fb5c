"""Canonical CBOR (RFC 8949, 4.2.1), a small part of it: unsigned integers, bytes, text, booleans and
arrays. What is signed must have one encoding only, so `decode` refuses every other.

cbor2 reads duplicate keys, long integers, indefinite lengths and trailing bytes without complaint;
comparing with the re-encoded value catches all of them at the price of one more encode.
"""

from __future__ import annotations

from typing import Any

import cbor2

DEPTH_LIMIT = 8
"""Nesting of arrays. Our deepest message needs 4."""


class NotCanonical(ValueError):
    """These bytes are not canonical CBOR of the kinds that we use."""


def encode(value: Any) -> bytes:
    """Deterministic bytes of lists and tuples of int, bytes, str, bool."""
    return cbor2.dumps(value)


def decode(data: bytes, *, limit: int = 1 << 20) -> Any:
    """The value, with arrays as lists. Raises `NotCanonical` for anything else, and never anything else."""
    if len(data) > limit:
        raise NotCanonical(f"{len(data)} bytes, more than {limit}")
    try:
        value = cbor2.loads(data)
        _check(value, 0)
        canonical = cbor2.dumps(value)
    except NotCanonical:
        raise
    except Exception as error:  # cbor2 raises many kinds on hostile input, RecursionError included
        raise NotCanonical(f"unreadable: {type(error).__name__}") from error
    if canonical != data:
        raise NotCanonical("another encoding of the same value")
    return value


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is list:
        if depth >= DEPTH_LIMIT:
            raise NotCanonical("nested too deeply")
        for item in value:
            _check(item, depth + 1)
    elif kind is int:
        if not 0 <= value < 1 << 64:
            raise NotCanonical("integer out of range")
    elif kind not in (bytes, str, bool):
        raise NotCanonical(f"{kind.__name__} is not allowed")
