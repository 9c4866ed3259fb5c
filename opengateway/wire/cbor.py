"""Canonical CBOR (RFC 8949, 4.2.1), a small part of it: unsigned integers, bytes, text, booleans and
arrays. What is signed must have one encoding only, so `decode` refuses every other.

Encoding is cbor2's (0.9 us for a chunk). Decoding is our own: cbor2 acts on tags before anybody can
look at them, and a frame of 1 MiB that holds one regular expression (tag 35) kept it busy for 3 s;
shared references (tags 28, 29) grow exponentially, string references (tag 25) quadratically. This
decoder knows five kinds of item, refuses the rest at the first byte, and needs no second encoding to
see that a length was not the shortest. The most frequent message has a shorter way still (codec.py).
"""

from __future__ import annotations

from typing import Any

import cbor2

DEPTH_LIMIT = 8
"""Nesting of arrays. Our deepest message needs 4."""

_FALSE, _TRUE = 0xF4, 0xF5
_UINT, _BYTES, _TEXT, _ARRAY = 0x00, 0x40, 0x60, 0x80
_LONGER = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16), 27: (8, 1 << 32)}
"""Additional information -> (bytes that follow, smallest value that needs them)."""


class NotCanonical(ValueError):
    """These bytes are not canonical CBOR of the kinds that we use."""


def encode(value: Any) -> bytes:
    """Deterministic bytes of lists and tuples of int, bytes, str, bool."""
    return cbor2.dumps(value)


def decode(data: bytes, *, limit: int = 1 << 20) -> Any:
    """The value, with arrays as lists. Raises `NotCanonical` for anything else, and never anything else."""
    if len(data) > limit:
        raise NotCanonical(f"{len(data)} bytes, more than {limit}")
    value, end = decode_at(data, 0)
    if end != len(data):
        raise NotCanonical("bytes after the end")
    return value


def decode_at(data: bytes, at: int) -> tuple[Any, int]:
    """One value of several in a row (a CBOR sequence, RFC 8742), and where the next one begins. Raises
    `NotCanonical` only."""
    try:
        return _item(data, at, 0)
    except IndexError as error:
        raise NotCanonical("truncated") from error
    except UnicodeDecodeError as error:
        raise NotCanonical("text that is not UTF-8") from error


def _item(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    head = data[at]
    at += 1
    major = head & 0xE0
    size = head & 0x1F
    if size >= 24:
        if size > 27:
            raise NotCanonical("indefinite or reserved length")
        width, least = _LONGER[size]
        size = int.from_bytes(data[at : at + width], "big")
        at += width
        if at > len(data):
            raise NotCanonical("truncated")
        if size < least:
            raise NotCanonical("a length that is not the shortest")
    if major == _TEXT:
        end = at + size
        if end > len(data):
            raise NotCanonical("truncated")
        return data[at:end].decode(), end
    if major == _UINT:
        return size, at
    if major == _BYTES:
        end = at + size
        if end > len(data):
            raise NotCanonical("truncated")
        return data[at:end], end
    if major == _ARRAY:
        if depth >= DEPTH_LIMIT:
            raise NotCanonical("nested too deeply")
        if size > len(data) - at:  # an item takes a byte at least
            raise NotCanonical("truncated")
        items: list[Any] = []
        for _ in range(size):
            # Short items here, because a call for each took twice as long; all others, and all that is
            # wrong, the long way.
            head = data[at]
            if head < 0x18:
                items.append(head)
                at += 1
            elif 0x40 <= head < 0x58 and (end := at + head - 0x3F) <= len(data):
                items.append(data[at + 1 : end])
                at = end
            elif 0x60 <= head < 0x78 and (end := at + head - 0x5F) <= len(data):
                items.append(data[at + 1 : end].decode())
                at = end
            else:
                item, at = _item(data, at, depth + 1)
                items.append(item)
        return items, at
    if head == _TRUE:
        return True, at
    if head == _FALSE:
        return False, at
    raise NotCanonical(f"an item of kind 0x{head:02x} is not allowed")
