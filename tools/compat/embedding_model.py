"""The pocket model as an embedding model: the same weights, with the pooling type that makes one of it.

Two entries go before all others of the GGUF file, together a multiple of its alignment, so that nothing else
of it moves. Source of the format: docs/gguf.md of ggml.
"""

from __future__ import annotations

import struct
from pathlib import Path

from opengateway.models import pocket

_COUNTS = struct.Struct("<4sIQQ")
"""Magic, version, number of tensors, number of entries."""
_U32 = 4
_MEAN = 1
_ALIGNMENT = 32


def _entry(key: str, value: int) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<II", _U32, value)


def write(path: Path) -> None:
    original = pocket.path().read_bytes()
    magic, version, tensors, entries = _COUNTS.unpack_from(original)
    added = _entry("llama.pooling_type", _MEAN) + _entry("compat.padding", 0)
    assert len(added) % _ALIGNMENT == 0
    head = _COUNTS.pack(magic, version, tensors, entries + 2)
    path.write_bytes(head + added + original[_COUNTS.size :])
